"""Damaged files never raise another error than one line that names the file."""

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.data.sources import volumes
from medtune.data.volume_inspection import describe, inspect_headers, inspect_volumes, outside
from medtune.data.volume_params import VolumeIntensityParams
from medtune.data.volume_reading import LabeledVolume
from tests.robustness.profile import examples

RULE = VolumeIntensityParams()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("written")
    return root, volumes.Params(root=str(root), **volumes.example(root))


def inspect(root, params):
    samples = volumes.list_samples(root, params)[:3]
    headers = inspect_headers(samples, root, 1)
    voxels = inspect_volumes([samples[row] for row in headers.selected], root, 1, 3, RULE)
    return headers, voxels


@examples(small=60, full=2000)
@given(st.sampled_from(["images", "masks"]), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1,
                                                       max_size=4), st.integers(0, 400))  # fmt: skip
def test_inspect__any_damage_is_named(written, tmp_path_factory, folder, changes, removed):
    source, params = written
    root = tmp_path_factory.mktemp("damaged")
    shutil.copytree(source, root, dirs_exist_ok=True)
    file = root / folder / "1.nii.gz"
    content = bytearray(file.read_bytes())
    for position, value in changes:
        content[position % len(content)] = value
    file.write_bytes(bytes(content[: len(content) - removed]))
    headers, voxels = inspect(root, params)
    rejected = [*headers.rejected, *voxels.rejected]
    assert len(voxels.facts) + len(rejected) == 3
    assert {path for path, _ in rejected} <= {"images/1.nii.gz"}
    assert all("\n" not in problem and str(root) not in problem for _, problem in rejected)


def test_describe__properties():
    image = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    mask = (image[0] > 20).astype(np.uint8) * 2
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    facts = describe(LabeledVolume(image, mask, affine, "LPS"), 3)
    assert (facts.shape, facts.spacing, facts.orientation, facts.voxels) == ((2, 3, 4), (1, 2, 3), "LPS", (0, 3, 0))
    assert facts.limits == ((0.0, 23.0),)
    assert facts.quantiles[0][2] == 11.5
    assert facts.ranges[0] == pytest.approx(0.99 * 23)
    other = describe(LabeledVolume(image, mask * 0, affine, "LPS"), 3)
    assert (other.sha256 == facts.sha256, other.mask_sha256 == facts.mask_sha256) == (True, False)
    reshaped = describe(LabeledVolume(image.reshape(1, 4, 3, 2), mask.reshape(4, 3, 2), affine, "LPS"), 3)
    assert reshaped.sha256 != facts.sha256
    assert outside(facts, [(0.0, 5.0)]) is None
    assert outside(facts, [(23.0, 30.0)]) == "the values 0 to 23 are outside of the window 23 to 30"
