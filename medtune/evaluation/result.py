"""One evaluation of a task: predictions of each fold, pooled, and the facts that reports and JSON files state."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from medtune.config.schema import EvaluateParams, Params
from medtune.evaluation.intervals import Interval
from medtune.evaluation.metric import Metric, PatientStats, values
from medtune.runtime.artifact import write_text

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset
    from medtune.evaluation.outputs import OutputsRequest

# What metrics.json holds of the common facts.
METRICS_KEYS = ("n_images", "n_groups", "protocol", "stage", "validation", "folds", "fold_means", "warnings")


class Predictions(Protocol):
    """Predictions for some images, in the order of `rows`."""

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """(n,) rows of the manifest."""

    @property
    def patient_ids(self) -> npt.NDArray:
        """(n,) patient ids."""

    def select(self, positions: npt.NDArray[np.int64]) -> "Predictions":
        """Predictions for the images at `positions` (m,), in their order: a subgroup of the images."""

    def stats(self, options: EvaluateParams) -> PatientStats:
        """Statistics per patient that every metric follows from; patients in the order of their sorted ids."""


class Rules(Protocol):
    """Post-processing and decision of a network."""

    def calibrate(self, logits: npt.NDArray) -> npt.NDArray:
        """Final output (n, ...) of a network, from what it gave."""

    def record(self) -> dict[str, Any]:
        """Post-processing and decision fitted on validation, as JSON values: what export needs of the network."""


class FoldResult(Rules, Protocol):
    """One fold, evaluated."""

    @property
    def fold(self) -> int:
        """Test fold."""

    @property
    def selected_stage(self) -> str:
        """Training stage whose weights these are, `frozen` or `finetune`."""

    @property
    def val(self) -> Predictions:
        """Predictions for the validation images."""

    @property
    def test(self) -> Predictions:
        """Predictions for the test images."""


@dataclass(frozen=True)
class EvaluationResult:
    """One evaluation.

    Attributes:
        prepared: the data.
        requests: which network was run on which images, one per requested test fold.
        outputs: of each fold's network by split, in the order of `requests`.
        folds: results, in the same order; the task's own `FoldResult`.
        pooled: predictions for the test images of these folds; the task's own `Predictions`.
        test: metrics of `pooled` by name.
        document: bundle.json of an evaluation without folds.
        trained: results of all folds, where fewer are requested.
    """

    prepared: "PreparedDataset"
    requests: "Sequence[OutputsRequest]"
    outputs: Sequence[Mapping[str, npt.NDArray[np.float32]]]
    folds: Sequence[Any]
    pooled: Any
    test: dict[str, Interval]
    document: Mapping[str, Any] | None = None
    trained: Sequence[Any] = ()

    @property
    def all_folds(self) -> Sequence[Any]:
        """Results of all folds, also of those whose test images are not requested; empty for a bundle."""
        return self.trained or self.folds

    @property
    def title(self) -> str:
        """Subtitle of every plot of the test images: protocol and n."""
        info = self.prepared.info
        patients = (
            f" of {len(np.unique(self.pooled.patient_ids))} patients" if info["groups_known"] else ", no patient ids"
        )
        tiles = f" ({info['n_tiles']} tiles)" if "n_tiles" in info else ""
        return f"test, protocol {info['protocol']}: {len(self.pooled.rows)} {unit(info)}{patients}{tiles}"


def unit(info: Mapping[str, Any]) -> str:
    """What the numbers of a set refer to, from its dataset.json: images or slides."""
    return "slides" if "n_slides" in info else "images"


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
        result: the evaluation.
        params: all params.
        key: cache key of the evaluation.
        metrics: of the task.
        decision: of the exported model.
        validation: pooled predictions for the validation images.
    """
    info, options, pooled = result.prepared.info, params.evaluate, result.pooled
    return {
        "name": info["name"],
        "protocol": info["protocol"],
        "stage": "+".join(sorted({fold.selected_stage for fold in result.folds}, reverse=True)),
        "unit": unit(info),
        "n_images": len(pooled.rows),
        "n_groups": len(np.unique(pooled.patient_ids)),
        "groups_known": bool(info["groups_known"]),
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
                "n_groups": len(np.unique(fold.test.patient_ids)),
            }
            for fold, request in zip(result.folds, result.requests, strict=True)
        ],
        "fold_means": fold_means([fold.test for fold in result.folds], metrics, options),
        "percent": f"{100 * options.confidence:g}",
        # The split notes its leaks itself; here they are a warning, worded for the test metrics.
        "notes": [
            *_slide_notes(result),
            *info["faults"],
            *(note for note in info["notes"] if not note.startswith("LEAK")),
        ],
        "citation": info["citation"],
        "licence": info["licence"],
        "key": key,
        "data_digest": result.prepared.digest,
        "external": None,
    }


