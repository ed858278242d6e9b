from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from medtune.tasks.multilabel.training import MAX_RATIO, BinaryCrossEntropy, class_weights
from tests.training import test_loop as loop

NAMES = ("mass", "edema", "hernia")


def test_loss__is_the_mean_over_findings_summed_over_images():
    torch.manual_seed(0)
    logits, target = torch.randn(5, 3), torch.randint(0, 2, (5, 3), dtype=torch.uint8)
    objective = BinaryCrossEntropy()
    expected = binary_cross_entropy_with_logits(logits, target.float()) * 5
    torch.testing.assert_close(objective.loss(logits, target), expected)
    assert objective.total(target) == 5
    assert objective.score(logits, target)["loss"] == pytest.approx(float(expected) / 5)


def test_loss__label_smoothing_moves_targets_to_half():
    certain = torch.tensor([[9.0, -9.0]])
    target = torch.tensor([[1, 0]], dtype=torch.uint8)
    assert BinaryCrossEntropy(label_smoothing=0.2).loss(certain, target) > BinaryCrossEntropy().loss(certain, target)


def test_class_weights__auto_balances_with_mean_one():
    targets = np.zeros((100, 3), np.uint8)
    targets[:50, 0] = targets[:10, 1] = targets[:1, 2] = 1
    weights = class_weights("auto", NAMES, targets).numpy()
    assert (weights[1] / weights[0]).tolist() == pytest.approx([1, 9, MAX_RATIO])
    mean = np.where(targets, weights[1], weights[0]).mean(0)
    assert mean.tolist() == pytest.approx([1, 1, 1], rel=1e-5)


def test_class_weights__one_for_findings_of_all_or_no_images():
    targets = np.zeros((10, 2), np.uint8)
    targets[:, 1] = 1
    assert class_weights("auto", ("a", "b"), targets).tolist() == [[1, 1], [1, 1]]


def test_class_weights__mapping():
    targets = np.array([[1, 0, 1], [0, 1, 0]], np.uint8)
    weights = class_weights({"edema": 3.0}, NAMES, targets)
    assert (weights[1] / weights[0]).tolist() == [1, 3, 1]
    assert class_weights("none", NAMES, targets) is None


def test_loss__weights_by_finding_and_label():
    weights = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    target = torch.tensor([[1, 0]], dtype=torch.uint8)
    result = BinaryCrossEntropy(weights).loss(torch.zeros(1, 2), target)
    assert float(result) == pytest.approx(np.log(2) * (3 + 2) / 2)


@pytest.mark.parametrize("interrupt_at", [("epoch", 2), ("step", 9)], ids=["between-epochs", "mid-epoch"])
def test_training__resumed_run_is_bit_identical(tmp_path, interrupt_at):
    draw = np.random.default_rng(3)
    targets = draw.integers(0, 2, (loop.N, 2)).astype(np.uint8)

    def train(folder, interrupt_at=None):
        config = loop.make_config(tmp_path / folder, interrupt_at=interrupt_at, checkpoint_seconds=0.005)
        weights = class_weights({"a": 3.0}, ("a", "b"), targets)
        return loop.train(replace(config, targets=targets, objective=BinaryCrossEntropy(weights, 0.1)))

    uninterrupted = train("uninterrupted")
    with pytest.raises(loop.Interrupted):
        train("interrupted", interrupt_at)
    resumed = train("interrupted")
    assert uninterrupted[0].history == resumed[0].history
    assert len(uninterrupted[0].history) == 4
    for weights, other in zip(uninterrupted[1:], resumed[1:], strict=True):
        assert all(torch.equal(weights[name], other[name]) for name in weights)
