"""Prediction sets of the test images: calibrated on validation patients, and measured on the test images.

A prediction set contains the classes that the calibration cannot rule out for an image
(`medtune.evaluation.conformal`). The coverage is the fraction of images whose set contains the label.
"""

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
    """Return the values of metrics.json for the key `prediction_sets`.

    Each patient has equal weight in all values, as in the calibration.

    Args:
        result: the evaluation.
        options: section `evaluate` of the params.

    Returns:
        `requested_coverage` and `calibration`. `calibration` has the limits from all validation patients, which export
        writes into the bundle. If all folds have limits, also the values of `measure`, such as `coverage`, `set_size`
        and `uncertain`. Otherwise also `reason`. A bundle without limits has only `reason`.
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
    """Calibrate the limits on validation predictions with `medtune.evaluation.conformal.calibrate`."""
    return calibrate(validation.probabilities, validation.labels, validation.patient_ids, classes, coverage)


def predict_sets(result: EvaluationResult, options: EvaluateParams) -> np.ndarray | str:
    """Compute the prediction sets of the test images.

    The limits of a fold are calibrated on the validation predictions of all folds, without the fold's test patients.
    For a bundle, the limits in bundle.json are used.

    Args:
        result: the evaluation.
        options: section `evaluate` of the params.

    Returns:
        (n, classes) True if the class is in the set, in the order of the pooled images. If a fold has no limits, the
        reason as a string.
    """
    classes = result.prepared.classes
    if not result.folds:
        return sets.prediction_sets(
            result.pooled.probabilities.astype(np.float32), (result.document or {})[sets.KEY], classes
        )
    validation, members = pool([fold.val for fold in result.all_folds]), []
    for fold in result.folds:
        usable = validation.select(np.flatnonzero(~np.isin(validation.patient_ids, fold.test.patient_ids)))
        limits = fit(usable, classes, options.coverage)
        if "reason" in limits:
            return f"fold {fold.fold}, without its test patients: {limits['reason']}"
        members.append(sets.prediction_sets(fold.test.probabilities, limits, classes))
    return np.concatenate(members)


def measure(members: np.ndarray, result: EvaluationResult, options: EvaluateParams) -> dict[str, Any]:
    """Measure prediction sets on labeled images.

    Args:
        members: (n, classes) True if the class is in the image's set.
        result: the evaluation, whose pooled images are in the same order.
        options: section `evaluate` of the params.

    Returns:
        Coverage, set size, uncertainty and accuracy with confidence intervals, and numbers of images.
    """
    n, pooled, classes = len(members), result.pooled, result.prepared.classes
    all_images, size = np.ones(n, bool), members.sum(axis=1)
    uncertain = sets.is_uncertain(members, pooled.predictions)
    covered = members[np.arange(n), pooled.labels]
    present = np.unique(pooled.labels).tolist()
    ids = pooled.patient_ids
    sums = {
        "coverage": sum_by_patient(covered, all_images, ids, equal=True),
        "set_size": sum_by_patient(size, all_images, ids, equal=True),
        "uncertain": sum_by_patient(uncertain, all_images, ids, equal=True),
        "accuracy_if_certain": sum_by_patient(covered, ~uncertain, ids, equal=True),
    }
    for k in present:
        of_class = pooled.labels == k
        class_sums = np.zeros((len(np.unique(ids)), 2))
        class_sums[np.isin(np.unique(ids), ids[of_class])] = sum_by_patient(
            covered[of_class], all_images[of_class], ids[of_class], equal=True
        )
        sums[f"class {k}"] = class_sums
    measured = ratio_intervals(sums, options, {"set_size": float(len(classes))})
    by_class = {classes[k]: measured.pop(f"class {k}").as_dict() for k in present}
    return {name: interval.as_dict() for name, interval in measured.items()} | {
        "coverage_by_class": by_class,
        "n_certain": int((~uncertain).sum()),
        "n_several": int((size > 1).sum()),
        "n_empty": int((size == 0).sum()),
        "n_other": int((uncertain & (size == 1)).sum()),
    }
