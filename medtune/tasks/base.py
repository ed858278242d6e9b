"""What a task is: the protocol that each folder of medtune/tasks implements.

A task is one folder, `medtune/tasks/<kind>/`; its name is the value of `task.kind`. It is divided by the stage that
uses each part, so that a stage's cache key covers no code that the stage does not run:

    __init__.py   class Params(TaskParams): `kind: Literal["<kind>"] = "<kind>"` and the task's own options
    metrics       METRICS, a tuple of `medtune.evaluation.metric.Metric`, and `example(patients, seed)`: made-up
                  `PatientStats` with one patient per name, equal names with equal images, for the contract tests
    targets       `Targets`: what is predicted per image, checked and stored by stage data
    training      `Training`: the network, the loss, what an epoch is scored by
    evaluation    `Evaluation`: post-processing, decision, statistics per patient, report
    export        `Export`: the exported module, the description of its output, parity
    serving       what consumers do with the output: medtune/serving/tasks/<kind>.py, which the slim installation
                  contains, or serving.py in the task's folder (`medtune.serving.tasks`)

Each part is a module or a package that has the functions of its protocol below. Importing `__init__` and `metrics`
imports no torch: params are read with them.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from medtune.config import registry
from medtune.config.data import DataParams
from medtune.config.schema import EvaluateParams, ExportParams, GateParams, Params
from medtune.config.training import TrainingParams
from medtune.evaluation.gate import Limit
from medtune.evaluation.metric import Metric, PatientStats
from medtune.evaluation.result import EvaluationResult, FoldResult, Predictions, Rules

if TYPE_CHECKING:
    from torch import Tensor, nn

    from medtune.data.manifest import PreparedDataset
    from medtune.data.sample import Sample
    from medtune.evaluation.outputs import OutputsRequest
    from medtune.models.classifier import Classifier

PACKAGE = "medtune.tasks"
Move = Callable[["Tensor"], "Tensor"]


class Targets(Protocol):
    """The target of each image. A record's `label` is its class, or what splits balance in a task without classes."""

    MIN_CLASSES: int
    """Fewest labels that a data set and each training split must contain."""

    HAS_POSITIVE: bool
    """Where there are two labels, one is the positive class: `data.positive`, with index 1."""

    def check(self, samples: "Sequence[Sample]") -> None:
        """Refuse records whose targets are unusable, before images are decoded.

        Raises:
            InputError: names the record and what is wrong with its target.
        """

    def encode(self, sample: "Sample", data: DataParams) -> np.ndarray | None:
        """Target of one record at the packed image size, of one shape and dtype for all; None: its label's index."""


class Objective(Protocol):
    """What one training run minimizes and is scored by. B is a batch, n the validation set."""

    def to(self, device: Any) -> "Objective":
        """Objective with its tensors on `device`."""

    def augment(self, target: "Tensor", move: Move) -> "Tensor":
        """Targets (B, ...) of randomly varied images.

        Args:
            target: of the images as stored.
            move: applies the images' geometry to (B, C, H, W), with nearest-neighbor sampling.
        """

    def averaged_terms(self, n_outputs: int) -> int:
        """Number of independent terms, such as findings, that the loss of one image averages over."""

    def total(self, target: "Tensor") -> float:
        """Weight of a step: what its summed loss is divided by. `target`: (rows, ...) on the CPU."""

    def loss(self, output: "Tensor", target: "Tensor") -> "Tensor":
        """Weighted loss () summed over a batch.

        Args:
            output: (B, ...) of the network, float32.
            target: (B, ...) on the same device.
        """

    def summarize(self, output: "Tensor", target: "Tensor") -> "Tensor":
        """What scoring needs of each validation image, (B, k) float32: the output, or sums over its pixels."""

    def score(self, summary: "Tensor", target: "Tensor") -> dict[str, float]:
        """Validation scores.

        Args:
            summary: (n, k) rows of `summarize`.
            target: (n, ...) on the same device.

        Returns:
            `loss` and the metrics of each epoch by name; NaN where undefined.
        """