def fold_means(
    folds: Sequence[Predictions], metrics: Sequence[Metric], options: EvaluateParams
) -> dict[str, dict[str, float]]:
    """Compute `{mean, lowest, highest}` over the test folds, by metric; empty for one fold.

    Pooled predictions mix networks whose probabilities need not be comparable, which lowers a pooled AUROC; a mean over
    folds does not. A metric that is undefined in a fold is left out.

    Args:
        folds: predictions of the test images of each fold.
        metrics: of the task.
        options: section evaluate.
    """
    if len(folds) < 2:
        return {}
    by_fold = [values(metrics, fold.stats(options)) for fold in folds]
    found = {}
    for name in by_fold[0]:
        defined = [value for each in by_fold if (value := each.get(name)) is not None]
        if len(defined) == len(by_fold):
            found[name] = {"mean": float(np.mean(defined)), "lowest": min(defined), "highest": max(defined)}
    return found


def _slide_notes(result: EvaluationResult) -> list[str]:
    info = result.prepared.info
    if "n_tiles" not in info:
        return []
    return [
        f"Images are slides here: every number refers to {info['n_slides']} slides, each predicted from its tiles "
        f"({info['n_tiles']} in all)."
    ]


# Protocols that do not keep a patient's images on one side.
IMAGE_LEVEL_PROTOCOLS = ("image", "hcrf-1-1-2")


def leak_warnings(prepared: "PreparedDataset") -> list[str]:
    """Warn of patients on both sides of the split, and of splits that ignore patients."""
    leaked, protocol = prepared.info.get("leaked_groups") or [], prepared.info["protocol"]
    if leaked:
        n_patients = prepared.info.get("n_groups", len(np.unique(prepared.patient_ids)))
        return [
            f"Leak: {len(leaked)} of {n_patients} patients have images in more than one of training, validation "
            f"and test (protocol {protocol}): these figures are no estimate for new patients."
        ]
    if protocol in IMAGE_LEVEL_PROTOCOLS:
        return [f"Protocol {protocol} splits images, not patients: a leak between them cannot be excluded."]
    return []


def write_metrics(
    path: Path, test: Mapping[str, Interval], facts: Mapping[str, Any], of_task: Sequence[str]
) -> dict[str, Any]:
    """Write metrics.json and return its content.

    Args:
        path: metrics.json.
        test: metrics of the pooled test images.
        facts: of the evaluation.
        of_task: names of the task's own facts to keep.
    """
    content = {
        "test": {name: interval.as_dict() for name, interval in test.items()},
        **{name: facts[name] for name in (*METRICS_KEYS, *of_task)},
        **{
            name: facts[name]
            for name in (
                "baselines",
                "baseline_verdict",
                "subgroups",
                "external",
                "external_test",
                "cross_validation",
                "final",
            )
            if facts.get(name)
        },
        **({"unit": "slides"} if facts.get("unit") == "slides" else {}),
        "stages_kept": {str(fold["fold"]): fold["kept"] for fold in facts["folds"]},
        # One sentence: `dvc metrics show` makes a column of every value that is not in a list.
        "intervals": f"{facts['percent']} %, jackknife over {'patients' if facts['groups_known'] else 'images'} with "
        "Student's t; the trained networks are held fixed",
    }
    write_json(path, content)
    return content


def site_lines(metrics: Sequence[Metric], facts: Mapping[str, Any]) -> list[str]:
    """Headline metrics per site under protocol site, one line each."""
    lines = []
    for row in facts["folds"]:
        if "site" in row:
            found = [(metric.title, row["test"].get(metric.name)) for metric in metrics if metric.headline]
            shown = ", ".join(f"{title} {'–' if value is None else f'{value:.3f}'}" for title, value in found)
            lines.append(f"site {row['site']}: {shown} on {row['n_images']} images")
    return lines


def write_json(path: Path, value: Any) -> None:
    """Write JSON values atomically; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def summary_line(metrics: Sequence[Metric], test: Mapping[str, Interval], facts: Mapping[str, Any]) -> str:
    """Headline metrics with their intervals in one line."""

    def three(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    shown = []
    for metric in metrics:
        if metric.headline and (one := test.get(metric.name)):
            between = "" if one.lo is None else f" ({three(one.lo)} to {three(one.hi)})"
            shown.append(f"{metric.title} {three(one.value)}{between}")
    whose = f"of {facts['n_groups']} patients" if facts["groups_known"] else "(patients unknown)"
    positive = f"; positive class: {facts['positive']}" if facts.get("positive") else ""
    return f"{', '.join(shown)} on {facts['n_images']} {facts.get('unit', 'images')} {whose}{positive}"
