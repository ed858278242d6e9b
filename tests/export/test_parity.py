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
    """What the task says of outputs, with the most probable class as the decision."""
    return lambda reference, found: task.agreement(reference, found, labels, DOCUMENT, tolerance)


def compare(candidate: np.ndarray, tolerance: float = 2e-2, sizes: tuple[int, ...] = (1, 7, 32)) -> dict:
    """Figures of a model that says `candidate[i]` of image i."""
    return compare_outputs(
        REFERENCE,
        lambda images: candidate[images[:, 0, 0, 0]],
        IMAGES,
        agreement(LABELS, tolerance),
        list(sizes),
    )


def refuse(candidate: np.ndarray, precision: str, **changes: float) -> str | None:
    return rejection_reason(compare(candidate), precision, ExportParams(**changes), task.rejection_reason)


def test_measure__finds_the_one_image_that_differs():
    candidate = REFERENCE.copy()
    candidate[40] = [0, 1, 0] if LABELS[40] == 0 else [1, 0, 0]
    figures = compare(candidate)
    assert figures["argmax_changed"] == figures["argmax_changed_not_toss_up"] == 1
    assert figures["argmax_agreement"] == figures["decision_agreement"] == 0.98
    assert figures["balanced_accuracy_reference"] == 1 > figures["balanced_accuracy"]
    # the small sizes see 32 images, the largest all of them
    assert figures["max_abs_diff_by_batch_size"]["1"] == figures["max_abs_diff_by_batch_size"]["7"] == 0
    assert figures["max_abs_diff_by_batch_size"]["32"] == figures["max_abs_diff"] > 0.1


def test_refusal__ships_what_agrees():
    assert refuse(REFERENCE, "fp32") is None
    assert refuse(REFERENCE + 1e-3 * RNG.uniform(-1, 1, REFERENCE.shape) * 0.1, "fp16") is None


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_refusal__nan(precision):
    candidate = REFERENCE.copy()
    candidate[3, 1] = np.nan
    assert "is NaN or infinite" in refuse(candidate, precision)


def test_refusal__probabilities_too_far_off():
    assert "allows 0.0001" in refuse(REFERENCE + 2e-4, "fp32")
    assert refuse(REFERENCE + 2e-4, "fp16") is None
    assert "allows 0.02" in refuse(REFERENCE + 3e-2, "fp16")


def toss_up(gap: float) -> tuple[np.ndarray, np.ndarray]:
    """A reference and a candidate whose image 5 changes its class, `gap` being between its two best in the first."""
    reference, candidate = REFERENCE.copy(), REFERENCE.copy()
    reference[5] = [0.4 + gap / 2, 0.4 - gap / 2, 0.2]
    candidate[5] = [0.4 - 1e-4, 0.4 + 1e-4, 0.2]
    return reference, candidate


@pytest.mark.parametrize(("gap", "precision", "said"), [
    (1e-4, "fp32", "1 of 50 images change"), (1e-4, "fp16", None), (3e-2, "fp16", "1 of 50 images change"),
])  # fmt: skip
def test_refusal__a_toss_up_may_change_under_fp16_only(gap, precision, said):
    reference, candidate = toss_up(gap)
    figures = compare_outputs(
        reference, lambda images: candidate[images[:, 0, 0, 0]], IMAGES,
        agreement(np.where(np.arange(50) == 5, 2, LABELS), 2e-2), [32],
    )  # fmt: skip
    found = rejection_reason(figures, precision, ExportParams(fp32_tolerance=1e-2), task.rejection_reason)
    assert (found is None) if said is None else (said in found)


def test_refusal__balanced_accuracy_falls():
    reference, candidate = toss_up(1e-4)
    figures = compare_outputs(
        reference, lambda images: candidate[images[:, 0, 0, 0]], IMAGES,
        agreement(np.where(np.arange(50) == 5, 0, LABELS), 2e-2), [32],
    )  # fmt: skip
    assert "balanced accuracy falls" in rejection_reason(figures, "fp16", ExportParams(), task.rejection_reason)
    assert rejection_reason(figures, "fp16", ExportParams(max_metric_drop=0.2), task.rejection_reason) is None


def test_refusal__int8_is_held_to_the_balanced_accuracy_alone():
    far = REFERENCE + 0.1
    assert refuse(far, "int8") is None
    candidate = REFERENCE.copy()
    candidate[40] = np.eye(3)[(LABELS[40] + 1) % 3]
    assert "export.int8_max_metric_drop allows 0.005" in refuse(candidate, "int8")
    assert refuse(candidate, "int8", int8_max_metric_drop=0.2) is None
    candidate[3, 1] = np.nan
    assert "is NaN or infinite" in refuse(candidate, "int8", int8_max_metric_drop=1)


def test_losses__are_of_the_balanced_accuracy():
    lost = task.losses({"balanced_accuracy_reference": 0.75, "balanced_accuracy": 0.5})
    assert lost == {"balanced_accuracy_drop": 0.25}


def test_spread__takes_from_each_class_in_turn():
    labels = np.array([0] * 20 + [1] * 3 + [2])
    candidates = np.arange(24)
    assert np.bincount(labels[stratified_sample(labels, candidates, 6)]).tolist() == [3, 2, 1]
    assert stratified_sample(labels, candidates, 100).tolist() == candidates.tolist()
    assert stratified_sample(labels, np.array([4, 21, 22]), 2).tolist() == [4, 21]
