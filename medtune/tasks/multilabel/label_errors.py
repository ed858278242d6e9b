"""label_errors.csv: candidates for label errors, for review by a specialist. Nothing is corrected automatically."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medtune.evaluation.label_errors import average_predictions, find_label_errors
from medtune.evaluation.result import EvaluationResult
from medtune.evaluation.tables import write_csv
from medtune.tasks.classification.label_errors import MAX_SHOWN, thumbnail
from medtune.tasks.multilabel.folds import pool

COLUMNS = ("file", "patient", "finding", "label", "suggested", "probability")


@dataclass(frozen=True)
class DoubtfulFindings:
    """Candidates for label errors, most doubtful first.

    Attributes:
        rows: (m,) row indices in the manifest.
        findings: (m,) indices of the findings.
        labels: (m,) True if the image shows the finding according to its label.
        probabilities: (m,) predicted probability of the finding.
        n_images: number of examined images.
    """

    rows: np.ndarray
    findings: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    n_images: int


def doubtful_findings(result: EvaluationResult) -> DoubtfulFindings:
    """Find candidates per finding among the validation and test images of all folds.

    No network predicts images that it was trained on. If several networks predict the same image, their probabilities
    are averaged.

    Args:
        result: the evaluation.

    Returns:
        The candidates.
    """
    images = pool([part for fold in result.all_folds for part in (fold.val, fold.test)] or [result.pooled])
    rows, first, probabilities = average_predictions(images.rows, images.probabilities)
    labels = images.labels[first]
    pairs = []
    for k in range(labels.shape[1]):
        both = np.stack([1 - probabilities[:, k], probabilities[:, k]], axis=1)
        pairs += [(row, k) for row in find_label_errors(labels[:, k].astype(np.int64), both).positions.tolist()]
    positions, findings = np.array(pairs, np.int64).reshape(-1, 2).T
    p, label = probabilities[positions, findings], labels[positions, findings]
    order = np.argsort(-np.abs(p - label), kind="stable")
    return DoubtfulFindings(rows[positions][order], findings[order], label[order], p[order], len(rows))


def entries(doubtful: DoubtfulFindings, result: EvaluationResult) -> list[dict[str, Any]]:
    """Return one mapping with the keys `COLUMNS` per candidate; a label is for example `mass` or `no mass`."""
    prepared, candidates = result.prepared, []
    columns = (doubtful.rows, doubtful.findings, doubtful.labels, doubtful.probabilities)
    for row, finding, label, p in zip(*(column.tolist() for column in columns), strict=True):
        name = prepared.classes[finding]
        label_and_suggestion = (name, f"no {name}") if label else (f"no {name}", name)
        patient = prepared.patient_ids[row] if prepared.info["patients_known"] else ""
        values = (prepared.paths[row], patient, name, *label_and_suggestion, f"{p:.4f}")
        candidates.append(dict(zip(COLUMNS, values, strict=True)))
    return candidates


def write_label_errors(path: Path, doubtful: DoubtfulFindings, result: EvaluationResult) -> None:
    """Write label_errors.csv, one line per candidate, most doubtful first."""
    write_csv(path, COLUMNS, (list(entry.values()) for entry in entries(doubtful, result)))


def shown_entries(doubtful: DoubtfulFindings, result: EvaluationResult) -> list[dict[str, Any]]:
    """Return the first candidates for the report, with the columns of the table and `image`, a base64 PNG."""
    first = zip(entries(doubtful, result)[:MAX_SHOWN], doubtful.rows.tolist(), strict=False)
    return [entry | {"image": thumbnail(result.prepared.images[row])} for entry, row in first]
