import csv
import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pydicom
import pytest

from medtune.config.errors import InputError
from medtune.config.project import PROJECT
from medtune.data.sources import phantom
from medtune.data.volume_reading import read_labeled
from medtune.runtime.artifact import partial_dir
from medtune.runtime.cache_key import data_key
from medtune.runtime.paths import RunPaths
from medtune.serving.volumes.nifti import read_volume
from medtune.serving.volumes.pipeline import Preparation
from medtune.serving.volumes.resampling import resample_mask, thick_axis
from medtune.stages.preflight import run_preflight
from tests.stages.volume_folder import (
    FROM_ALL_VOLUMES,
    PHANTOM,
    change,
    prepare,
    report,
    volume_params,
    write_example,
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return prepare(PHANTOM, tmp_path_factory.mktemp("phantom"))


@pytest.fixture
def section(tmp_path):
    return write_example("volumes", tmp_path / "raw")


def test_run__writes_all_outputs(drawn):
    assert {path.name for path in drawn.folder.iterdir()} == {
        "manifest.csv", "dataset.json", "report.json", "samples.png", "result.json", "volumes.npy", "masks.npy",
        "truth.npy", "volumes.json", "samples",
    }  # fmt: skip
    assert not partial_dir(drawn.folder).exists()
    assert (drawn.classes, drawn.has_volumes, len(drawn.volumes)) == (phantom.LABELS, True, 15)
    info = drawn.info
    assert info["counts"]["all"] == {"upper organ": 15, "lower organ": 15, "lesion": 10}
    assert info["counts"]["folds"]["2"]["test"] == {"upper organ": 3, "lower organ": 3, "lesion": 2}
    assert (info["n_images"], info["n_patients"], info["patients_known"]) == (15, 15, True)
    assert info["volumes"]["strata"] == ["lesion", "no lesion"]
    assert info["volumes"]["channels"] == ["phantom"]
    assert info["notes"] == [f"{FROM_ALL_VOLUMES}spacing, patch."]
    assert "image_size" not in info
    assert (report(drawn)["n_found"], report(drawn)["n_kept"], report(drawn)["n_rejected"]) == (15, 15, 0)
    np.testing.assert_array_equal(drawn.has(2), [k % 3 != 0 for k in range(15)])


def test_run__volumes_are_those_of_the_source(drawn):
    preparation = Preparation.from_document(drawn.info["volumes"])
    for row, sample in list(enumerate(phantom.list_samples(None, phantom.Params(patients=15, size=16))))[:4]:
        volume = read_labeled(sample.volume, 1, 3)
        entry, image = drawn.volumes.entries[row], drawn.volumes.image(row)
        np.testing.assert_array_equal(image, preparation.apply(volume.image, volume.spacing))
        np.testing.assert_array_equal(drawn.volumes.truth(row), volume.mask)
        thick = thick_axis(volume.spacing, preparation.spacing)
        np.testing.assert_array_equal(drawn.volumes.mask(row), resample_mask(volume.mask, image.shape[1:], thick))
        assert tuple(entry.spacing) == volume.spacing
        np.testing.assert_array_equal(entry.affine, volume.affine)
        assert entry.voxels == [int((volume.mask == label).sum()) for label in (1, 2, 3)]
        np.testing.assert_allclose(entry.quantiles[0], np.percentile(volume.image[0], (5, 25, 50, 75, 95)))


def test_run__manifest_states_the_geometry(drawn):
    with (drawn.folder / "manifest.csv").open() as stream:
        row = next(csv.DictReader(stream))
    entry = drawn.volumes.entries[0]
    assert [int(row[name]) for name in ("width", "height", "depth")] == entry.original_shape
    np.testing.assert_allclose([float(mm) for mm in row["spacing"].split("x")], entry.spacing, rtol=1e-5)
    assert row["orientation"] == entry.orientation
    assert set(drawn.metadata_cells) == {"lesion", "slices"}


def test_run__samples_are_drawn_test_volumes(drawn):
    files = sorted((drawn.folder / "samples").iterdir())
    rows = drawn.indices(1)["test"][:4]  # the default of data.split.test_fold
    assert [file.name for file in files] == [f"{drawn.paths[row]}.nii.gz" for row in rows]
    read = read_volume(files[0])
    entry = drawn.volumes.entries[rows[0]]
    assert list(read.shape) == entry.original_shape
    np.testing.assert_allclose(read.affine, entry.affine, atol=1e-3)
    image = Preparation.from_document(drawn.info["volumes"]).apply(read.data, read.spacing)
    np.testing.assert_allclose(image, drawn.volumes.image(rows[0]), atol=1e-2)


def test_run__folds_separate_patients_and_stay(drawn, tmp_path):
    for fold in range(5):
        splits = drawn.indices(fold)
        assert sum(map(len, splits.values())) == 15
        assert {drawn.patient_ids[row] for row in splits["test"]}.isdisjoint(drawn.patient_ids[splits["train"]])
    again = prepare({**PHANTOM, "split": {"test_fold": 2}}, tmp_path)
    assert again.digest == drawn.digest
    np.testing.assert_array_equal(again.folds, drawn.folds)


def test_run__unchanged_files_are_not_decoded(section, tmp_path, capsys):
    prepared = prepare(section, tmp_path / "out")
    path = tmp_path / "raw" / "images" / "4.nii.gz"
    state = path.stat()
    path.write_bytes(bytes(state.st_size))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # same size and time, so the file counts as unchanged
    capsys.readouterr()
    assert prepare(section, tmp_path / "out").digest == prepared.digest
    assert "data: nothing changed; 12 volumes are ready" in capsys.readouterr().out
    path.touch()
    with pytest.raises(InputError, match=r"1 of 12 volumes cannot be used: images/4\.nii\.gz: not a NIfTI file"):
        prepare(section, tmp_path / "out")
    assert prepared.folder.is_dir()


def test_run__leftovers_and_damage_are_replaced(tmp_path, capsys):
    leftover = partial_dir(tmp_path / "data" / "prepared")
    leftover.mkdir(parents=True)
    (leftover / "volumes.npy").write_bytes(b"half")
    (leftover / "stray").touch()
    prepared = prepare(PHANTOM, tmp_path)
    assert not leftover.exists()
    assert not (prepared.folder / "stray").exists()
    content = bytearray((prepared.folder / "volumes.npy").read_bytes())
    content[500] ^= 1
    (prepared.folder / "volumes.npy").write_bytes(content)
    capsys.readouterr()
    again = prepare(PHANTOM, tmp_path)
    assert "nothing changed" not in capsys.readouterr().out
    assert again.digest == prepared.digest
    np.testing.assert_array_equal(again.volumes.image(0), prepared.volumes.image(0))


def test_run__changed_mask_changes_the_digest(section, tmp_path):
    first = prepare(section, tmp_path / "out")
    path = tmp_path / "raw" / "masks" / "4.nii.gz"
    mask = first.volumes.truth(4)
    assert (mask == 1).any()
    change(path, np.zeros_like(np.asarray(nib.load(path).dataobj)))
    assert prepare(section, tmp_path / "out").digest != first.digest


def test_run__spacing_patch_and_window_are_those_of_the_params(section, tmp_path):
    window = {"rule": "window", "level": 100.0, "width": 1000.0}
    chosen = {"spacing": [8.0, 7.0, 9.0], "patch": [16, 8, 8], "intensity": window}
    with pytest.raises(InputError, match=r"data\.intensity\.rule=window: the volumes have different scales"):
        prepare({**section, **chosen}, tmp_path / "out")
    for path in (tmp_path / "raw" / "images").iterdir():
        values = np.asarray(nib.load(path).dataobj)
        change(path, values / values.max() * 800 - 400)
    prepared = prepare({**section, **chosen}, tmp_path / "out")
    assert prepared.info["volumes"] == {
        "spacing": [8.0, 7.0, 9.0],
        "patch": [16, 8, 8],
        "intensity": [{"rule": "window", "low": -400.0, "high": 600.0, "mean": 100.0, "sd": 500.0}],
        "channels": ["image"],
        "strata": ["volume"],
    }
    assert prepared.info["notes"] == []
    assert prepared.volumes.image(0).min() >= -1


def test_run__channels_of_nnunet(tmp_path):
    prepared = prepare(write_example("nnunet", tmp_path / "raw"), tmp_path / "out")
    assert prepared.info["volumes"]["channels"] == ["T1", "T2"]
    assert prepared.volumes.channels == 2
    assert len(prepared.info["volumes"]["intensity"]) == 2
    assert prepared.info["n_patients"] == 6


def test_run__series_have_the_values_of_their_slices(tmp_path):
    section = write_example("dicom", tmp_path / "raw") | {"patient_pattern": None}
    prepared = prepare(section, tmp_path / "out")
    assert (prepared.info["n_patients"], prepared.info["volumes"]["channels"]) == (6, ["image"])
    assert all(patient.startswith("dicom-") for patient in prepared.patient_ids)
    row, folder = prepared.paths.index("images/P1_1"), tmp_path / "raw" / "images" / "P1_1"
    mask = nib.as_closest_canonical(nib.load(tmp_path / "raw" / "masks" / "P1_1.nii.gz"))
    np.testing.assert_array_equal(prepared.volumes.truth(row), np.asarray(mask.dataobj))
    np.testing.assert_allclose(prepared.volumes.entries[row].affine, mask.affine, atol=1e-3)
    pixels = np.stack([pydicom.dcmread(file).pixel_array for file in sorted(folder.iterdir())])
    (quantiles,) = prepared.volumes.entries[row].quantiles
    np.testing.assert_allclose(quantiles, np.percentile(pixels, (5, 25, 50, 75, 95)))


def test_run__does_not_import_torch(tmp_path):
    script = (
        "import sys\nfrom pathlib import Path\nfrom tests.stages.volume_folder import PHANTOM, prepare\n"
        "for _ in range(2):\n    prepare(PHANTOM, Path(sys.argv[1]))\n"
        "assert not {'torch', 'monai', 'sklearn.svm'} & set(sys.modules)"
    )
    completed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=PROJECT, capture_output=True,
                               text=True, check=True, timeout=300)  # fmt: skip
    assert "nothing changed; 15 volumes are ready" in completed.stdout


