"""Asynchronous copies to a GPU, and training steps without synchronization."""

import numpy as np
import pytest
import torch
from torch import nn

from medtune.config.training import AugmentParams, TrainingParams
from medtune.tasks.classification.training import CrossEntropy
from medtune.training.augmentation import vary
from medtune.training.loop import Trainer
from medtune.training.trainer_config import TrainerConfig
from medtune.training.transfer import to_device

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def test_to_device__returns_the_same_tensor_on_a_cpu():
    tensor = torch.arange(4)
    assert to_device(tensor, torch.device("cpu")) is tensor


@pytest.fixture
def forbid_synchronization():
    """Return a function after which every synchronization with the GPU raises."""

    def forbid():
        torch.cuda.set_sync_debug_mode("error")

    yield forbid
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@needs_gpu
def test_to_device__copies_the_values_to_a_gpu():
    tensor = torch.arange(1000)
    assert torch.equal(to_device(tensor, torch.device("cuda")).cpu(), tensor)


class Images:
    """Batch source of augmented images on the GPU."""

    def __init__(self, images):
        self.images = images

    def train(self, rows, generator, take):
        pixels = to_device(torch.from_numpy(self.images[rows[take]]), torch.device("cuda"))
        return vary(pixels, AugmentParams(rotate=10), generator)

    def score(self, rows):
        return to_device(torch.from_numpy(self.images[rows]), torch.device("cuda")).permute(0, 3, 1, 2) / 255


@pytest.mark.gpu
@needs_gpu
def test_step__does_not_synchronize_with_the_gpu(tmp_path, forbid_synchronization):
    rng = np.random.default_rng(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GELU(), nn.Flatten(), nn.Linear(8 * 30 * 30, 2))
    config = TrainerConfig(
        name="test",
        network=network.cuda(),
        saved=network,
        set_modes=network.train,
        source=Images(rng.integers(0, 256, (32, 32, 32, 3), dtype=np.uint8)),
        targets=rng.integers(0, 2, 32),
        train=np.arange(32),
        val=np.arange(8),
        objective=CrossEntropy(torch.tensor([1.2, 0.8])),
        params=TrainingParams(batch_size=8, ema_decay=0.9),
        lr=3e-4,
        seed=1,
        key="key",
        checkpoint_dir=tmp_path,
    )
    trainer = Trainer(config, "cuda")
    trainer._step(config.train[:8])  # allocations of the first step may synchronize
    forbid_synchronization()
    trainer._step(config.train[8:16])
