"""Findings whose label a specialist should look at again: label_errors.csv. Nothing is corrected automatically."""

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
    """Candidates for label errors, the most doubtful first.

    Attributes:
        rows: (m,) rows of the manifest.
        findings: (m,) indices of the findings.
        labels: (m,) whether the label says that the image shows the finding.
        probabilities: (m,) of the finding.
        n_images: images that were looked at.
    """

    rows: np.ndarray
    findings: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    n_images: int


def doubtful_findings(result: EvaluationResult) -> DoubtfulFindings:
    """Find candidates, finding by finding, among all images that a network predicted without training on them.

    These are the validation and test images of all folds. An image that several networks predicted has the mean of
    their probabilities.
    """
    images = pool([part for fold in result.all_folds for part in (fold.val, fold.test)] or [result.pooled])
    rows, first, probabilities = average_predictions(images.rows, images.probabilities)
    labels = images.labels[first]
    pairs = []
    for k in range(labels.shape[1]):
        both = np.stack([1 - probabilities[:, k], probabilities[:, k]], axis=1)
        pairs += [(row, k) for row in find_label_errors(labels[:, k].astype(np.int64), both).positions.tolist()]
    chosen, findings = np.array(pairs, np.int64).reshape(-1, 2).T
    p, shown = probabilities[chosen, findings], labels[chosen, findings]
    order = np.argsort(-np.abs(p - shown), kind="stable")
    return DoubtfulFindings(rows[chosen][order], findings[order], shown[order], p[order], len(rows))


def entries(doubtful: DoubtfulFindings, result: EvaluationResult) -> list[dict[str, Any]]:
    """Return one mapping from `COLUMNS` per candidate; a label is `mass` or `no mass`."""
    prepared, found = result.prepared, []
    columns = (doubtful.rows, doubtful.findings, doubtful.labels, doubtful.probabilities)
    for row, finding, shown, p in zip(*(column.tolist() for column in columns), strict=True):
        name = prepared.classes[finding]
        words = (name, f"no {name}") if shown else (f"no {name}", name)
        patient = prepared.patient_ids[row] if prepared.info["groups_known"] else ""
        found.append(dict(zip(COLUMNS, (prepared.paths[row], patient, name, *words, f"{p:.4f}"), strict=True)))
    return found


def write_label_errors(path: Path, doubtful: DoubtfulFindings, result: EvaluationResult) -> None:
    """Write label_errors.csv, one line per candidate, the most doubtful first."""
    write_csv(path, COLUMNS, (list(one.values()) for one in entries(doubtful, result)))


def shown_entries(doubtful: DoubtfulFindings, result: EvaluationResult) -> list[dict[str, Any]]:
    """Return the first candidates for the report: the columns of the table, and `image`, a PNG in base64."""
    first = zip(entries(doubtful, result)[:MAX_SHOWN], doubtful.rows.tolist(), strict=False)
    return [one | {"image": thumbnail(result.prepared.images[row])} for one, row in first]
