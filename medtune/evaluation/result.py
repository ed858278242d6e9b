"""One evaluation of a task: predictions of each fold, pooled, and the facts that reports and JSON files state."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from medtune.config.schema import EvaluateParams
from medtune.evaluation.intervals import Interval
from medtune.evaluation.metric import Metric, PatientStats
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