class Training(Protocol):
    """How the network is built and trained."""

    def n_outputs(self, prepared: "PreparedDataset") -> int:
        """Output size of the head."""

    def build(self, params: Params, n_outputs: int, load_weights: bool = True) -> "Classifier":
        """Network from params; `load_weights=False` leaves the backbone random."""

    def objective(
        self, params: Params, section: TrainingParams, prepared: "PreparedDataset", train: np.ndarray
    ) -> Objective:
        """Objective of one training run; `train`: rows that it trains on."""


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


class Export(Protocol):
    """The network as consumers get it.

    May define `EXAMPLE_FOLD`: a fold's record with which a network is exported before training, to see whether it can
    be; empty where `output_layer` reads none. May define `decision_layer(document) -> nn.Module | None`: from the final
    output (B, ...) to the decision (B, ...) int64 as the graph's second output; `document` is bundle.json so far.
    """

    def output_layer(self, fold: Mapping[str, Any]) -> "nn.Module":
        """From a network's logits (B, ...) to its final output, as float32: the fold's post-processing.

        Args:
            fold: result.json's entry of the fold: what `FoldResult.record` gave.
        """

    def describe(
        self, prepared: "PreparedDataset", folds: Sequence[Mapping[str, Any]], decision: Mapping[str, Any], size: int
    ) -> dict[str, Any]:
        """The task's part of bundle.json: `output` with name, dtype and shape, and what `serving` reads.

        Args:
            folds: entries of result.json of the members.
            decision: what `Evaluation.choose_decision` gave.
            size: side of the images, pixels.
        """

    def agreement(
        self,
        reference: np.ndarray,
        found: np.ndarray,
        target: np.ndarray,
        document: Mapping[str, Any],
        tolerance: float,
    ) -> dict[str, Any]:
        """Compare the outputs (n, ...) of an exported model with the network's, as JSON values."""

    def rejection_reason(self, figures: Mapping[str, Any], precision: str, params: ExportParams) -> str | None:
        """Why a precision with these figures must not be shipped, beyond outputs that differ too much; None: it may."""

    def losses(self, figures: Mapping[str, Any]) -> dict[str, float]:
        """What a precision loses against the network, by name."""

    def agrees(self, figures: Mapping[str, Any]) -> float:
        """Share of images, 0..1, on which a precision agrees with the network: the model card's `agreement` column."""

    def card(self, document: Mapping[str, Any]) -> dict[str, str]:
        """Texts of the model card.

        Returns:
            `purpose`, `decision` and `calibration` (sentences, may be empty), `inside` (what the graph does besides
            the network), `output` (what it gives), `agreement` (title of `agrees`), `limits` (list items).
        """


def metrics(kind: str) -> tuple[Metric, ...]:
    """Every metric of a task, in the order of tables."""
    return registry.load_part(PACKAGE, kind, "metrics", "task.kind").METRICS


def metric(kind: str, name: str) -> Metric | None:
    """Metric of that name; None where the task has none."""
    return next((known for known in metrics(kind) if known.name == name), None)


def targets(kind: str) -> Targets:
    """The part of a task that stage data uses."""
    return cast(Targets, registry.load_part(PACKAGE, kind, "targets", "task.kind"))


def training(kind: str) -> Training:
    """The part of a task that training uses; imports torch."""
    return cast(Training, registry.load_part(PACKAGE, kind, "training", "task.kind"))


def evaluation(kind: str) -> Evaluation:
    """The part of a task that evaluation, gate and benchmark use."""
    return cast(Evaluation, registry.load_part(PACKAGE, kind, "evaluation", "task.kind"))


def export(kind: str) -> Export:
    """The part of a task that export uses; imports torch."""
    return cast(Export, registry.load_part(PACKAGE, kind, "export", "task.kind"))
