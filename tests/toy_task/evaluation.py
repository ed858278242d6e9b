"""Evaluation of fractions per patch, without post-processing or decision."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from medtune.config.schema import EvaluateParams, GateParams
from medtune.evaluation.result import EvaluationResult
from medtune.evaluation.subgroup_plot import draw_subgroups
from medtune.evaluation.subgroup_report import subgroup_section
from medtune.evaluation.tables import write_csv, write_history
from medtune.runtime.artifact import digest, write_text
from medtune.tasks.toy.metrics import METRICS, Stats, accumulate

FACTS = ("baseline",)
CLASS_AVERAGES = ()


@dataclass(frozen=True)
class Predictions:
    """Fractions (n, h, w) and mean absolute error (n,) per image."""

    rows: np.ndarray
    patient_ids: np.ndarray
    shares: np.ndarray
    errors: np.ndarray

    def select(self, positions: np.ndarray) -> "Predictions":
        return Predictions(*(getattr(self, name)[positions] for name in vars(self)))

    def stats(self, options: EvaluateParams) -> Stats:
        return accumulate(self.errors, self.patient_ids)


@dataclass(frozen=True)
class Fold:
    """Evaluation result of one fold."""

    fold: int
    selected_stage: str
    val: Predictions
    test: Predictions
    record: Any = field(default=dict)

    def calibrate(self, logits: np.ndarray) -> np.ndarray:
        return shares(logits)


def truth(prepared: Any, rows: np.ndarray, side: int) -> np.ndarray:
    """Return the fractions (n, side, side) of the masks."""
    masks = np.asarray(prepared.targets[rows], np.float64)
    return masks.reshape(len(rows), side, masks.shape[1] // side, side, -1).mean(axis=(2, 4))


def from_bundle(prepared: Any, rows: np.ndarray, output: np.ndarray, document: Mapping[str, Any]) -> Predictions:
    errors = np.abs(output - truth(prepared, rows, output.shape[1])).mean(axis=(1, 2))
    return Predictions(rows, prepared.patient_ids[rows], output, errors)


def shares(logits: np.ndarray) -> np.ndarray:
    """Compute fractions (n, h, w) from logits (n, h * w)."""
    side = round(logits.shape[1] ** 0.5)
    return 1 / (1 + np.exp(-logits.reshape(-1, side, side)))


def evaluate_folds(requests: Any, outputs: Any, prepared: Any, options: EvaluateParams) -> list[Fold]:
    folds = []
    for request, fold_outputs in zip(requests, outputs, strict=True):
        val, test = (from_bundle(prepared, request.indices[s], shares(fold_outputs[s]), {}) for s in ("val", "test"))
        folds.append(Fold(request.fold, request.trained.result()["kept"], val, test))
    return folds


def fit_rules(requests: Any, outputs: Any, prepared: Any, options: EvaluateParams) -> Any:
    return SimpleNamespace(calibrate=shares, record=lambda: {"decision": {}})


def choose_decision(folds: Sequence[Fold], prepared: Any, options: EvaluateParams) -> dict[str, Any]:
    return {}


def pool(parts: Sequence[Predictions]) -> Predictions:
    return Predictions(*(np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])))


def write_predictions(path: Path, prepared: Any, predictions: Predictions) -> None:
    columns = (predictions.rows, predictions.patient_ids, predictions.shares.mean(axis=(1, 2)), predictions.errors)
    rows = ([prepared.paths[row], *rest] for row, *rest in zip(*columns, strict=True))
    write_csv(path, ["path", "patient", "density", "error"], rows)


def read_predictions(path: Path) -> Any:
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    errors, patients = np.array([float(row["error"]) for row in rows]), np.array([row["patient"] for row in rows])
    images = digest([(row["path"], row["patient"]) for row in rows])
    return SimpleNamespace(images=images, stats=accumulate(errors, patients), support={})


def facts(result: EvaluationResult, options: EvaluateParams) -> dict[str, Any]:
    """Return the error of a constant prediction, the mean fraction of the training images."""
    if not result.folds:
        return {}
    prepared, side = result.prepared, result.pooled.shares.shape[1]
    train = truth(prepared, prepared.indices(result.folds[0].fold)["train"], side)
    return {"baseline": float(np.abs(truth(prepared, result.pooled.rows, side) - train.mean()).mean())}


def write(
    folder: Path,
    result: EvaluationResult,
    options: EvaluateParams,
    facts: Mapping[str, Any],
    history: Sequence[dict[str, Any]],
) -> list[Path]:
    write_predictions(folder / "predictions.csv", result.prepared, result.pooled)
    write_history(folder / "history.csv", history)
    draw_subgroups(folder / "subgroups.png", facts["subgroups"], result.test, METRICS, result.title)
    section = subgroup_section(facts["subgroups"], METRICS, facts, folder / "subgroups.png")
    write_text(folder / "report.html", f"<p>{facts['name']}: {result.test['mae'].value:.3f}</p>{section}")
    return []


def limits(gate: GateParams) -> list[Any]:
    return []