def test_run__spacing_of_the_table_replaces_that_of_the_files(section, tmp_path):
    table = tmp_path / "raw" / "volumes.csv"
    header, *rows = table.read_text().split()
    table.write_text("\n".join([f"{header},spacing", *(f"{row},2x3x4" for row in rows)]))
    prepared = prepare(section, tmp_path / "out")
    for entry in prepared.volumes.entries:
        np.testing.assert_allclose(sorted(entry.spacing), (2, 3, 4))
    assert any("another spacing than the files of 12 volumes" in note for note in prepared.info["notes"])


def test_run__subgroups(tmp_path):
    prepared = prepare(PHANTOM, tmp_path, evaluate={"by": ["slices"]})
    assert set(prepared.metadata("slices")) == {"thick", "thin"}
    with pytest.raises(InputError, match=r"evaluate\.by"):
        prepare(PHANTOM, tmp_path, evaluate={"by": ["scanner"]})


def test_run__reserved_column_is_an_error(section, tmp_path):
    table = tmp_path / "raw" / "volumes.csv"
    header, *rows = table.read_text().split()
    table.write_text("\n".join([f"{header},depth", *(f"{row},1" for row in rows)]))
    with pytest.raises(InputError, match="the column name 'depth' is reserved"):
        prepare(section, tmp_path / "out")


