"""Checkpoints: equality after reading, and detection of damage."""

import random

import pytest
import torch

from medtune.training import checkpoint


def test_read__returns_the_saved_tensors(tmp_path):
    tensors = {"a": torch.randn(3, 4), "b": torch.arange(5), "empty": torch.zeros(0)}
    checkpoint.save(tmp_path / "c", tensors, {"key": "k", "loss": 0.1})
    stored, meta = checkpoint.read(tmp_path / "c", "k")
    assert meta == {"key": "k", "loss": 0.1}
    assert all(torch.equal(stored[name], value) for name, value in tensors.items())
    assert checkpoint.read(tmp_path / "c", "other") is None
    assert checkpoint.read(tmp_path / "absent") is None


@pytest.mark.parametrize("seed", range(100))
def test_read__detects_every_mutation(tmp_path, seed):
    path = tmp_path / "c"
    checkpoint.save(path, {"a": torch.arange(64.0)}, {"key": "k"})
    rng = random.Random(seed)
    data = bytearray(path.read_bytes())
    if rng.random() < 0.3:
        data = data[: rng.randrange(len(data))]
    else:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    result = checkpoint.read(path, "k")
    assert result is None or (torch.equal(result[0]["a"], torch.arange(64.0)) and result[1] == {"key": "k"})


def test_load_optimizer__restores_the_state(tmp_path):
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True)
    layer(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    checkpoint.save(tmp_path / "c", checkpoint.optimizer_tensors(optimizer), {})
    other = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True)
    checkpoint.load_optimizer(other, checkpoint.read(tmp_path / "c")[0])
    assert all(
        torch.equal(optimizer.state[p][name], other.state[p][name])
        for p in layer.parameters()
        for name in ("step", "exp_avg", "exp_avg_sq")
    )
