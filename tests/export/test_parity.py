import numpy as np
import pytest

from medtune.config.schema import ExportParams
from medtune.export.parity import compare_outputs, rejection_reason, stratified_sample
from medtune.tasks.classification import export as task

RNG = np.random.default_rng(0)
REFERENCE = RNG.dirichlet([1, 1, 1], 50)
IMAGES = np.arange(50, dtype=np.uint8).reshape(50, 1, 1, 1).repeat(3, 3)
LABELS = REFERENCE.argmax(1)


DOCUMENT = {"classes": ["a", "b", "c"], "decision": {"kind": "argmax"}}


def agreement(labels: np.ndarray, tolerance: float):
    """Return the agreement of outputs, with the most probable class as decision."""
    return lambda reference, result: task.agreement(reference, result, labels, DOCUMENT, tolerance)


def compare(candidate: np.ndarray, tolerance: float = 2e-2, sizes: tuple[int, ...] = (1, 7, 32)) -> dict:
    """Return the parity metrics of a model whose output for image i is `candidate[i]`."""
    return compare_outputs(
        REFERENCE,
        lambda images: candidate[images[:, 0, 0, 0]],
        IMAGES,
        agreement(LABELS, tolerance),
        list(sizes),
    )


def reason_for(candidate: np.ndarray, precision: str, **changes: float) -> str | None:
    return rejection_reason(compare(candidate), precision, ExportParams(**changes), task.rejection_reason)


def test_compare_outputs__finds_the_differing_image():
    candidate = REFERENCE.copy()
    candidate[40] = [0, 1, 0] if LABELS[40] == 0 else [1, 0, 0]
    parity = compare(candidate)
    assert parity["argmax_changed"] == parity["argmax_changed_not_toss_up"] == 1
    assert parity["argmax_agreement"] == parity["decision_agreement"] == 0.98
    assert parity["balanced_accuracy_reference"] == 1 > parity["balanced_accuracy"]
    # smaller batch sizes use 32 images, the largest all images
    assert parity["max_abs_diff_by_batch_size"]["1"] == parity["max_abs_diff_by_batch_size"]["7"] == 0
    assert parity["max_abs_diff_by_batch_size"]["32"] == parity["max_abs_diff"] > 0.1


def test_rejection_reason__equal_outputs_are_accepted():
    assert reason_for(REFERENCE, "fp32") is None
    assert reason_for(REFERENCE + 1e-3 * RNG.uniform(-1, 1, REFERENCE.shape) * 0.1, "fp16") is None


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_rejection_reason__nan_is_rejected(precision):
    candidate = REFERENCE.copy()
    candidate[3, 1] = np.nan
    assert "is NaN or infinite" in reason_for(candidate, precision)


def test_rejection_reason__large_differences_are_rejected():
    assert "allows 0.0001" in reason_for(REFERENCE + 2e-4, "fp32")
    assert reason_for(REFERENCE + 2e-4, "fp16") is None
    assert "allows 0.02" in reason_for(REFERENCE + 3e-2, "fp16")


def toss_up(gap: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a reference with a gap `gap` between the best classes of image 5, and a candidate with another class."""
    reference, candidate = REFERENCE.copy(), REFERENCE.copy()
    reference[5] = [0.4 + gap / 2, 0.4 - gap / 2, 0.2]
    candidate[5] = [0.4 - 1e-4, 0.4 + 1e-4, 0.2]
    return reference, candidate


@pytest.mark.parametrize(("gap", "precision", "message"), [
    (1e-4, "fp32", "1 of 50 images change"), (1e-4, "fp16", None), (3e-2, "fp16", "1 of 50 images change"),
])  # fmt: skip
def test_rejection_reason__near_tie_may_change_only_in_fp16(gap, precision, message):
    reference, candidate = toss_up(gap)
    parity = compare_outputs(
        reference, lambda images: candidate[images[:, 0, 0, 0]], IMAGES,
        agreement(np.where(np.arange(50) == 5, 2, LABELS), 2e-2), [32],
    )  # fmt: skip
    result = rejection_reason(parity, precision, ExportParams(fp32_tolerance=1e-2), task.rejection_reason)
    assert (result is None) if message is None else (message in result)


def test_rejection_reason__lower_balanced_accuracy_is_rejected():
    reference, candidate = toss_up(1e-4)
    parity = compare_outputs(
        reference, lambda images: candidate[images[:, 0, 0, 0]], IMAGES,
        agreement(np.where(np.arange(50) == 5, 0, LABELS), 2e-2), [32],
    )  # fmt: skip
    assert "balanced accuracy falls" in rejection_reason(parity, "fp16", ExportParams(), task.rejection_reason)
    assert rejection_reason(parity, "fp16", ExportParams(max_metric_drop=0.2), task.rejection_reason) is None


def test_rejection_reason__int8_depends_only_on_balanced_accuracy():
    distant = REFERENCE + 0.1
    assert reason_for(distant, "int8") is None
    candidate = REFERENCE.copy()
    candidate[40] = np.eye(3)[(LABELS[40] + 1) % 3]
    assert "export.int8_max_metric_drop allows 0.005" in reason_for(candidate, "int8")
    assert reason_for(candidate, "int8", int8_max_metric_drop=0.2) is None
    candidate[3, 1] = np.nan
    assert "is NaN or infinite" in reason_for(candidate, "int8", int8_max_metric_drop=1)


def test_losses__are_losses_of_balanced_accuracy():
    losses = task.losses({"balanced_accuracy_reference": 0.75, "balanced_accuracy": 0.5})
    assert losses == {"balanced_accuracy_drop": 0.25}


def test_stratified_sample__balances_classes():
    labels = np.array([0] * 20 + [1] * 3 + [2])
    candidates = np.arange(24)
    assert np.bincount(labels[stratified_sample(labels, candidates, 6)]).tolist() == [3, 2, 1]
    assert stratified_sample(labels, candidates, 100).tolist() == candidates.tolist()
    assert stratified_sample(labels, np.array([4, 21, 22]), 2).tolist() == [4, 21]
