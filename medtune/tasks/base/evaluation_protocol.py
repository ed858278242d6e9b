"""Protocol for the part of a task that evaluation, gate and benchmark use."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from medtune.config.schema import EvaluateParams, GateParams
from medtune.evaluation.gate_decision import Limit
from medtune.evaluation.result import EvaluationResult, FoldResult, Predictions, Rules, StoredPredictions

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset
    from medtune.evaluation.outputs import OutputsRequest


class Evaluation(Protocol):
    """Functions that compute predictions, statistics and reports from the outputs of trained networks.

    Post-processing converts these outputs to the final output, for example with a calibration temperature. The decision
    rule converts the final output to a decision, for example with a threshold.

    A task may define `baseline`, a `medtune.evaluation.baselines.Baseline` with which every model is compared.

    A task whose outputs are not arrays of one row per image defines these functions:

        compute_outputs(requests, prepared, params, device, cache)  outputs of each network by split
        extend_request(request, prepared)                           request with further images whose outputs the
                                                                    evaluation of a model needs
        combine_networks(outputs)                                   output of the exported model on external images
        bundle_outputs(bundle, prepared, folder)                    output of a bundle for all volumes, as `from_bundle`
                                                                    reads it; `folder` is for files
        compare_baselines(requests, outputs, prepared, tested, metrics, options)
                                                                    result of `medtune.evaluation.baselines`

    A task may also define `class_metrics(prepared)`, metrics of single classes for metrics.json, and
    `checklist_answers(params, prepared, facts)`, answers of the reporting checklist.
    """

    def evaluate_folds(
        self,
        requests: "Sequence[OutputsRequest]",
        outputs: Sequence[Mapping[str, np.ndarray]],
        prepared: "PreparedDataset",
        options: EvaluateParams,
    ) -> Sequence[FoldResult]:
        """Fit post-processing and decision rule per fold on validation images, and predict the fold's test images.

        The fit may use the validation images of all folds, except images of the fold's test patients
        (`medtune.evaluation.out_of_fold`).

        Args:
            requests: folds and the row indices of their images.
            outputs: (n, ...) float32 outputs of each fold's network, by split (`val`, `test`).
            prepared: prepared dataset.
            options: section `evaluate` of the params.

        Returns:
            One result per fold, in the order of `requests`.
        """

    def fit_rules(
        self,
        requests: "Sequence[OutputsRequest]",
        outputs: Sequence[Mapping[str, np.ndarray]],
        prepared: "PreparedDataset",
        options: EvaluateParams,
    ) -> Rules:
        """Fit the post-processing and decision rule of a network that was trained on all images.

        Args:
            requests: folds and the row indices of their images.
            outputs: (n, ...) float32 outputs of each fold's network, by split. The fit uses those of `val`.
            prepared: prepared dataset.
            options: section `evaluate` of the params.

        Returns:
            The fitted rules.
        """

    def pool(self, parts: Sequence[Any]) -> Predictions:
        """Concatenate the predictions of several folds."""

    def choose_decision(
        self, folds: Sequence[Any], prepared: "PreparedDataset", options: EvaluateParams
    ) -> dict[str, Any]:
        """Choose the decision rule of the exported model on the validation images of all folds; {} without a rule."""

    def from_bundle(
        self, prepared: "PreparedDataset", rows: np.ndarray, output: np.ndarray, document: Mapping[str, Any]
    ) -> Predictions:
        """Return the predictions of an exported model.

        Args:
            prepared: prepared dataset.
            rows: (n,) row indices of the images.
            output: (n, ...) output of the model.
            document: content of bundle.json.

        Returns:
            The predictions for `rows`.
        """

    def write_predictions(self, path: Path, prepared: "PreparedDataset", predictions: Any) -> None:
        """Write predictions.csv with path, patient, label, and the columns that `medtune predict` prints."""

    def read_predictions(self, path: Path) -> StoredPredictions:
        """Read a file of `write_predictions`.

        Args:
            path: predictions.csv.

        Returns:
            The stored predictions.

        Raises:
            OSError: the file cannot be read.
            KeyError: a column is missing.
            TypeError: a line is truncated.
            ValueError: a value is invalid.
        """

    FACTS: tuple[str, ...]
    """Names of the task's facts that metrics.json contains."""

    CLASS_AVERAGES: tuple[str, ...]
    """Names of metrics that average over classes. They are not comparable between datasets with different classes."""

    def facts(self, result: EvaluationResult, options: EvaluateParams) -> dict[str, Any]:
        """Return the task's facts of an evaluation.

        Args:
            result: the evaluation. `result.folds` is empty for a bundle on external data. The facts about training are
                then omitted.
            options: section `evaluate` of the params.

        Returns:
            JSON values by name. The report adds the entry `warnings` to the warnings that all tasks share.
        """

    def write(
        self,
        folder: Path,
        result: EvaluationResult,
        options: EvaluateParams,
        facts: Mapping[str, Any],
        history: Sequence[dict[str, Any]],
    ) -> list[Path]:
        """Write the task's files of artifacts/evaluate, at least predictions.csv and report.html.

        The report contains the section that `medtune.evaluation.subgroup_report` renders for `facts["subgroups"]`.

        Args:
            folder: empty folder.
            result: the evaluation, without folds for a bundle on external data.
            options: section `evaluate` of the params.
            facts: `common_facts` or `medtune.evaluation.external.external_facts`, and the task's facts.
            history: learning curves, one row per epoch. Empty for a bundle.

        Returns:
            Paths of the report's images, in the order of the report.
        """

    def limits(self, gate: GateParams) -> list[Limit]:
        """Return the limits that an accepted model must meet."""
