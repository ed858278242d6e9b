"""Result of an evaluation: predictions per fold and pooled, and the facts for reports and JSON files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from medtune.config.schema import EvaluateParams
from medtune.data.wording import wording
from medtune.evaluation.intervals import Interval
from medtune.evaluation.metric import Metric, PatientStats
from medtune.runtime.artifact import write_text

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset
    from medtune.evaluation.outputs import OutputsRequest

# Common facts that metrics.json includes.
METRICS_KEYS = ("n_images", "n_patients", "protocol", "stage", "validation", "folds", "fold_means", "warnings")


class Predictions(Protocol):
    """Predictions for some images, in the order of `rows`."""

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """(n,) image indices in the manifest."""

    @property
    def patient_ids(self) -> npt.NDArray[Any]:
        """(n,) patient ids."""

    def select(self, positions: npt.NDArray[np.int64]) -> "Predictions":
        """Return the predictions for the images at `positions` (m,), in this order."""

    def stats(self, options: EvaluateParams) -> PatientStats:
        """Compute the statistics per patient for all metrics; patients are sorted by id."""


@dataclass(frozen=True)
class ImageArrays:
    """Values per image, such as predictions. Each array has one entry per image. Other fields apply to all images."""

    def select(self, positions: npt.NDArray[np.int64]) -> Self:
        """Return the values of the images at `positions` (m,), in this order."""
        return replace(self, **{name: array[positions] for name, array in self._arrays().items()})

    @classmethod
    def pool(cls, parts: Sequence[Self]) -> Self:
        """Concatenate the values of several folds; an image that two folds test appears twice."""
        arrays = [part._arrays() for part in parts]
        return replace(parts[0], **{name: np.concatenate([part[name] for part in arrays]) for name in arrays[0]})

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}


@dataclass(frozen=True)
class StoredPredictions:
    """Predictions read back from predictions.csv.

    Attributes:
        images: digest of the images, their targets and patients, in order. Two files with equal digests can be paired.
        stats: statistics per patient, from which metrics are computed.
        support: number of test patients with images of each class. Empty for a task without classes.
    """

    images: str
    stats: PatientStats
    support: dict[str, int]


class Rules(Protocol):
    """Post-processing and decision rule of a network."""

    def calibrate(self, logits: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Convert the logits of a network to its final output (n, ...)."""

    def record(self) -> dict[str, Any]:
        """Return the post-processing and the decision rule fitted on validation, as JSON values for the export."""


class FoldResult(Rules, Protocol):
    """Evaluation result of one fold."""

    @property
    def fold(self) -> int:
        """Test fold."""

    @property
    def selected_stage(self) -> str:
        """Training stage whose weights are used, `frozen` or `finetune`."""

    @property
    def val(self) -> Predictions:
        """Predictions for the validation images."""

    @property
    def test(self) -> Predictions:
        """Predictions for the test images."""


@dataclass(frozen=True)
class EvaluationResult:
    """Result of one evaluation.

    Attributes:
        prepared: prepared data.
        requests: network and images of each requested test fold.
        outputs: outputs of each fold's network by split, in the order of `requests`.
        folds: results per fold, in the same order; instances of the task's `FoldResult`.
        pooled: predictions for the test images of these folds; an instance of the task's `Predictions`.
        test: metrics of `pooled` by name.
        document: content of bundle.json if a bundle is evaluated. `folds` is then empty.
        trained: results of all folds, including folds that are not requested; empty for a bundle.
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
        """Results of all folds, including folds that are not requested; empty for a bundle."""
        return self.trained or self.folds

    @property
    def title(self) -> str:
        """Subtitle of all plots of the test images, with the protocol and the number of images."""
        info = self.prepared.info
        patients = (
            f" of {len(np.unique(self.pooled.patient_ids))} patients"
            if info["patients_known"]
            else ", patients unknown"
        )
        tiles = f" ({info['n_tiles']} tiles)" if "n_tiles" in info else ""
        return f"test, protocol {info['protocol']}: {len(self.pooled.rows)} {unit(info)}{patients}{tiles}"


def unit(info: Mapping[str, Any]) -> str:
    """Return the word for the samples of a dataset, given its dataset.json: images, slides or volumes."""
    return wording(info).items


def count_samples(document: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Return how many images and patients metrics describe: `9 volumes of 7 patients` or `9 volumes, patients unknown`.

    Args:
        document: `n_images` and `n_patients`.
        facts: facts of the evaluation, with `patients_known` and `unit`.

    Returns:
        Text for a sentence.
    """
    whose = f" of {document['n_patients']} patients" if facts["patients_known"] else ", patients unknown"
    return f"{document['n_images']} {facts.get('unit', 'images')}{whose}"


def write_metrics(
    path: Path, test: Mapping[str, Interval], facts: Mapping[str, Any], of_task: Sequence[str]
) -> dict[str, Any]:
    """Write metrics.json.

    Args:
        path: file to write, metrics.json.
        test: metrics of the pooled test images.
        facts: facts of the evaluation.
        of_task: names of the facts of the task to include.

    Returns:
        Content of the file.
    """
    left_out = "patients" if facts["patients_known"] else facts.get("unit", "images")
    content = {
        "test": {name: interval.as_dict() for name, interval in test.items()},
        **{name: facts[name] for name in (*METRICS_KEYS, *of_task)},
        **{
            name: facts[name]
            for name in (
                "baselines",
                "baseline_verdict",
                "controls",
                "subgroups",
                "external",
                "external_test",
                "cross_validation",
                "final",
            )
            if facts.get(name)
        },
        **({"unit": facts["unit"]} if facts.get("unit", "images") != "images" else {}),
        "stages_kept": {str(fold["fold"]): fold["kept"] for fold in facts["folds"]},
        # A single string, because `dvc metrics show` has a column for every value outside a list.
        "intervals": f"{facts['percent']} %, jackknife over {left_out} with "
        "Student's t; the trained networks are held fixed",
    }
    write_json(path, content)
    return content


def site_lines(metrics: Sequence[Metric], facts: Mapping[str, Any]) -> list[str]:
    """Return one line per site with metrics (`Metric.headline`); empty unless `data.split.protocol` is `site`."""
    lines = []
    for fold in facts["folds"]:
        if "site" in fold:
            headline = [(metric.title, fold["test"].get(metric.name)) for metric in metrics if metric.headline]
            shown = ", ".join(f"{title} {'–' if value is None else f'{value:.3f}'}" for title, value in headline)
            lines.append(f"site {fold['site']}: {shown} on {fold['n_images']} {facts.get('unit', 'images')}")
    return lines


def write_json(path: Path, value: Any) -> None:
    """Write JSON values atomically; NaN is an error."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def summary_line(metrics: Sequence[Metric], test: Mapping[str, Interval], facts: Mapping[str, Any]) -> str:
    """Return one line with the headline metrics (`Metric.headline`) and their intervals."""

    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    shown = []
    for metric in metrics:
        if metric.headline and (interval := test.get(metric.name)):
            between = "" if interval.lo is None else f" ({number(interval.lo)} to {number(interval.hi)})"
            shown.append(f"{metric.title} {number(interval.value)}{between}")
    positive = f"; positive class: {facts['positive']}" if facts.get("positive") else ""
    return f"{', '.join(shown)} on {count_samples(facts, facts)}{positive}"
