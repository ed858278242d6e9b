"""Dice and cross-entropy: equality with plain formulas, sums of steps, and validation scores."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.losses import DiceLoss

from medtune.tasks.segmentation.case_metrics import case_metrics
from medtune.tasks.segmentation.metrics import score
from medtune.tasks.segmentation.objective import IGNORED, SMOOTH, DiceCrossEntropy, objective
from medtune.tasks.segmentation.patch_source import PatchMasks
from medtune.tasks.segmentation.windowed import WindowedNetwork
from tests.forked_ranks import run_ranks
from tests.tasks.segmentation.curves import histories
from tests.tasks.segmentation.prepared_volumes import segmentation_params, write

LABELS = ("organ", "vessel")


class Masks:
    """Masks of volumes in memory."""

    def __init__(self, masks):
        self.masks = masks

    def mask(self, row):
        return self.masks[row]


def batch(n=3, side=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, 3, side, side, side, generator=generator)
    return logits, torch.randint(3, (n, side, side, side), generator=generator, dtype=torch.uint8)


def test_loss__is_dice_of_the_batch_plus_cross_entropy_per_patch():
    logits, masks = batch()
    dice = DiceLoss(
        include_background=False, to_onehot_y=True, softmax=True, batch=True, smooth_nr=SMOOTH, smooth_dr=SMOOTH
    )
    expected = dice(logits, masks[:, None]) + F.cross_entropy(logits, masks.long())
    goal = DiceCrossEntropy(Masks([]), LABELS)
    torch.testing.assert_close(goal.loss(logits, masks) / goal.total(torch.arange(3)), expected)


def test_loss__gradient_increases_the_probability_of_the_truth():
    logits, masks = batch()
    logits.requires_grad_(True)
    (gradient,) = torch.autograd.grad(DiceCrossEntropy(Masks([]), LABELS).loss(logits, masks), logits)
    assert (gradient.gather(1, masks[:, None].long()) < 0).all()


def test_loss__ignores_the_patches_of_other_processes():
    logits, masks = batch()
    goal = DiceCrossEntropy(Masks([]), LABELS)
    alone = goal.loss(logits[:2], masks[:2])
    masks[2] = IGNORED
    changed = logits.clone()
    changed[2] += 5
    # The number of patches weights the Dice loss, the cross-entropy is that of the counted patches.
    entropy = F.cross_entropy(logits[:2], masks[:2].long()) * 2
    torch.testing.assert_close((goal.loss(changed, masks) - entropy) / 3, (alone - entropy) / 2)


def test_augment__returns_the_masks_of_the_patches():
    masks = batch()[1]
    assert DiceCrossEntropy(Masks([]), LABELS).augment(torch.arange(3), PatchMasks(masks)) is masks


@pytest.mark.parametrize("absent", [False, True])
def test_score__equals_the_metrics_of_the_evaluation(absent):
    draw = np.random.default_rng(1)
    shapes = [(5, 6, 7), (4, 4, 9), (8, 3, 5)]
    truths = [draw.integers(0, 2 if absent else 3, shape).astype(np.uint8) for shape in shapes]
    logits = [torch.from_numpy(draw.normal(size=(1, 3, *shape)).astype(np.float32)) for shape in shapes]
    goal = DiceCrossEntropy(Masks(truths), LABELS)
    rows = torch.arange(3)
    summary = torch.cat([goal.summarize(output, row[None]) for output, row in zip(logits, rows, strict=True)])
    cases = [
        case_metrics(truth, output[0].argmax(0).numpy(), (1, 1, 1), {"organ": 1, "vessel": 2}, distances=False)
        for truth, output in zip(truths, logits, strict=True)
    ]
    result = goal.score(summary, rows)
    assert result["dice"] == pytest.approx(score(cases)["dice"], abs=1e-6)
    masks = [torch.from_numpy(truth).long() for truth in truths]
    entropy = np.mean([float(F.cross_entropy(o, m[None])) for o, m in zip(logits, masks, strict=True)])
    flat = torch.cat([output.flatten(2) for output in logits], 2).softmax(1)[0, 1:]
    inside = torch.stack([torch.cat([mask.flatten() for mask in masks]) == value for value in (1, 2)]).float()
    dice = (2 * (flat * inside).sum(1) + SMOOTH) / (flat.sum(1) + inside.sum(1) + SMOOTH)
    assert result["loss"] == pytest.approx(entropy + 1 - float(dice.mean()), abs=1e-5)


def test_summarize__slabs_have_the_sums_of_the_complete_volume():
    draw = torch.Generator().manual_seed(0)
    volume = torch.randn(1, 1, 20, 9, 8, generator=draw)
    truth = torch.randint(0, 3, (20, 9, 8), generator=draw, dtype=torch.uint8).numpy()
    goal, rows = DiceCrossEntropy(Masks([truth]), LABELS), torch.zeros(1, dtype=torch.int64)
    network = torch.nn.Conv3d(1, 3, 1)
    network.weight.data = torch.randn(3, 1, 1, 1, 1, generator=draw)
    with torch.no_grad():
        slabs = WindowedNetwork(network, (8, 8, 8), 0.5)(volume)
        complete = torch.cat([part for _, part in slabs], dim=1)[None]
        found, expected = goal.summarize(slabs, rows), goal.summarize(complete, rows)
    assert len(list(slabs)) == 4
    assert torch.equal(found[:, 6:12], expected[:, 6:12])  # voxels, from which Dice is computed
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_score__of_the_truth_is_one():
    truth = np.random.default_rng(0).integers(0, 3, (6, 6, 6)).astype(np.uint8)
    goal = DiceCrossEntropy(Masks([truth]), LABELS)
    logits = 60 * F.one_hot(torch.from_numpy(truth).long(), 3).movedim(3, 0)[None].float()
    result = goal.score(goal.summarize(logits, torch.zeros(1, dtype=torch.int64)), torch.zeros(1))
    assert result["dice"] == 1
    assert result["loss"] == pytest.approx(0, abs=1e-5)


def test_score__without_labels_is_not_a_number():
    goal = DiceCrossEntropy(Masks([np.zeros((4, 4, 4), np.uint8)]), LABELS)
    summary = goal.summarize(torch.zeros(1, 3, 4, 4, 4), torch.zeros(1, dtype=torch.int64))
    assert np.isnan(goal.score(summary, torch.zeros(1))["dice"])


def test_objective__reads_the_labels_and_masks_of_the_data(tmp_path):
    params = segmentation_params(schedule="frozen")
    prepared = write(tmp_path, params)
    goal = objective(params, params.frozen, prepared, np.arange(3))
    assert goal.labels == prepared.classes
    output = torch.zeros(1, len(prepared.classes) + 1, *prepared.volumes.entries[2].shape)
    summary = goal.summarize(output, torch.tensor([2]))
    assert summary[0, -1] == prepared.volumes.mask(2).size
    assert summary[0].shape == (6 * len(prepared.classes) + 2,)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.xdist_group("ddp")
def test_loss__is_the_same_in_two_processes(tmp_path):
    """Dice sums cover the patches of all processes, so the result does not depend on their number."""
    write(tmp_path, segmentation_params(schedule="frozen"))
    single = histories(tmp_path)
    (printed,) = run_ranks(tmp_path / "output", "tests.tasks.segmentation.curves", str(tmp_path))
    lines = [next(line for line in text.splitlines() if line.startswith("HISTORIES ")) for text in printed]
    first, second = (json.loads(line.removeprefix("HISTORIES ")) for line in lines)
    assert first == second
    for stage, history in single.items():
        assert len(history) == len(first[stage])
        for row, other in zip(history, first[stage], strict=True):
            assert row["step"] == other["step"]
            for name in ("train/loss", "val/loss", "val/dice"):
                assert other[name] == pytest.approx(row[name], rel=1e-3, nan_ok=True), (stage, name)
