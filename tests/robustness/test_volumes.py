"""Damaged NIfTI files through `medtune predict` and `medtune data`."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.data.volume_example import write_case
from medtune.serving.volumes import nifti_voxels
from tests.robustness.profile import examples
from tests.robustness.volumes.commands import prediction_problem, preparation_problems
from tests.robustness.volumes.damages import KINDS, damaged
from tests.serving.volumes import tiny_volume_bundle as tiny
from tests.serving.volumes.volume_files import make_affine, patch, read_content, write_nifti

pytestmark = pytest.mark.faults(
    row=16,
    title="a NIfTI file is damaged or cut off",
    target="A refused file is named in one line, and the exit code is 1 (`medtune predict`) or 2 (`medtune data`). "
    "The result of an accepted file belongs to the values that nibabel reads from it. Other volumes are not affected",
)
N_VOLUMES = 15


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny.write_bundle(tmp_path_factory.mktemp("volumes") / "bundle")


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """Write an intact volume."""
    values = tiny.draw((16, 18, 9)).astype("<i2")
    return write_nifti(tmp_path_factory.mktemp("volumes") / "intact.nii", values, make_affine(tiny.SPACING))


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Write intact volumes and masks."""
    root = tmp_path_factory.mktemp("cases") / "root"
    for number in range(N_VOLUMES):
        name = f"{number}.nii.gz"
        write_case([root / "images" / name], root / "masks" / name, number)
    return root


@pytest.mark.parametrize("kind", KINDS)
@examples(small=4, full=200)
@given(data=st.data())
def test_predict__damaged_volumes_are_named_or_segmented_correctly(faults, tmp_path, bundle, intact, kind, data):
    stored, suffix, text = data.draw(damaged(intact.read_bytes(), kind))
    faults.count(f"predict, {kind}, {text}", prediction_problem(tmp_path / "work", bundle, intact, stored, suffix))


@examples(small=1, full=60)
@given(data=st.data())
def test_data__damaged_volumes_are_named_or_prepared_correctly(faults, tmp_path, cases, data):
    for path, (text, problem) in prepare_damaged(tmp_path / "work", cases, data).items():
        faults.count(f"data, {path}, {text}", problem)


@pytest.mark.parametrize("is_scaled", [True, False])
def test_predict__a_wrong_label_map_is_noticed(tmp_path, bundle, intact, monkeypatch, is_scaled):
    if not is_scaled:
        monkeypatch.setattr(nifti_voxels, "_scaled", lambda stored, scaling: stored)
    file = patch(Path(shutil.copy(intact, tmp_path / "scaled.nii")), scl_slope=2.0)
    problem = prediction_problem(tmp_path / "work", bundle, intact, file.read_bytes(), ".nii")
    assert problem is None if is_scaled else "voxels have a wrong label" in problem


def prepare_damaged(folder, cases, data):
    """Damage the volume or the mask of two thirds of the cases. Return the damage and the problem of each."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(cases, folder / "root")
    texts = {}
    for number in range(N_VOLUMES * 2 // 3):
        part = data.draw(st.sampled_from(["images", "masks"]))
        file = folder / "root" / part / f"{number}.nii.gz"
        stored, _, text = data.draw(damaged(read_content(file), data.draw(st.sampled_from(sorted(KINDS))), ".nii.gz"))
        file.write_bytes(stored)
        texts[f"images/{number}.nii.gz"] = f"{part}: {text}"
    problems = preparation_problems(folder, texts, N_VOLUMES)
    return {path: (text, problems[path]) for path, text in texts.items()}
