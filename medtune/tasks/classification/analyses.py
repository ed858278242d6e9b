"""Analyses of an evaluation beyond the metrics; each has its own module."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.config.schema import EvaluateParams
from medtune.evaluation.net_benefit import DecisionCurve, write_decision_curves
from medtune.evaluation.result import EvaluationResult
from medtune.tasks.classification.analysis_sections import render_sections
from medtune.tasks.classification.decision_curves import decision_curve_facts, decision_curves
from medtune.tasks.classification.label_errors import DoubtfulLabels, doubtful_labels, thumbnails, write_label_errors
from medtune.tasks.classification.patient_level import PatientLevel, patient_facts, patient_level, write_patients
from medtune.tasks.classification.prediction_sets import prediction_set_facts
from medtune.tasks.classification.projection import projection_facts

# Keys of the analyses in metrics.json.
ANALYSES = ("patient_level", "prediction_sets", "decision_curve", "more_patients", "label_errors")


@dataclass(frozen=True)
class Analyses:
    """Analyses of one evaluation.

    Attributes:
        patients: predictions of the test patients, or the reason why they are missing.
        curves: decision curves by class. Empty if undefined.
        doubtful: candidates for label errors.
    """

    patients: PatientLevel | str
    curves: dict[str, DecisionCurve]
    doubtful: DoubtfulLabels

    @classmethod
    def compute(cls, result: EvaluationResult, options: EvaluateParams) -> "Analyses":
        """Compute all analyses of an evaluation."""
        return cls(patient_level(result, options), decision_curves(result), doubtful_labels(result))

    def facts(self, result: EvaluationResult, options: EvaluateParams) -> dict[str, Any]:
        """Return the values of metrics.json for the keys `ANALYSES`."""
        return {
            "patient_level": patient_facts(self.patients, result, options),
            "prediction_sets": prediction_set_facts(result, options),
            "decision_curve": decision_curve_facts(self.curves),
            "more_patients": projection_facts(result, options),
            "label_errors": {"candidates": len(self.doubtful.rows), "n_images": self.doubtful.n_images},
        }

    def write(self, folder: Path, result: EvaluationResult) -> list[Path]:
        """Write patients.csv, label_errors.csv and the decision curve.

        Args:
            folder: output folder, which contains the folders `plots` and `images`.
            result: the evaluation.

        Returns:
            Images for the report.
        """
        from medtune.evaluation.net_benefit_plot import draw_decision_curves

        if isinstance(self.patients, PatientLevel):
            write_patients(folder / "patients.csv", self.patients, result.prepared.classes)
        write_label_errors(folder / "label_errors.csv", self.doubtful, result)
        if not self.curves:
            return []
        write_decision_curves(folder / "plots" / "decision_curve.csv", self.curves)
        image = folder / "images" / "decision_curve.png"
        draw_decision_curves(image, self.curves, result.title)
        return [image]

    def section(self, result: EvaluationResult, facts: Mapping[str, Any]) -> str:
        """Return the sections of report.html about the analyses, as HTML."""
        return render_sections(facts, thumbnails(self.doubtful, result))
