"""Facts about the evaluation of a bundle on external data, in the format of `facts.common_facts`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.config.schema import EvaluateParams
from medtune.evaluation.result import Predictions, unit

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset


def external_facts(
    prepared: "PreparedDataset",
    predictions: Predictions,
    document: Mapping[str, Any],
    options: EvaluateParams,
    external: Mapping[str, Any],
    warnings: Sequence[str],
    key: str,
) -> dict[str, Any]:
    """Collect the facts that do not depend on the task.

    Args:
        prepared: external data.
        predictions: predictions of the bundle.
        document: content of bundle.json.
        options: section `evaluate` of the params.
        external: value of `external` in metrics.json, such as the name and the precision of the bundle.
        warnings: limitations of the metrics, one sentence each.
        key: cache key of this evaluation.

    Returns:
        Facts by name, as `medtune.evaluation.facts.common_facts` returns them. `folds` is empty because no network was
        trained.
    """
    info, trained, exported = prepared.info, document.get("params") or {}, document.get("exported") or {}
    model = trained.get("model") or {}
    return {
        "name": info["name"],
        "protocol": info["protocol"],
        "stage": exported.get("stage", "not stated"),
        "unit": unit(info),
        "n_images": len(predictions.rows),
        "n_patients": len(np.unique(predictions.patient_ids)),
        "patients_known": bool(info["patients_known"]),
        "backbone": model.get("backbone", "not stated"),
        "head": (model.get("head") or {}).get("kind", "not stated"),
        "warnings": list(warnings),
        "decision": document.get("decision", {}),
        "validation": {},
        "folds": [],
        "fold_means": {},
        "percent": f"{100 * options.confidence:g}",
        "notes": [*info["faults"], *info["notes"]],
        "citation": info["citation"],
        "license": info["license"],
        "key": key,
        "data_digest": prepared.digest,
        "external": dict(external),
    }
