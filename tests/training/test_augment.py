"""Augmentation: nothing blanked, nothing out of range, every image its own draw."""

import pytest
import torch

from config.training import AugmentParams
from training.augment import augment, dihedral

ALL = AugmentParams(rotate=30.0, brightness=0.3, contrast=0.3, stain=0.1)


def images(n, size=32, seed=0):
    return torch.randint(0, 256, (n, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_augment__10_000_images_stay_images():
    generator = torch.Generator().manual_seed(1)
    constant = 0
    for part in range(20):
        out = augment(images(500, 16, part), ALL, generator)
        assert out.dtype == torch.float32
        assert out.min() >= 0
        assert out.max() <= 1
        constant += int((out.flatten(1).std(1) < 1e-3).sum())
    assert constant <= 10  # 0.1 %


def test_augment__repeats_with_its_generator_and_differs_between_images():
    same = images(1).expand(6, -1, -1, -1).contiguous()
    first = augment(same, ALL, torch.Generator().manual_seed(3))
    again = augment(same, ALL, torch.Generator().manual_seed(3))
    assert torch.equal(first, again)
    assert len({tuple(row.flatten()[:50].tolist()) for row in first}) == 6


def test_augment__all_off_is_the_image():
    off = AugmentParams(dihedral=False, shift=0, scale=0, rotate=0, brightness=0, contrast=0, stain=0)
    x = images(3)
    torch.testing.assert_close(augment(x, off, torch.Generator()), x.permute(0, 3, 1, 2).float() / 255)


def test_augment__grey_images_stay_grey():
    grey = images(4)[..., :1].expand(-1, -1, -1, 3).contiguous()
    out = augment(grey, AugmentParams(stain=0.2), torch.Generator().manual_seed(0))
    torch.testing.assert_close(out[:, 0], out[:, 1])


def test_augment__refuses_floats():
    with pytest.raises(TypeError, match="uint8"):
        augment(torch.rand(1, 8, 8, 3), ALL, torch.Generator())


def test_dihedral__eight_different_exact_views():
    x = torch.arange(9.0).view(1, 1, 3, 3).expand(8, -1, -1, -1)
    views = dihedral(x, torch.arange(8))
    assert torch.equal(views[0], x[0])
    assert len({tuple(v.flatten().tolist()) for v in views}) == 8
    assert all(sorted(v.flatten().tolist()) == list(range(9)) for v in views)
