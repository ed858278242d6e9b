"""What evaluation, gate and benchmark need of a task."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from medtune.config.schema import EvaluateParams, GateParams
from medtune.evaluation.gate import Limit
from medtune.evaluation.metric import PatientStats
from medtune.evaluation.result import EvaluationResult, FoldResult, Predictions, Rules

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset
    from medtune.evaluation.outputs import OutputsRequest


class Evaluation(Protocol):
    """From a trained network's outputs to predictions, statistics and reports.

    May define `baseline`, a `medtune.evaluation.baselines.Baseline` that every evaluation is compared with.
    """

    def evaluate_folds(
        self,
        requests: "Sequence[OutputsRequest]",
        outputs: Sequence[Mapping[str, np.ndarray]],
        prepared: "PreparedDataset",
        options: EvaluateParams,
    ) -> Sequence[FoldResult]:
        """Fit post-processing and decision per fold on validation images and apply them to its test images.

        Both may use the validation images of all folds, without the fold's test patients
        (`medtune.evaluation.out_of_fold`).

        Args:
            requests: folds and their rows.
            outputs: (n, ...) of each fold's network, float32, by split (`val`, `test`).
        """

    def fit_rules(
        self,
        requests: "Sequence[OutputsRequest]",
        outputs: Sequence[Mapping[str, np.ndarray]],
        prepared: "PreparedDataset",
        options: EvaluateParams,
    ) -> Rules:
        """Fit post-processing and decision on the validation images of all folds, for a network of `final: refit`."""

    def pool(self, parts: Sequence[Any]) -> Predictions:
        """Predictions of several folds one after the other."""

    def choose_decision(
        self, folds: Sequence[Any], prepared: "PreparedDataset", options: EvaluateParams
    ) -> dict[str, Any]:
        """Decision of the exported model, chosen on the validation images of all folds; empty if it has none."""

    def from_bundle(
        self, prepared: "PreparedDataset", rows: np.ndarray, output: np.ndarray, document: Mapping[str, Any]
    ) -> Predictions:
        """Predictions of an exported model for `rows`, from its output (n, ...) and its bundle.json."""

    def write_predictions(self, path: Path, prepared: "PreparedDataset", predictions: Any) -> None:
        """Write predictions.csv: path, group, label, and the columns that `medtune predict` prints."""

    def read_predictions(self, path: Path) -> "StoredPredictions":
        """Read what `write_predictions` wrote. Raises OSError, KeyError, TypeError or ValueError on a damaged file."""

    FACTS: tuple[str, ...]
    """Names of the task's own facts that belong into metrics.json."""

    CLASS_AVERAGES: tuple[str, ...]
    """Names of metrics that average over the classes of the images: not comparable where classes differ."""

    def facts(self, result: EvaluationResult, options: EvaluateParams) -> dict[str, Any]:
        """The task's own facts of an evaluation, as JSON values; `warnings` are added to the common ones.

        `result.folds` is empty for a bundle on external data; facts of training data are then left out.
        """

    def write(
        self,
        folder: Path,
        result: EvaluationResult,
        options: EvaluateParams,
        facts: Mapping[str, Any],
        history: Sequence[dict[str, Any]],
    ) -> list[Path]:
        """Write the task's files of artifacts/evaluate: predictions.csv and report.html at least.

        The report contains `medtune.evaluation.subgroup_report.subgroup_section` of `facts["subgroups"]`.

        Args:
            folder: empty folder.
            result: the evaluation; without folds for a bundle on external data.
            options: section evaluate.
            facts: `common_facts` or `medtune.evaluation.external.external_facts`, and the task's own.
            history: learning curves, one row per epoch; empty for a bundle.

        Returns:
            Images of the report, in its order.
        """

    def limits(self, gate: GateParams) -> list[Limit]:
        """Bounds that a model must keep to be accepted."""


class StoredPredictions(Protocol):
    """Predictions read back from predictions.csv.

    Attributes:
        images: digest of the images, their targets and patients, in order: equal where two files can be paired.
        stats: of the predictions by patient.
        support: test patients with images of each class; empty in a task without classes.
    """

    images: str
    stats: PatientStats
    support: dict[str, int]