def test_preflight__opens_the_volumes(drawn):
    paths = RunPaths.from_env(drawn.folder.parents[1])
    assert run_preflight(volume_params(PHANTOM), paths).digest == drawn.digest
    with pytest.raises(InputError, match="was prepared with other data params or code"):
        run_preflight(volume_params({**PHANTOM, "patch": [8, 8, 8]}), paths)


def test_data_key__does_not_depend_on_params_of_the_task():
    keys = [data_key(volume_params(PHANTOM, task={"kind": "segmentation", **task}))
            for task in ({}, {"tolerance_mm": 3.0}, {"overlap": 0.25}, {"augment": {"noise": 0.0}})]  # fmt: skip
    assert len(set(keys)) == 1
    assert data_key(volume_params({**PHANTOM, "spacing": [5.0, 5.0, 5.0]})) != keys[0]


@pytest.mark.real
def test_run__real_hippocampus(shared, tmp_path):
    section = {"source": "decathlon", "root": str(shared / "hippocampus"), "split": {"protocol": "image"}}
    prepared = prepare(section, tmp_path)
    assert prepared.info["counts"]["all"] == {"Anterior": 56, "Posterior": 56}
    assert prepared.info["volumes"]["spacing"] == [1.0, 1.0, 1.0]
    assert prepared.info["volumes"]["patch"] == [40, 56, 40]
    for row in range(0, 56, 8):
        image = prepared.volumes.image(row).astype(np.float32)
        assert abs(image.mean()) < 0.01
        assert image.std() == pytest.approx(1, abs=0.01)
        np.testing.assert_array_equal(prepared.volumes.mask(row), prepared.volumes.truth(row))
