"""Facts of a bundle's evaluation on external data, in the form of `medtune.evaluation.facts.common_facts`."""

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
    """Collect the facts that do not depend on the task; no fold was trained, so there are none.

    Args:
        prepared: the external data.
        predictions: of the bundle.
        document: bundle.json.
        options: section evaluate.
        external: what metrics.json says under `external`.
        warnings: what limits the metrics, one sentence each.
        key: of this evaluation.
    """
    info, trained, exported = prepared.info, document.get("params") or {}, document.get("exported") or {}
    model = trained.get("model") or {}
    return {
        "name": info["name"],
        "protocol": info["protocol"],
        "stage": exported.get("stage", "not stated"),
        "unit": unit(info),
        "n_images": len(predictions.rows),
        "n_groups": len(np.unique(predictions.patient_ids)),
        "groups_known": bool(info["groups_known"]),
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
        "licence": info["licence"],
        "key": key,
        "data_digest": prepared.digest,
        "external": dict(external),
    }
