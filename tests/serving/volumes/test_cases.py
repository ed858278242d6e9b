from dataclasses import replace
from pathlib import Path

import pytest

from medtune.serving.manifest import BundleError
from medtune.serving.volumes.cases import Case, check_outputs, find_cases


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def named(cases):
    return {case.name: [file.name for file in case.files] for case in cases}


def test_find_cases__one_file_is_one_case(tmp_path):
    touch(tmp_path, "b.nii", "deep/c.NII.GZ", "P_0000.nii.gz", "scan_2023.nii")
    assert named(find_cases([tmp_path], 1, tmp_path / "out")) == {
        "P": ["P_0000.nii.gz"],
        "b": ["b.nii"],
        "c": ["c.NII.GZ"],
        "scan_2023": ["scan_2023.nii"],
    }
    assert find_cases([tmp_path / "b.nii", tmp_path / "b.nii"], 1, tmp_path) == [Case("b", (tmp_path / "b.nii",))]


def test_find_cases__channels_are_grouped(tmp_path):
    touch(tmp_path, *(f"{case}_000{channel}.nii.gz" for case in "PQ" for channel in (0, 1)), "both.nii.gz")
    assert named(find_cases([tmp_path], 2, tmp_path / "out")) == {
        "P": ["P_0000.nii.gz", "P_0001.nii.gz"],
        "Q": ["Q_0000.nii.gz", "Q_0001.nii.gz"],
        "both": ["both.nii.gz"],
    }
    with pytest.raises(BundleError, match=r"P_0001\.nii\.gz: its name states channel 1 of P"):
        find_cases([tmp_path], 1, tmp_path / "out")
    with pytest.raises(BundleError, match=r"P_0002\.nii\.gz does not exist"):
        find_cases([tmp_path], 3, tmp_path / "out")


def test_find_cases__no_channel_is_left_out(tmp_path):
    touch(tmp_path, "P_0000.nii.gz", "P_0003.nii.gz")
    with pytest.raises(BundleError, match=r"P_0003\.nii\.gz: its name states channel 3 of P"):
        find_cases([tmp_path / "P_0000.nii.gz", tmp_path / "P_0003.nii.gz"], 1, tmp_path / "out")


def test_find_cases__series_with_a_nifti_file_is_refused(tmp_path):
    touch(tmp_path, "mask.nii.gz")
    (tmp_path / "slice").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(BundleError, match="it has NIfTI files and DICOM files, such as slice"):
        find_cases([tmp_path], 1, tmp_path / "out")


def test_find_cases__folder_without_nifti_is_a_series(tmp_path):
    touch(tmp_path, "series/1.dcm")
    assert find_cases([tmp_path / "series"], 1, tmp_path) == [Case("series", (tmp_path / "series",))]
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match="no volumes under"):
        find_cases([tmp_path / "empty"], 1, tmp_path)


def test_find_cases__results_inside_the_folder_are_not_read(tmp_path):
    touch(tmp_path, "a.nii", "out/a.nii.gz")
    assert named(find_cases([tmp_path], 1, tmp_path / "out")) == {"a": ["a.nii"]}


def test_find_cases__equal_names_are_refused(tmp_path):
    touch(tmp_path, "x/a.nii", "y/A.nii.gz")
    with pytest.raises(BundleError, match="have the same name"):
        find_cases([tmp_path], 1, tmp_path / "out")


def test_check_outputs__link_to_an_input_is_refused(tmp_path):
    touch(tmp_path, "in/a.nii.gz", "out/other")
    (tmp_path / "out" / "a.nii.gz").symlink_to(tmp_path / "in" / "a.nii.gz")
    cases = find_cases([tmp_path / "in"], 1, tmp_path / "out")
    with pytest.raises(BundleError, match=r"a\.nii\.gz is an input"):
        check_outputs(cases, tmp_path / "out")
    check_outputs(cases, tmp_path / "new")


@pytest.mark.parametrize("existing", ["a.nii.gz", "volumes.csv"])
def test_check_outputs__files_of_others_are_not_replaced(tmp_path, existing):
    touch(tmp_path, "in/a.nii.gz", f"out/{existing}")
    cases = find_cases([tmp_path / "in"], 1, tmp_path / "out")
    with pytest.raises(BundleError, match="is not a result of this command"):
        check_outputs(cases, tmp_path / "out")
    (tmp_path / "out" / "volumes.csv").write_text("path,ml_liver,uncertainty_liver,flags,seconds\n")
    check_outputs(cases, tmp_path / "out")


def test_check_outputs__other_format_of_an_earlier_run_is_refused(tmp_path):
    touch(tmp_path, "in/1.dcm", "out/in.nii.gz")
    cases = find_cases([tmp_path / "in"], 1, tmp_path / "out")
    segmentations = [replace(case, suffix=".dcm") for case in cases]
    check_outputs(segmentations, tmp_path / "out")
    (tmp_path / "out" / "volumes.csv").write_text("path,ml_liver,uncertainty_liver,flags,seconds\n")
    check_outputs(cases, tmp_path / "out")
    with pytest.raises(BundleError, match=r"out: its file in\.nii\.gz has another format\. Use a new folder"):
        check_outputs(segmentations, tmp_path / "out")


def test_long_names__are_refused_in_one_line(tmp_path):
    longest = "ö" * 124  # 248 bytes, 255 with .nii.gz
    touch(tmp_path, f"{longest}.nii", f"{longest}a.nii")
    check_outputs(find_cases([tmp_path / f"{longest}.nii"], 1, tmp_path), tmp_path / "out")
    with pytest.raises(BundleError, match="the name of its label map would have 256 bytes; at most 255 are possible"):
        check_outputs(find_cases([tmp_path / f"{longest}a.nii"], 1, tmp_path), tmp_path / "out")
    with pytest.raises(BundleError, match="does not exist"):
        find_cases([tmp_path / ("x" * 300)], 1, tmp_path / "out")


def test_find_cases__names_of_channels_may_be_long_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [f"{letter * 200}.nii" for letter in "ab"]
    touch(tmp_path, *names)
    (case,) = find_cases([Path(",".join(names))], 2, tmp_path / "out")
    assert [file.name for file in case.files] == names
