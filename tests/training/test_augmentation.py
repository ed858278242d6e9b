"""Augmentation: value range, blank images, and separate random numbers per image."""

import math

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from medtune.config.training import AugmentParams
from medtune.training.augmentation import STAIN_BASIS, STRIDE, Geometry, PerSampleRng, augment, dihedral, vary
from medtune.training.replicas import ALL_ROWS

ALL = AugmentParams(rotate=30.0, brightness=0.3, contrast=0.3, stain=0.1)


def images(n, size=32, seed=0):
    return torch.randint(0, 256, (n, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def step_by_step(pixels, params, generator):
    """Compute the result of `augment` step by step."""
    draws = PerSampleRng(generator, len(pixels), ALL_ROWS)
    x = dihedral(pixels.permute(0, 3, 1, 2).float() / 255, draws.integers(8))
    gray = (x == x[:, :1]).flatten(1).all(1).view(-1, 1, 1, 1)
    angle = draws.uniform(1, math.radians(params.rotate))[:, 0]
    zoom = 1 / (1 + draws.uniform(1, params.scale)[:, 0])
    theta = torch.zeros(len(x), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = angle.cos() * zoom
    theta[:, 0, 1], theta[:, 1, 0] = -angle.sin() * zoom, angle.sin() * zoom
    theta[:, :, 2] = draws.uniform(2, 2 * params.shift)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    amounts = torch.einsum("bchw,cs->bshw", -x.clamp(1 / 255).log(), torch.linalg.inv(STAIN_BASIS))
    scale, shift = 1 + draws.uniform(3, params.stain), draws.uniform(3, params.stain / 2)
    amounts = amounts * scale[:, :, None, None] + shift[:, :, None, None]
    x = torch.where(gray, x, (-torch.einsum("bshw,sc->bchw", amounts, STAIN_BASIS)).exp())
    mean = x.mean((1, 2, 3), keepdim=True)
    x = mean + (x - mean) * (1 + draws.uniform(1, params.contrast))[:, :, None, None]
    return (x * (1 + draws.uniform(1, params.brightness))[:, :, None, None]).clamp(0, 1)


@pytest.mark.parametrize("size", [32, 33])
@pytest.mark.parametrize("params", [ALL, AugmentParams()])
def test_augment__equals_a_step_by_step_reference(size, params):
    pixels = images(24, size)
    pixels[3] = pixels[3][..., :1]  # grayscale
    pixels[5] = pixels[5][..., :1]
    pixels[5, 1, 1] = torch.tensor([10, 20, 30])  # a colored pixel that the fast check skips
    assert STRIDE > 1
    augmented = augment(pixels, params, torch.Generator().manual_seed(7))
    torch.testing.assert_close(
        augmented, step_by_step(pixels, params, torch.Generator().manual_seed(7)), rtol=0, atol=1e-4
    )
    assert torch.equal(augmented[3, 0], augmented[3, 1])
    assert not torch.equal(augmented[5, 0], augmented[5, 1])


def test_augment__random_numbers_do_not_depend_on_grayscale_images():
    pixels = images(4)
    with_gray = torch.cat([pixels[:3], pixels[3:, ..., :1].expand(-1, -1, -1, 3)])
    color, mixed = (augment(batch, ALL, torch.Generator().manual_seed(2)) for batch in (pixels, with_gray))
    torch.testing.assert_close(color[:3], mixed[:3], rtol=0, atol=1e-6)


def test_augment__does_not_modify_its_input():
    pixels = images(3)
    before = pixels.clone()
    for params in (ALL, AugmentParams(dihedral=False, shift=0, scale=0)):
        augment(pixels, params, torch.Generator().manual_seed(0))
    assert torch.equal(pixels, before)


def test_augment__is_reproducible_and_differs_between_images():
    same = images(1).expand(6, -1, -1, -1).contiguous()
    first = augment(same, ALL, torch.Generator().manual_seed(3))
    again = augment(same, ALL, torch.Generator().manual_seed(3))
    assert torch.equal(first, again)
    assert len({tuple(row.flatten()[:50].tolist()) for row in first}) == 6


def test_augment__returns_the_image_if_everything_is_disabled():
    off = AugmentParams(dihedral=False, shift=0, scale=0, rotate=0, brightness=0, contrast=0, stain=0)
    x = images(3)
    torch.testing.assert_close(augment(x, off, torch.Generator()), x.permute(0, 3, 1, 2).float() / 255)


def test_augment__grayscale_images_remain_grayscale():
    gray = images(4)[..., :1].expand(-1, -1, -1, 3).contiguous()
    out = augment(gray, AugmentParams(stain=0.2), torch.Generator().manual_seed(0))
    torch.testing.assert_close(out[:, 0], out[:, 1])


def test_augment__rejects_floats():
    with pytest.raises(TypeError, match="uint8"):
        augment(torch.rand(1, 8, 8, 3), ALL, torch.Generator())


@pytest.mark.parametrize(("name", "value"), [("brightness", 0.6), ("contrast", 0.6), ("stain", 0.6), ("scale", 1.0)])
def test_params__rejects_strengths_that_blank_images(name, value):
    with pytest.raises(ValidationError, match=rf"{name}\n.*less_than"):
        AugmentParams(**{name: value})


def test_dihedral__returns_eight_different_exact_views():
    x = torch.arange(9.0).view(1, 1, 3, 3).expand(8, -1, -1, -1)
    views = dihedral(x, torch.arange(8))
    assert torch.equal(views[0], x[0])
    assert len({tuple(v.flatten().tolist()) for v in views}) == 8
    assert all(sorted(v.flatten().tolist()) == list(range(9)) for v in views)


@pytest.mark.parametrize("settings", [{"rotate": 30, "shift": 0.2, "scale": 0.2}, {"shift": 0, "scale": 0}])
def test_vary__geometry_transforms_a_mask_like_its_image(settings):
    """Mask equal to its image: both agree after the transform except at the blurred edge."""
    mask = torch.zeros(8, 48, 48, dtype=torch.uint8)
    mask[:, 6:30, 10:20] = 1
    plain = AugmentParams(brightness=0, contrast=0, stain=0, **settings)
    images, geometry = vary(mask[..., None].repeat(1, 1, 1, 3) * 255, plain, torch.Generator().manual_seed(3))
    moved = geometry(mask[:, None])[:, 0]
    assert moved.dtype == torch.uint8
    assert not torch.equal(moved, mask)
    assert ((images[:, 0] > 0.5) == moved.bool()).float().mean() > 0.97


def test_geometry__applies_stored_views_to_masks():
    mask = torch.rand(8, 1, 6, 6)
    assert torch.equal(Geometry(torch.arange(8))(mask), dihedral(mask, torch.arange(8)))
    assert Geometry()(mask) is mask


UNCHANGED = {"dihedral": False, "shift": 0, "scale": 0, "brightness": 0, "contrast": 0, "stain": 0}


def test_flip__flips_both_axes_independently():
    pixels = images(1, 8).expand(4000, -1, -1, -1)
    augmented = augment(pixels, AugmentParams(**{**UNCHANGED, "flip": 0.3}), torch.Generator().manual_seed(0))
    plain = pixels[0].permute(2, 0, 1).float() / 255
    expected = {(): 0.49, (2,): 0.21, (1,): 0.21, (1, 2): 0.09}
    shares = {axes: (augmented == plain.flip(axes)).flatten(1).all(1).float().mean().item() for axes in expected}
    assert shares == pytest.approx(expected, abs=0.03)


def test_affine_probability__is_the_share_of_transformed_images():
    pixels = images(1, 8).expand(2000, -1, -1, -1)
    params = AugmentParams(**{**UNCHANGED, "shift": 0.2, "rotate": 180, "scale": 0.3, "affine_probability": 0.7})
    augmented = augment(pixels, params, torch.Generator().manual_seed(0))
    unmoved = torch.isclose(augmented, pixels[0].permute(2, 0, 1) / 255, atol=1e-5).flatten(1).all(1)
    assert unmoved.float().mean().item() == pytest.approx(0.3, abs=0.03)


def test_color_probability__selects_brightness_and_contrast_independently():
    pixels = images(1, 8).expand(2000, -1, -1, -1)
    params = AugmentParams(**{**UNCHANGED, "brightness": 0.1, "contrast": 0.1, "color_probability": 0.5})
    augmented, plain = augment(pixels, params, torch.Generator().manual_seed(0)), pixels[0].permute(2, 0, 1) / 255
    unchanged = torch.isclose(augmented, plain, atol=1e-6).flatten(1).all(1)
    same_mean = torch.isclose(augmented.mean((1, 2, 3)), plain.mean(), atol=1e-3)  # only contrast preserves the mean
    assert unchanged.float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert same_mean.float().mean().item() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("border", "outside"), [("black", 0.0), ("reflect", 1.0)])
def test_border__applies_to_images_and_their_masks(border, outside):
    white = torch.full((16, 16, 16, 3), 255, dtype=torch.uint8)
    params = AugmentParams(**{**UNCHANGED, "shift": 0.25, "scale": 0.5, "rotate": 180, "border": border})
    augmented, geometry = vary(white, params, torch.Generator().manual_seed(1))
    assert augmented.min().item() == pytest.approx(outside, abs=1e-6)
    assert augmented.amax((1, 2, 3)).min().item() == pytest.approx(1, abs=1e-6)
    moved = geometry(white[..., :1].permute(0, 3, 1, 2))
    assert moved.min().item() == 255 * outside


@pytest.mark.parametrize(("settings", "message"), [
    ({"flip": 0.5}, "dihedral=true includes flips"),
    ({"border": "black", "shift": 0.3}, "at most 0.25 with border=black"),
    ({"border": "black", "scale": 0.6}, "at most 0.5 with border=black"),
])  # fmt: skip
def test_params__rejects_contradictions(settings, message):
    with pytest.raises(ValidationError, match=message):
        AugmentParams(**settings)
