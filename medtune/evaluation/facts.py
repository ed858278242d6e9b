"""Facts that every report states: protocol, folds and their metrics, leakage, and notes on the data."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.config.schema import EvaluateParams, Params
from medtune.evaluation.metric import Metric, values
from medtune.evaluation.result import EvaluationResult, Predictions, unit

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset


def common_facts(
    result: EvaluationResult,
    params: Params,
    key: str,
    metrics: Sequence[Metric],
    decision: Mapping[str, Any],
    validation: Predictions,
) -> dict[str, Any]:
    """Collect the facts that do not depend on the task.

    Args:
        result: result of the evaluation.
        params: all params.
        key: cache key of the evaluation.
        metrics: metrics of the task.
        decision: decision rule of the exported model.
        validation: pooled predictions for the validation images.

    Returns:
        Facts by name. Reports, metrics.json and the model card use them.
    """
    info, options, pooled = result.prepared.info, params.evaluate, result.pooled
    return {
        "name": info["name"],
        "protocol": info["protocol"],
        "stage": "+".join(sorted({fold.selected_stage for fold in result.folds}, reverse=True)),
        "unit": unit(info),
        "n_images": len(pooled.rows),
        "n_patients": len(np.unique(pooled.patient_ids)),
        "patients_known": bool(info["patients_known"]),
        "backbone": params.model.backbone,
        "head": params.model.head.kind,
        "warnings": leak_warnings(result.prepared),
        "decision": dict(decision),
        "validation": values(metrics, validation.stats(options)),
        "folds": [
            {
                "fold": fold.fold,
                **({"site": info["sites"][fold.fold]} if info.get("sites") else {}),
                "kept": fold.selected_stage,
                "choices": request.trained.result().get("choices", {}),
                **fold.record(),
                "validation": values(metrics, fold.val.stats(options)),
                "test": values(metrics, fold.test.stats(options)),
                "n_images": len(fold.test.rows),
                "n_patients": len(np.unique(fold.test.patient_ids)),
            }
            for fold, request in zip(result.folds, result.requests, strict=True)
        ],
        "fold_means": fold_means([fold.test for fold in result.folds], metrics, options),
        "percent": f"{100 * options.confidence:g}",
        # `warnings` already reports leakage, worded for the test metrics.
        "notes": [
            *_slide_notes(result),
            *info["faults"],
            *(note for note in info["notes"] if not note.startswith("LEAK")),
        ],
        "citation": info["citation"],
        "license": info["license"],
        "key": key,
        "data_digest": result.prepared.digest,
        "external": None,
    }


def fold_means(
    folds: Sequence[Predictions], metrics: Sequence[Metric], options: EvaluateParams
) -> dict[str, dict[str, float]]:
    """Compute the mean and the range of each metric over the test folds.

    Pooled predictions mix networks whose probabilities may not be comparable, which lowers a pooled AUROC. A mean over
    folds does not have this problem.

    Args:
        folds: predictions of the test images of each fold.
        metrics: metrics of the task.
        options: section `evaluate` of the params.

    Returns:
        `{mean, lowest, highest}` by metric, without metrics that are undefined in a fold. Empty for a single fold.
    """
    if len(folds) < 2:
        return {}
    by_fold = [values(metrics, fold.stats(options)) for fold in folds]
    means = {}
    for name in by_fold[0]:
        defined = [value for fold in by_fold if (value := fold.get(name)) is not None]
        if len(defined) == len(by_fold):
            means[name] = {"mean": float(np.mean(defined)), "lowest": min(defined), "highest": max(defined)}
    return means


def _slide_notes(result: EvaluationResult) -> list[str]:
    info = result.prepared.info
    if "n_tiles" not in info:
        return []
    return [
        f"Images are slides: all numbers refer to {info['n_slides']} slides, which are predicted from "
        f"{info['n_tiles']} tiles."
    ]


# Protocols that may put images of one patient into different splits.
IMAGE_LEVEL_PROTOCOLS = ("image", "hcrf-1-1-2")


def leak_warnings(prepared: "PreparedDataset") -> list[str]:
    """Return warnings about patients in several splits and about protocols that ignore patients."""
    leaked, protocol = prepared.info.get("leaked_patients") or [], prepared.info["protocol"]
    units = unit(prepared.info)
    if leaked:
        n_patients = prepared.info.get("n_patients", len(np.unique(prepared.patient_ids)))
        return [
            f"Leak: {len(leaked)} of {n_patients} patients have {units} in more than one of training, validation "
            f"and test (protocol {protocol}). These metrics do not estimate the performance on new patients."
        ]
    if protocol in IMAGE_LEVEL_PROTOCOLS:
        return [f"Protocol {protocol} splits {units}, not patients: leakage between the splits cannot be ruled out."]
    return []
