"""Python API: the commands as functions that return their results. See docs/api.md."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.config.load import load
from medtune.config.schema import Params
from medtune.runtime.lock import output_lock
from medtune.runtime.paths import RunPaths

Folder = Path | str | None
HEADLINE_METRICS = ("balanced_accuracy", "auroc")


@dataclass(frozen=True, repr=False)
class PreparedData:
    """The prepared images.

    Attributes:
        folder: data/prepared.
        classes: class names, in index order.
        images: number of images.
        patients: number of patients, or of images if the source names no patients.
        counts: images per class.
        notes: limitations of the data, one sentence each.
    """

    folder: Path
    classes: tuple[str, ...]
    images: int
    patients: int
    counts: dict[str, int]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {count}" for name, count in self.counts.items())
        return f"PreparedData({self.images} images of {self.patients} patients: {counts}; folder={str(self.folder)!r})"


@dataclass(frozen=True, repr=False)
class Evaluation:
    """The test metrics of the trained folds.

    Attributes:
        metrics: value per metric; None if the test images do not define it.
        intervals: lower and upper end per metric, over patients; None if undefined.
        folder: artifacts/evaluate.
        report: report.html.
        predictions: predictions.csv, one row per test image.
        warnings: limitations of these metrics, one sentence each.
    """

    metrics: dict[str, float | None]
    intervals: dict[str, tuple[float, float] | None]
    folder: Path
    report: Path
    predictions: Path
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Evaluation({self.summary()}; report={str(self.report)!r})"

    def summary(self) -> str:
        """Return the main metrics with their intervals in one line."""
        names = [name for name in HEADLINE_METRICS if name in self.metrics] or list(self.metrics)[:2]
        return ", ".join(self._shown(name) for name in names)

    def _shown(self, name: str) -> str:
        value, interval = self.metrics[name], self.intervals[name]
        ends = f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
        return f"{name} undefined" if value is None else f"{name} {value:.3f}{ends}"


@dataclass(frozen=True, repr=False)
class ExportResult:
    """An exported model.

    Attributes:
        bundle: folder for the users of the model; `Bundle.load` reads it.
        precisions: the shipped precisions.
        model_card: MODEL_CARD.md.
    """

    bundle: Path
    precisions: tuple[str, ...]
    model_card: Path

    def __repr__(self) -> str:
        return f"ExportResult({', '.join(self.precisions)}; bundle={str(self.bundle)!r})"


@dataclass(frozen=True, repr=False)
class TrainResult:
    """The result of a complete training run.

    Attributes:
        evaluation: the test metrics.
        export: the exported model.
        ran: names of the steps that ran.
        cached: names of the steps that an earlier run had finished.
    """

    evaluation: Evaluation
    export: ExportResult
    ran: tuple[str, ...]
    cached: tuple[str, ...]

    @property
    def metrics(self) -> dict[str, float | None]:
        """Value per test metric."""
        return self.evaluation.metrics

    @property
    def report(self) -> Path:
        """report.html of the evaluation."""
        return self.evaluation.report

    @property
    def bundle(self) -> Path:
        """The exported bundle."""
        return self.export.bundle

    def __repr__(self) -> str:
        steps = f"{len(self.ran)} of {len(self.ran) + len(self.cached)} steps ran"
        return f"TrainResult({self.evaluation.summary()}; {steps}; bundle={str(self.bundle)!r})"


def load_params(path: Path | str | None = None, sets: Sequence[str] = ()) -> Params:
    """Load and check params.

    Args:
        path: a params file, or an overlay such as a recipe; None is the project's params.yaml alone.
        sets: `key=value` assignments, which override the file, for example ["finetune.epochs=3"].

    Returns:
        The validated params.

    Raises:
        InputError: a value is not valid; the message names the key, the value and the allowed values.
    """
    return load(Path(path) if path is not None else None, sets)


def prepare(params: Params, out: Folder = None) -> PreparedData:
    """Find, check, split and pack the images; do nothing if they are already prepared.

    Args:
        params: from `load_params`.
        out: folder for data/prepared and artifacts; None is the project.

    Returns:
        The prepared data.

    Raises:
        InputError: the images, their labels or the split are wrong.
    """
    from medtune.stages import data
    from medtune.stages.preflight import check_model

    paths = RunPaths.from_env(out)
    with output_lock(paths):
        folder = data.run(params, paths, lambda: check_model(params, paths)).folder
    info = _read(folder / "dataset.json")
    counts = info["counts"]["all"]
    return PreparedData(
        folder, tuple(info["classes"]), info["n_images"], info["n_patients"], counts, tuple(info["notes"])
    )


def train(params: Params, out: Folder = None, prefect: bool = False) -> TrainResult:
    """Train, evaluate and export; finished steps are reused.

    Args:
        params: from `load_params`.
        out: as in `prepare`, which must run first.
        prefect: record the run with Prefect.

    Returns:
        The evaluation and the exported model.

    Raises:
        InputError: the data are not prepared with these params, or the params do not fit the data.
        RunError: a stage failed; the message names the log with its traceback.
    """
    from medtune.flows.train import train as run

    results = run(params, paths := RunPaths.from_env(out), prefect)
    ran = tuple(result.step.name for result in results if not result.cached)
    cached = tuple(result.step.name for result in results if result.cached)
    return TrainResult(_evaluation(paths.stage("evaluate")), _export_result(paths.stage("export")), ran, cached)


def evaluate(params: Params, out: Folder = None) -> Evaluation:
    """Evaluate the trained folds on their test images.

    Args:
        params: from `load_params`.
        out: as in `train`, which must run first.

    Returns:
        The test metrics.

    Raises:
        InputError: the folds are not trained with these params.
    """
    from medtune.stages import evaluate as stage

    with output_lock(paths := RunPaths.from_env(out)):
        return _evaluation(stage.run(params, paths).folder)


def evaluate_bundle(
    bundle: Path | str,
    data: Path | str,
    out: Folder = None,
    sets: Sequence[str] = (),
    precision: str = "fp32",
    provider: str = "cpu",
    training_data: Folder = None,
) -> Evaluation:
    """Evaluate a finished bundle on external labeled images or volumes, without a project.

    Args:
        bundle: exported folder.
        data: a table of labels, or a folder with one subfolder per class. For volumes, a folder or table of volumes and
            masks.
        out: folder for the result; None is `evaluation-<data>` in the working directory.
        sets: overrides of data.* and evaluate.*, for example ["data.columns.patient=patient", "evaluate.by=[site]"].
        precision: precision of the bundle.
        provider: execution provider of onnxruntime.
        training_data: `data/prepared` of the training, to find images that the model was trained on.

    Returns:
        The metrics on these images.

    Raises:
        InputError: the bundle, the data or an option is not valid.
        RunError: the bundle gives values that are not finite.
    """
    from medtune.config.errors import InputError
    from medtune.serving.manifest import BundleError
    from medtune.stages import evaluate_bundle as stage

    folders = [None if folder is None else Path(folder) for folder in (out, training_data)]
    try:
        done = stage.run(Path(bundle), Path(data), folders[0], sets, precision, provider, folders[1])
    except BundleError as error:
        raise InputError(str(error)) from error
    return _evaluation(done.folder)


def export(params: Params, out: Folder = None) -> ExportResult:
    """Export the networks of all folds as one verified ONNX bundle.

    Args:
        params: from `load_params`.
        out: as in `train`, which must run first.

    Returns:
        The exported model.

    Raises:
        InputError: the folds are not trained and evaluated with these params.
    """
    from medtune.stages import export as stage

    with output_lock(paths := RunPaths.from_env(out)):
        return _export_result(stage.run(params, paths).folder)


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def _evaluation(folder: Path) -> Evaluation:
    document = _read(folder / "metrics.json")
    test = {name: entry for name, entry in document["test"].items() if isinstance(entry, dict) and "value" in entry}
    intervals = {
        name: None if entry.get("lo") is None or entry.get("hi") is None else (entry["lo"], entry["hi"])
        for name, entry in test.items()
    }
    metrics = {name: entry["value"] for name, entry in test.items()}
    report, predictions = folder / "report.html", folder / "predictions.csv"
    return Evaluation(metrics, intervals, folder, report, predictions, tuple(document.get("warnings", ())))


def _export_result(folder: Path) -> ExportResult:
    precisions = _read(folder / "bundle.json")["precisions"]
    shipped = tuple(name for name, entry in precisions.items() if entry["shipped"])
    return ExportResult(folder, shipped, folder / "MODEL_CARD.md")
