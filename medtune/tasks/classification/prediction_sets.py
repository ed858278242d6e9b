"""Prediction sets of the test images: calibrated on validation patients, and how well they keep their coverage."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from medtune.config.schema import EvaluateParams
from medtune.evaluation.conformal import calibrate
from medtune.evaluation.patient_ratios import ratio_intervals, sum_by_patient
from medtune.evaluation.result import EvaluationResult
from medtune.serving import prediction_sets as sets
from medtune.tasks.classification.folds import ClassifierPredictions, pool


def prediction_set_facts(result: EvaluationResult, options: EvaluateParams) -> dict[str, Any]:
    """What metrics.json says under `prediction_sets`.

    Each patient counts equally in every number, as in the calibration.

    Returns:
        `requested_coverage`, `calibration` (limits for new images from all validation patients, which export puts into
        the bundle) and, where all folds have limits, `coverage`, `coverage_by_class`, `set_size`, `uncertain` and
        `accuracy_if_certain` with their intervals; else `reason`.
    """
    classes = result.prepared.classes
    if result.folds:
        fitted = fit(pool([fold.val for fold in result.all_folds]), classes, options.coverage)
        requested = options.coverage
    elif not sets.is_available(result.document or {}):
        return {"reason": "the bundle has no calibrated prediction sets"}
    else:
        fitted = (result.document or {})[sets.KEY]
        requested = fitted["coverage"]
    facts = {"requested_coverage": requested, "calibration": fitted}
    if "reason" in fitted:
        return facts | {"reason": fitted["reason"]}
    members = predict_sets(result, options)
    return facts | ({"reason": members} if isinstance(members, str) else measure(members, result, options))


def fit(validation: ClassifierPredictions, classes: Sequence[str], coverage: float) -> dict[str, Any]:
    """Calibrate on validation predictions; as `medtune.evaluation.conformal.calibrate`."""
    return calibrate(validation.probabilities, validation.labels, validation.patient_ids, classes, coverage)


def predict_sets(result: EvaluationResult, options: EvaluateParams) -> np.ndarray | str:
    """Compute the sets of the test images.

    The limits of a fold come from the validation predictions of all folds, without the patients that the fold tests.
    Those of a bundle are its own.

    Returns:
        (n, classes) the class is in the set, in the order of the pooled images; or why a fold has no limits.
    """
    classes = result.prepared.classes
    if not result.folds:
        return sets.prediction_sets(
            result.pooled.probabilities.astype(np.float32), (result.document or {})[sets.KEY], classes
        )
    validation, members = pool([fold.val for fold in result.all_folds]), []
    for fold in result.folds:
        kept = validation.select(np.flatnonzero(~np.isin(validation.patient_ids, fold.test.patient_ids)))
        own = fit(kept, classes, options.coverage)
        if "reason" in own:
            return f"fold {fold.fold}, without its test patients: {own['reason']}"
        members.append(sets.prediction_sets(fold.test.probabilities, own, classes))
    return np.concatenate(members)


def measure(members: np.ndarray, result: EvaluationResult, options: EvaluateParams) -> dict[str, Any]:
    """Measure sets on images with labels.

    Args:
        members: (n, classes) the class is in the image's set.
        result: the evaluation; its pooled images are in the same order.
        options: section evaluate.
    """
    n, scored, classes = len(members), result.pooled, result.prepared.classes
    everything, size = np.ones(n, bool), members.sum(axis=1)
    uncertain = sets.is_uncertain(members, scored.predictions)
    covered = members[np.arange(n), scored.labels]
    shown = np.unique(scored.labels).tolist()
    ids = scored.patient_ids
    sums = {
        "coverage": sum_by_patient(covered, everything, ids, equal=True),
        "set_size": sum_by_patient(size, everything, ids, equal=True),
        "uncertain": sum_by_patient(uncertain, everything, ids, equal=True),
        "accuracy_if_certain": sum_by_patient(covered, ~uncertain, ids, equal=True),
    }
    for k in shown:
        chosen = scored.labels == k
        own = np.zeros((len(np.unique(ids)), 2))
        own[np.isin(np.unique(ids), ids[chosen])] = sum_by_patient(
            covered[chosen], everything[chosen], ids[chosen], equal=True
        )
        sums[f"class {k}"] = own
    found = ratio_intervals(sums, options, {"set_size": float(len(classes))})
    by_class = {classes[k]: found.pop(f"class {k}").as_dict() for k in shown}
    return {name: one.as_dict() for name, one in found.items()} | {
        "coverage_by_class": by_class,
        "n_certain": int((~uncertain).sum()),
        "n_several": int((size > 1).sum()),
        "n_empty": int((size == 0).sum()),
        "n_other": int((uncertain & (size == 1)).sum()),
    }
