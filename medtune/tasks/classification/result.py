"""All that one evaluation found, and the facts that its report and JSON files say of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.config.schema import Params
from medtune.evaluation.bootstrap import Interval
from medtune.tasks.classification.folds import Chain, Scored, best, pool
from medtune.tasks.classification.logits import Logits, Wanted
from medtune.tasks.classification.statistics import per_class
from medtune.tasks.classification.warnings import caveats

if TYPE_CHECKING:
    from medtune.data.manifest import Prepared


@dataclass(frozen=True)
class Findings:
    """One evaluation.

    Attributes:
        prepared: the data.
        wanted: which model was judged on which images, a chain each.
        logits: of each chain, in the order of `wanted`.
        chains: each chain judged, in the same order.
        pooled: test images of all chains.
        test: metrics of `pooled`.
    """

    prepared: "Prepared"
    wanted: Sequence[Wanted]
    logits: Sequence[Logits]
    chains: Sequence[Chain]
    pooled: Scored
    test: dict[str, Interval]

    @property
    def title(self) -> str:
        """What every picture of the test images is titled with: protocol and n."""
        info = self.prepared.info
        patients = f" of {len(np.unique(self.pooled.groups))} patients" if info["groups_known"] else ", no patient ids"
        return f"test, protocol {info['protocol']}: {len(self.pooled.rows)} images{patients}"


def describe(found: Findings, params: Params, key: str) -> dict[str, Any]:
    """The facts besides the metrics and their intervals, as `medtune.tasks.classification.template.PAGE` names them."""
    bins, info, options = params.evaluate.ece_bins, found.prepared.info, params.evaluate
    pooled, classes = found.pooled, found.prepared.classes
    return {
        "name": info["name"],
        "protocol": info["protocol"],
        "stage": "+".join(sorted({c.kept for c in found.chains}, reverse=True)),
        "n_images": len(pooled.rows),
        "n_groups": len(np.unique(pooled.groups)),
        "groups_known": bool(info["groups_known"]),
        "classes": list(classes),
        "backbone": params.model.backbone,
        "head": params.model.head.kind,
        "warnings": caveats(found.prepared, found.chains, pooled),
        "best_fold": best(found.chains, bins).fold,
        "validation": pool([c.val for c in found.chains]).measure(bins),
        "per_class": per_class(pooled.labels, pooled.predictions, classes),
        "folds": [
            {
                "fold": c.fold,
                "kept": c.kept,
                "temperature": c.calibration.temperature,
                "decision": c.decision,
                "calibration": c.calibration.as_dict(),
                "validation": c.val.measure(bins),
                "test": c.test.measure(bins),
                "n_images": len(c.test.rows),
                "n_groups": len(np.unique(c.test.groups)),
            }
            for c in found.chains
        ],
        "replicates": options.bootstrap,
        "percent": f"{100 * options.confidence:g}",
        "ece_bins": bins,
        # The split says its leaks itself; here they are a warning, worded for the test figures.
        "notes": [*info["faults"], *(note for note in info["notes"] if not note.startswith("LEAK"))],
        "citation": info["citation"],
        "licence": info["licence"],
        "key": key,
        "data_digest": found.prepared.digest,
    }
