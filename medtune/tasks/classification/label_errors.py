"""label_errors.csv: candidates for label errors, for review by a specialist. Nothing is corrected automatically."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medtune.evaluation.label_errors import average_predictions, find_label_errors
from medtune.evaluation.result import EvaluationResult
from medtune.evaluation.tables import write_csv
from medtune.tasks.classification.folds import pool

COLUMNS = ("file", "patient", "label", "suggested", "prob_label", "prob_suggested")
MAX_SHOWN = 12
THUMBNAIL = 96  # longest side in pixels


@dataclass(frozen=True)
class DoubtfulLabels:
    """Candidates for label errors, most doubtful first.

    Attributes:
        rows: (m,) row indices in the manifest.
        labels: (m,) class indices of the labels.
        suggested: (m,) class indices of the suggested labels.
        probabilities: (m, classes) predicted probabilities.
        n_images: number of examined images.
    """

    rows: np.ndarray
    labels: np.ndarray
    suggested: np.ndarray
    probabilities: np.ndarray
    n_images: int


def doubtful_labels(result: EvaluationResult) -> DoubtfulLabels:
    """Find candidates among the validation and test images of all folds.

    No network predicts images that it was trained on. If several networks predict the same image, their probabilities
    are averaged.

    Args:
        result: the evaluation.

    Returns:
        The candidates.
    """
    parts = [part for fold in result.all_folds for part in (fold.val, fold.test)] or [result.pooled]
    images = pool(parts)
    rows, first, probabilities = average_predictions(images.rows, images.probabilities)
    labels = images.labels[first]
    errors = find_label_errors(labels, probabilities)
    positions = errors.positions
    return DoubtfulLabels(rows[positions], labels[positions], errors.suggested, probabilities[positions], len(rows))


def write_label_errors(path: Path, doubtful: DoubtfulLabels, result: EvaluationResult) -> None:
    """Write label_errors.csv, one line per candidate, most doubtful first."""
    write_csv(path, COLUMNS, (list(_entry(doubtful, position, result).values()) for position in _positions(doubtful)))


def thumbnails(doubtful: DoubtfulLabels, result: EvaluationResult) -> list[dict[str, Any]]:
    """Return the first candidates for the report, with the columns of the table and `image`, a base64 PNG."""
    return [
        _entry(doubtful, position, result) | {"image": thumbnail(result.prepared.images[doubtful.rows[position]])}
        for position in _positions(doubtful)[:MAX_SHOWN]
    ]


def _positions(doubtful: DoubtfulLabels) -> Sequence[int]:
    return range(len(doubtful.rows))


def _entry(doubtful: DoubtfulLabels, position: int, result: EvaluationResult) -> dict[str, Any]:
    """Return the cells of one candidate by column."""
    prepared, row = result.prepared, doubtful.rows[position]
    label, suggested = doubtful.labels[position], doubtful.suggested[position]
    probabilities = doubtful.probabilities[position]
    return {
        "file": prepared.paths[row],
        "patient": prepared.patient_ids[row] if prepared.info["patients_known"] else "",
        "label": prepared.classes[label],
        "suggested": prepared.classes[suggested],
        "prob_label": f"{probabilities[label]:.4f}",
        "prob_suggested": f"{probabilities[suggested]:.4f}",
    }


def thumbnail(image: np.ndarray) -> str:
    """Return a small base64 PNG of an image (H, W, 3)."""
    small = Image.fromarray(np.asarray(image, np.uint8))
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    content = io.BytesIO()
    small.save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()
