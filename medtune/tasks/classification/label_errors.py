"""Images whose label a pathologist should look at again: label_errors.csv. Nothing is corrected automatically."""

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
THUMBNAIL = 96


@dataclass(frozen=True)
class DoubtfulLabels:
    """Candidates for label errors, the most doubtful first.

    Attributes:
        rows: (m,) rows of the manifest.
        labels, suggested: (m,) class indices.
        probabilities: (m, classes).
        n_images: images that were looked at.
    """

    rows: np.ndarray
    labels: np.ndarray
    suggested: np.ndarray
    probabilities: np.ndarray
    n_images: int


def doubtful_labels(result: EvaluationResult) -> DoubtfulLabels:
    """Find candidates among all images that a network predicted without training on them.

    These are the validation and test images of all folds. An image that several networks predicted has the mean of
    their probabilities.
    """
    parts = [part for fold in result.all_folds for part in (fold.val, fold.test)] or [result.pooled]
    images = pool(parts)
    rows, first, probabilities = average_predictions(images.rows, images.probabilities)
    labels = images.labels[first]
    found = find_label_errors(labels, probabilities)
    chosen = found.positions
    return DoubtfulLabels(rows[chosen], labels[chosen], found.suggested, probabilities[chosen], len(rows))


def write_label_errors(path: Path, doubtful: DoubtfulLabels, result: EvaluationResult) -> None:
    """Write label_errors.csv, one line per candidate, the most doubtful first."""
    write_csv(path, COLUMNS, (list(_entry(doubtful, position, result).values()) for position in _all(doubtful)))


def thumbnails(doubtful: DoubtfulLabels, result: EvaluationResult) -> list[dict[str, Any]]:
    """Return the first candidates for the report: the columns of the table, and `image`, a PNG in base64."""
    return [
        _entry(doubtful, position, result) | {"image": thumbnail(result.prepared.images[doubtful.rows[position]])}
        for position in list(_all(doubtful))[:MAX_SHOWN]
    ]


def _all(doubtful: DoubtfulLabels) -> Sequence[int]:
    return range(len(doubtful.rows))


def _entry(doubtful: DoubtfulLabels, position: int, result: EvaluationResult) -> dict[str, Any]:
    prepared, row = result.prepared, doubtful.rows[position]
    label, suggested = doubtful.labels[position], doubtful.suggested[position]
    probabilities = doubtful.probabilities[position]
    return {
        "file": prepared.paths[row],
        "patient": prepared.patient_ids[row] if prepared.info["groups_known"] else "",
        "label": prepared.classes[label],
        "suggested": prepared.classes[suggested],
        "prob_label": f"{probabilities[label]:.4f}",
        "prob_suggested": f"{probabilities[suggested]:.4f}",
    }


def thumbnail(image: np.ndarray) -> str:
    """Return a small PNG of an image (H, W, 3), in base64."""
    picture = Image.fromarray(np.asarray(image, np.uint8))
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()
