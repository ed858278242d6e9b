import json

import pytest
import torch

from examples.pretraining.learning import INPUT, augment, gabor
from examples.pretraining.pretrain import pretrain


@pytest.fixture
def restore_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_pretrain__is_reproducible(tmp_path, restore_threads):
    for name in ("a", "b"):
        pretrain("test_vit", per_class=1, steps=3, batch=8, seed=3, held_out=1, out=tmp_path / name)
    first, second = (json.loads((tmp_path / name / "test_vit.json").read_text()) for name in ("a", "b"))
    assert first["sha256"] == second["sha256"]
    assert first["training"]["images_sha256"] == second["training"]["images_sha256"]


def test_augment__images_differ():
    batch = torch.randint(0, 256, (1, 144, 144, 3), dtype=torch.uint8).repeat(4, 1, 1, 1)
    images = augment(batch, torch.Generator().manual_seed(0))
    assert images.shape == (4, 3, INPUT, INPUT)
    assert torch.isfinite(images).all()
    assert images.abs().max() <= 2
    assert all((images[0] - image).abs().mean() > 0.01 for image in images[1:])
    torch.testing.assert_close(images, augment(batch, torch.Generator().manual_seed(0)))


def test_augment__without_color_returns_normalized_gray_images():
    batch = torch.randint(0, 256, (4, 144, 144, 3), dtype=torch.uint8)
    images = augment(batch, torch.Generator().manual_seed(0), 0.0)
    torch.testing.assert_close(images[:, 0], images[:, 2])
    assert images.mean((1, 2, 3)).abs().max() < 0.1


def test_gabor__filters_differ_and_have_unit_norm():
    filters = gabor((16, 3, 16, 16)).flatten(1)
    torch.testing.assert_close(filters.norm(dim=1), torch.ones(16))
    assert (torch.corrcoef(filters) - torch.eye(16)).abs().max() < 0.95
