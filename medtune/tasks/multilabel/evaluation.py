"""Multilabel evaluation: calibration and thresholds per fold, statistics and report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtune.config.schema import EvaluateParams, GateParams
from medtune.evaluation.gate_decision import Limit
from medtune.evaluation.net_benefit import write_decision_curves
from medtune.evaluation.reliability import write_calibration
from medtune.evaluation.result import EvaluationResult
from medtune.tasks.multilabel import baseline, tables
from medtune.tasks.multilabel.analysis_sections import render_sections
from medtune.tasks.multilabel.folds import choose_decision, evaluate_folds, fit_rules, from_bundle, pool
from medtune.tasks.multilabel.label_errors import doubtful_findings, shown_entries, write_label_errors
from medtune.tasks.multilabel.metrics import CONFIDENCE_GAP, METRICS
from medtune.tasks.multilabel.patient_level import PatientLevel, patient_facts, patient_level, write_patients
from medtune.tasks.multilabel.predictions import read_predictions, write_predictions
from medtune.tasks.multilabel.warnings import evaluation_warnings

__all__ = [
    "CLASS_AVERAGES",
    "FACTS",
    "baseline",
    "choose_decision",
    "evaluate_folds",
    "facts",
    "fit_rules",
    "from_bundle",
    "limits",
    "pool",
    "read_predictions",
    "write",
    "write_predictions",
]
FACTS = ("classes", "per_class", "baseline", "patient_level", "label_errors")
CLASS_AVERAGES = tuple(metric.name for metric in METRICS)


def facts(result: EvaluationResult, options: EvaluateParams) -> dict[str, Any]:
    """Return the findings, metrics per finding and per patient, baseline, label error candidates and warnings."""
    names, stats = result.prepared.classes, result.pooled.stats(options)
    rows = tables.per_finding(stats, names, options.confidence)
    doubtful = doubtful_findings(result)
    return {
        "classes": list(names),
        "per_class": rows,
        "baseline": tables.baseline(rows),
        "patient_level": patient_facts(patient_level(result, options), result, options),
        "label_errors": {"candidates": len(doubtful.rows), "n_images": doubtful.n_images},
        "warnings": evaluation_warnings(result.prepared, result.folds, result.pooled),
    }


def write(
    folder: Path,
    result: EvaluationResult,
    options: EvaluateParams,
    facts: Mapping[str, Any],
    history: Sequence[dict[str, Any]],
) -> list[Path]:
    """Write all CSV and JSON files, the plots and report.html, and return the images of the report."""
    from medtune.evaluation.net_benefit_plot import draw_decision_curves
    from medtune.tasks.multilabel import plots
    from medtune.tasks.multilabel.report import write_report

    bins, pooled = options.reliability_bins, result.pooled
    write_calibration(folder / "calibration.json", result, tables.reliability, bins)
    write_predictions(folder / "predictions.csv", result.prepared, pooled)
    plots.write_tables(folder / "plots", result, history, bins)
    images = plots.draw(folder / "images", result, facts["per_class"], history, bins)
    if curves := tables.decision_curves(result.prepared.classes, pooled):
        write_decision_curves(folder / "plots" / "decision_curve.csv", curves)
        images.append(folder / "images" / "decision_curve.png")
        draw_decision_curves(images[-1], curves, result.title)
    if isinstance(level := patient_level(result, options), PatientLevel):
        write_patients(folder / "patients.csv", level, result.prepared.classes)
    doubtful = doubtful_findings(result)
    write_label_errors(folder / "label_errors.csv", doubtful, result)
    return write_report(folder, result, facts, images, render_sections(facts, shown_entries(doubtful, result)))


def limits(gate: GateParams) -> list[Limit]:
    """Return the limit of `gate.max_confidence_gap` on the difference between confidence and accuracy."""
    return [Limit(CONFIDENCE_GAP, gate.max_confidence_gap, "gate.max_confidence_gap")]
