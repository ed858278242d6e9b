"""Several volumes of which some fail, and runs that were killed: every other label map is complete."""

import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from medtune.cli.main import call
from tests.serving.volumes import tiny_volume_bundle as tiny
from tests.serving.volumes.failing_bundle import FATAL_VALUE, write_failing_bundle
from tests.serving.volumes.volume_files import make_affine, write_nifti

SHAPE = (16, 18, 9)
NAMES = ("a", "b", "c", "d")


@pytest.fixture
def scans(tmp_path):
    """Write four volumes. The network fails on `b`, in its last window."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for index, name in enumerate(NAMES):
        values = tiny.draw(SHAPE, index)
        if name == "b":
            values[-1, -1, -1] = FATAL_VALUE
        write_nifti(folder / f"{name}.nii.gz", values, make_affine(tiny.SPACING))
    return folder


@pytest.mark.parametrize("failure", ["index", "memory"])
@pytest.mark.parametrize("batch", [1, 4])
def test_predict__a_volume_on_which_the_network_fails_is_skipped(tmp_path, scans, capsys, failure, batch):
    bundle, out = write_failing_bundle(tmp_path / "bundle", failure), tmp_path / "out"
    assert call(["predict", str(bundle), str(scans), "--out", str(out), "--batch-size", str(batch)]) == 1
    assert {path.name for path in out.iterdir()} == {"a.nii.gz", "c.nii.gz", "d.nii.gz", "volumes.csv"}
    for index, name in enumerate(NAMES):
        if name != "b":
            labels = np.asarray(nib.load(out / f"{name}.nii.gz").dataobj)
            assert np.array_equal(labels, tiny.expected_labels(tiny.draw(SHAPE, index)))
    messages = capsys.readouterr().err
    (line,) = [line for line in messages.splitlines() if "skipped " in line and ".nii.gz" in line]
    assert line.startswith(f"skipped {scans / 'b.nii.gz'}: onnxruntime cannot run the model: ")
    assert "Traceback" not in messages
    assert "3 volumes in" in messages


def test_verify__names_a_network_that_fails(tmp_path, capsys):
    """The bundle's sample has values on which the network fails."""
    bundle = write_failing_bundle(tmp_path / "bundle", "index")
    assert call(["verify", str(bundle)]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: {bundle}: onnxruntime cannot run the model: ")
    assert message.count("\n") == 1


def test_predict__removes_unfinished_files_of_killed_runs(tmp_path, scans):
    bundle, out = tiny.write_bundle(tmp_path / "bundle"), tmp_path / "out"
    out.mkdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for name in (f".a.nii.gz.{ended.pid}.tmp.nii.gz", f".volumes.csv.{ended.pid}.tmp"):
        (out / name).write_bytes(b"path,flags,seconds")
    kept = [f".a.nii.gz.{os.getpid()}.tmp.nii.gz", f".other.nii.gz.{ended.pid}.tmp.nii.gz", ".a.nii.gz.x.tmp"]
    for name in kept:
        (out / name).write_bytes(b"")
    assert call(["predict", str(bundle), str(scans), "--out", str(out)]) == 0
    # A process that still runs may write the file of this process id.
    expected = {*kept[1:], *(f"{name}.nii.gz" for name in NAMES), "volumes.csv"}
    assert {path.name for path in out.iterdir()} == expected
