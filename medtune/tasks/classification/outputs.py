"""The files of artifacts/evaluate: JSON, CSV and pictures; the report is report.py's."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medtune.config.schema import Params
from medtune.runtime.artifact import write_text
from medtune.tasks.classification import plots, tables
from medtune.tasks.classification.reliability import reliability
from medtune.tasks.classification.result import Findings
from medtune.tasks.classification.statistics import confusion_matrix

SAMPLES = 12
IN_METRICS = ("n_images", "n_groups", "protocol", "stage", "validation", "best_fold", "classes", "per_class", "folds",
              "warnings")  # fmt: skip


def write_figures(folder: Path, params: Params, found: Findings, facts: dict[str, Any]) -> None:
    """metrics.json, calibration.json, predictions.csv, logits.npz."""
    pooled, bins = found.pooled, params.evaluate.ece_bins
    metrics = {
        "test": {name: interval.as_dict() for name, interval in found.test.items()},
        **{name: facts[name] for name in IN_METRICS},
        "stages_kept": {str(c.fold): c.kept for c in found.chains},
        # One sentence: `dvc metrics show` makes a column of every value that is not in a list.
        "intervals": f"{facts['percent']} % percentiles of {facts['replicates']} resamples of the "
        f"{'patients' if facts['groups_known'] else 'images'}, seed {params.seed}",
    }
    _write_json(folder / "metrics.json", metrics)
    tested = {
        "before": reliability(pooled.labels, pooled.raw, bins),
        "after": reliability(pooled.labels, pooled.probabilities, bins),
    }
    fitted = {str(c.fold): c.calibration.as_dict() for c in found.chains}
    _write_json(folder / "calibration.json", {"folds": fitted, "test": tested})
    tables.write_predictions(folder / "predictions.csv", found.prepared, pooled)
    arrays: dict[str, Any] = {}
    for one, logits in zip(found.wanted, found.logits, strict=True):
        for role, values in logits.items():
            arrays[f"fold{one.fold}_{role}_logits"] = values
            arrays[f"fold{one.fold}_{role}_rows"] = one.rows[role]
    with (folder / "logits.npz").open("wb") as stream:
        np.savez(stream, **arrays)


def write_plots(folder: Path, found: Findings, joined: Sequence[dict[str, Any]], bins: int) -> None:
    """The tables that DVC draws: confusion.csv, roc.csv, reliability.csv, history.csv.

    Args:
        folder: where to.
        found: the evaluation.
        joined: learning curves, from `medtune.tasks.classification.tables.join_history`.
        bins: confidence bins.
    """
    classes = found.prepared.classes
    tables.write_confusion(folder / "confusion.csv", classes, found.pooled)
    tables.write_roc(folder / "roc.csv", tables.roc_curves(classes, found.pooled))
    tables.write_reliability(folder / "reliability.csv", found.pooled, bins)
    tables.write_history(folder / "history.csv", joined)


def draw_pictures(folder: Path, found: Findings, joined: Sequence[dict[str, Any]], bins: int) -> list[Path]:
    """The pictures of the report, in its order. Arguments as in `write_plots`."""
    folder.mkdir(parents=True)
    pooled, classes, title = found.pooled, found.prepared.classes, found.title
    place = {
        name: folder / f"{name}.png"
        for name in ("confusion", "roc", "patients", "reliability", "history", "mistakes", "hits")
    }
    counts = confusion_matrix(pooled.labels, pooled.predictions, len(classes))
    plots.draw_confusion(place["confusion"], counts, classes, title)
    plots.draw_roc(place["roc"], tables.roc_curves(classes, pooled), title)
    plots.draw_reliability(place["reliability"], pooled.labels, pooled.raw, pooled.probabilities, bins, title)
    plots.draw_patients(place["patients"], tables.patient_rows(pooled), classes, title)
    plots.draw_history(place["history"], joined, f"{len(found.chains)} chain{'s' * (len(found.chains) > 1)}")
    for name, right in (("mistakes", False), ("hits", True)):
        shown = tables.order_by_confidence(pooled, right)[:SAMPLES]
        captions = [_caption(found, position) for position in shown]
        images = [found.prepared.images[pooled.rows[position]] for position in shown]
        plots.draw_samples(place[name], images, captions, f"Most confident {name} ({title})")
    return list(place.values())


def _caption(found: Findings, position: int) -> str:
    pooled, classes = found.pooled, found.prepared.classes
    label, prediction = pooled.labels[position], pooled.predictions[position]
    said = "" if label == prediction else f"said: {classes[prediction]}\n"
    return f"{classes[label]}\n{said}p {pooled.probabilities[position, prediction]:.2f}"


def _write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
