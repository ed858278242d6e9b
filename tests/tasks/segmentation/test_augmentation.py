"""Augmentation of patches: image and mask agree, rotations are those of the body, and intensities stay in range."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medtune.tasks.segmentation import VolumeAugmentParams
from medtune.tasks.segmentation.augmentation import (
    draw_maps,
    draw_mirrored,
    resample,
    source_box,
    vary_intensities,
)
from medtune.training.augmentation import PerSampleRng
from medtune.training.replicas import ALL_ROWS

OFF = {"gamma": 0, "brightness": 0, "contrast": 0, "noise": 0, "blur": 0, "low_resolution": 0}


def rng(batch=4, seed=0, rows=ALL_ROWS):
    return PerSampleRng(torch.Generator().manual_seed(seed), batch, rows)


def patches(n=4, side=12):
    return torch.randn(n, 2, side, side, side, generator=torch.Generator().manual_seed(5))


def transformed(volume, matrix, center, patch, nearest=False):
    first, size = source_box(matrix, center, patch)
    assert (first >= 0).all()
    assert (first + size <= volume.shape[1:]).all()
    x, y, z = (slice(start, start + side) for start, side in zip(first, size, strict=True))
    return resample(volume[:, x, y, z], first, center, matrix, patch, nearest)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.tuples(*[st.floats(0.5, 3)] * 3), st.tuples(*[st.integers(2, 7)] * 3))
def test_resample__reads_the_transformed_positions(seed, spacing, patch):
    """The volume contains its own coordinates, so that linear interpolation is exact."""
    (matrix,) = draw_maps(VolumeAugmentParams(rotate=40, scale=0.3, affine_probability=1), rng(1, seed), spacing)
    volume = torch.stack(torch.meshgrid(*[torch.arange(64.0)] * 3, indexing="ij"))
    center = np.array([31.5, 30.0, 32.5])
    found = transformed(volume, matrix, center, patch)
    offsets = np.stack(np.meshgrid(*[np.arange(side) - (side - 1) / 2 for side in patch], indexing="ij"), -1)
    expected = offsets @ matrix.T + center
    np.testing.assert_allclose(found.movedim(0, 3).numpy(), expected, atol=2e-3)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_maps__rotate_and_zoom_the_body(seed):
    spacing = (1.0, 2.0, 3.0)
    params = VolumeAugmentParams(rotate=30, scale=0.2, affine_probability=1)
    (matrix,) = draw_maps(params, rng(1, seed), spacing)
    in_mm = np.diag(spacing) @ matrix @ np.diag(1 / np.array(spacing))
    zoom = np.cbrt(np.linalg.det(in_mm))
    assert 1 / 1.2 - 1e-6 <= zoom <= 1 / 0.8 + 1e-6
    np.testing.assert_allclose(in_mm @ in_mm.T, zoom**2 * np.eye(3), atol=1e-6)


def test_maps__identity_reads_the_patch_itself():
    volume = patches()[0]
    center = np.array([5.5, 6.0, 4.5])
    found = transformed(volume, np.eye(3), center, (4, 5, 6))
    torch.testing.assert_close(found, volume[:, 4:8, 4:9, 2:8], atol=1e-5, rtol=0)
    assert torch.equal(
        transformed((volume > 0).float(), np.eye(3), center, (4, 5, 6), nearest=True),
        (volume[:, 4:8, 4:9, 2:8] > 0).float(),
    )


def test_maps__nothing_to_rotate_or_zoom():
    assert draw_maps(VolumeAugmentParams(rotate=0, scale=0, affine_probability=1), rng(), (1, 1, 1)) == [None] * 4
    assert draw_maps(VolumeAugmentParams(affine_probability=0), rng(), (1, 1, 1)) == [None] * 4


def test_mirrored__only_named_axes_and_in_half_of_the_patches():
    drawn = draw_mirrored(rng(2000), ["z", "x"])
    assert {axis for axes in drawn for axis in axes} == {0, 2}
    for axis in (0, 2):
        assert 0.45 < np.mean([axis in axes for axes in drawn]) < 0.55
    assert draw_mirrored(rng(3), []) == [()] * 3


@pytest.mark.parametrize("name", OFF)
def test_intensities__each_transform_changes_the_patches(name):
    params = VolumeAugmentParams(**{**OFF, name: 0.5}, intensity_probability=1)
    changed = vary_intensities(patches(), params, rng())
    assert changed.isfinite().all()
    # A kernel of less than a voxel does not blur.
    assert sum(not torch.equal(a, b) for a, b in zip(changed, patches(), strict=True)) >= (2 if name == "blur" else 4)
    none = VolumeAugmentParams(**{**OFF, name: 0.5}, intensity_probability=0)
    assert torch.equal(vary_intensities(patches(), none, rng()), patches())


def test_intensities__preserve_what_their_names_say():
    def vary(**changes):
        return vary_intensities(patches(), VolumeAugmentParams(**{**OFF, **changes}, intensity_probability=1), rng())

    axes = (2, 3, 4)
    torch.testing.assert_close(vary(contrast=0.5).mean(axes), patches().mean(axes), atol=1e-5, rtol=0)
    shift = vary(brightness=0.5) - patches()
    torch.testing.assert_close(shift, shift[:, :1, :1, :1, :1].expand_as(shift), atol=1e-5, rtol=0)
    for extreme in (torch.amin, torch.amax):
        torch.testing.assert_close(extreme(vary(gamma=0.5), axes), extreme(patches(), axes), atol=1e-5, rtol=0)
    assert (vary(blur=5).std(axes) < patches().std(axes)).sum() >= 6
    assert (vary(low_resolution=0.8).std(axes) < patches().std(axes)).all()
    constant = torch.full((2, 1, 6, 6, 6), 3.0)
    every = VolumeAugmentParams(brightness=0, noise=0, intensity_probability=1)
    torch.testing.assert_close(vary_intensities(constant.clone(), every, rng(2)), constant)


@pytest.mark.parametrize("rows", [slice(0, None, 2), slice(1, None, 2), slice(0, 1)])
def test_intensities__draw_for_the_complete_batch_in_every_process(rows):
    params = VolumeAugmentParams(intensity_probability=0.5)
    complete = vary_intensities(patches(5), params, rng(5, 3))
    part = vary_intensities(patches(5)[rows].clone(), params, rng(5, 3, rows))
    assert torch.equal(part, complete[rows])


def test_maps__of_images_stay_in_the_plane():
    maps = draw_maps(VolumeAugmentParams(rotate=180, affine_probability=1), rng(), (0.5, 0.5, 1), is_planar=True)
    patch, image = (8, 6, 1), torch.randn(1, 30, 30, 1, generator=torch.Generator().manual_seed(0))
    for matrix in maps:
        assert matrix is not None
        np.testing.assert_allclose(matrix[2, :2], 0)
        np.testing.assert_allclose(matrix[:2, 2], 0)
        first, size = source_box(matrix, np.array([15.0, 14.0, 0.0]), patch)
        assert (first[2], size[2]) == (0, 1)
        constant = transformed(torch.full_like(image, 3.0), matrix, np.array([15.0, 14.0, 0.0]), patch)
        torch.testing.assert_close(constant, torch.full((1, *patch), 3.0))
