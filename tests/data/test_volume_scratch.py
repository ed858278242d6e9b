"""Decoded volumes on disk: each file is decoded once, and nothing remains."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from medtune.data.sources import phantom
from medtune.data.volume_files import VolumeFiles
from medtune.data.volume_inspection import inspect_volumes
from medtune.data.volume_packing import pack_volumes
from medtune.data.volume_preparation import plan_preparation
from medtune.data.volume_reading import read_labeled
from medtune.data.volume_scratch import VolumeScratch
from tests.serving.volumes.volume_files import make_affine, write_nifti


@pytest.fixture
def samples():
    return list(phantom.list_samples(None, phantom.Params(patients=3, size=16)))


class Counted:
    """Decoder that counts its calls."""

    calls = 0

    def __call__(self, files):
        self.calls += 1
        return read_labeled(files, 1, 3)


def read_files(sample):
    return read_labeled(sample.volume, 1, 3)


def same(first, second):
    return (
        np.array_equal(first.image, second.image)
        and np.array_equal(first.mask, second.mask)
        and np.array_equal(first.affine, second.affine)
        and (first.orientation, first.image.dtype, first.mask.dtype)
        == (second.orientation, second.image.dtype, second.mask.dtype)
    )


def test_read__decodes_each_volume_once_and_returns_equal_arrays(tmp_path, samples):
    decode = Counted()
    scratch = VolumeScratch(tmp_path / "decoded", decode)
    for sample in samples:
        first, second = scratch.read(sample), scratch.read(sample)
        assert same(first, second)
        assert same(second, read_labeled(sample.volume, 1, 3))
    assert decode.calls == len(samples) == 3
    last = [scratch.read_last(sample) for sample in samples]
    assert decode.calls == 3
    assert list((tmp_path / "decoded").iterdir()) == []
    assert all(same(volume, read_labeled(sample.volume, 1, 3)) for volume, sample in zip(last, samples, strict=True))
    scratch.close()
    assert not (tmp_path / "decoded").exists()


def test_stage__decodes_each_file_once_for_the_rule_foreground(tmp_path, samples):
    """Inspection, `foreground` and preparation read each volume. The prepared files are those of repeated decoding."""
    params = phantom.Params(patients=3, size=16, intensity={"rule": "foreground"})
    draw = np.random.default_rng(0)
    for row, sample in enumerate(samples):
        image = draw.normal(100, 20, (9, 10, 11)).astype(np.float32)
        affine, mask = make_affine((1, 1, 2)), (image > 120).astype(np.uint8)
        file = write_nifti(tmp_path / f"{row}.nii.gz", image, affine)
        truth = write_nifti(tmp_path / f"{row}_mask.nii.gz", mask, affine)
        samples[row] = replace(sample, volume=VolumeFiles(channels=(file,), mask=truth))
    decode, digests = Counted(), []
    scratch = VolumeScratch(tmp_path / "decoded", decode)
    for first, last in ((scratch.read, scratch.read_last), (read_files, read_files)):
        facts = inspect_volumes(samples, None, 1, 3, params.intensity, first).facts
        names, rows = [sample.path for sample in samples], range(len(samples))
        plan = plan_preparation(params, names, facts, rows, lambda row, read=first: read(samples[row]))
        assert plan.preparation.intensity[0].rule == "foreground"
        folder = tmp_path / f"packed{len(digests)}"
        folder.mkdir()
        digests.append(pack_volumes(folder, facts, lambda row, read=last: read(samples[row]), plan.preparation))
    assert decode.calls == len(samples) == 3
    assert digests[0] == digests[1]
    assert list((tmp_path / "decoded").iterdir()) == []


def test_read__beyond_the_budget_decodes_again(tmp_path, samples):
    decode, size = Counted(), 5 * 16**3 + 100
    scratch = VolumeScratch(tmp_path / "decoded", decode, budget=size)
    for _ in range(2):
        for sample in samples[:2]:
            scratch.read(sample)
    assert decode.calls == 3
    scratch.read_last(samples[0])
    scratch.read(samples[1])
    scratch.read(samples[1])
    assert decode.calls == 4  # the space of the first volume is free again


def test_read__does_not_keep_files_without_compression(tmp_path, samples):
    shown = read_labeled(samples[0].volume, 1, 3)
    calls = []

    def decode(files):
        calls.append(files)
        return shown

    scratch = VolumeScratch(tmp_path / "decoded", decode)
    for name, expected in (("a.nii", 2), ("a.nii.gz", 1)):
        calls.clear()
        sample = replace(samples[0], path=name, volume=VolumeFiles(channels=(tmp_path / name,), mask=tmp_path / name))
        scratch.read(sample)
        scratch.read(sample)
        assert len(calls) == expected


def test_read__a_folder_that_cannot_be_written_decodes_again(tmp_path, samples):
    decode = Counted()
    scratch = VolumeScratch(tmp_path / "decoded", decode)
    shutil.rmtree(tmp_path / "decoded")
    assert same(scratch.read(samples[0]), scratch.read(samples[0]))
    assert decode.calls == 2


def test_scratch__is_removed_with_the_object(tmp_path, samples):
    scratch = VolumeScratch(tmp_path / "decoded", Counted())
    scratch.read(samples[0])
    assert (tmp_path / "decoded").exists()
    del scratch
    assert not (tmp_path / "decoded").exists()
    shutil.rmtree(tmp_path)
