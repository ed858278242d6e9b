"""Segmentation evaluation: post-processing per fold, metrics on the grids of the files, baseline and report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtune.config.schema import EvaluateParams, GateParams
from medtune.config.schema import Params as AllParams
from medtune.data.wording import wording
from medtune.evaluation.gate_decision import Limit
from medtune.evaluation.metric import Metric
from medtune.evaluation.outputs import OutputsRequest
from medtune.evaluation.result import EvaluationResult
from medtune.serving.volumes.network_features import KEY, FeatureLimit
from medtune.tasks.segmentation import controls, tables
from medtune.tasks.segmentation.bundle_outputs import bundle_outputs
from medtune.tasks.segmentation.calibration_facts import calibration_facts, calibration_warnings
from medtune.tasks.segmentation.checklist import checklist_answers
from medtune.tasks.segmentation.feature_space import FEATURES_FILE, write_spaces
from medtune.tasks.segmentation.folds import choose_decision, evaluate_folds, fit_rules
from medtune.tasks.segmentation.label_maps import FOLDER, write_label_maps
from medtune.tasks.segmentation.metrics import METRICS, label_metrics
from medtune.tasks.segmentation.outputs import SegmentedVolumes
from medtune.tasks.segmentation.predictions import read_predictions, write_predictions
from medtune.tasks.segmentation.prior_map import compare_prior_map as compare_baselines
from medtune.tasks.segmentation.uncertainty import uncertainty_facts
from medtune.tasks.segmentation.unlike_training import extend_request, unlike_facts
from medtune.tasks.segmentation.volume_predictions import VolumePredictions, from_bundle, pool
from medtune.tasks.segmentation.warnings import evaluation_warnings

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

__all__ = [
    "CLASS_AVERAGES",
    "FACTS",
    "VolumePredictions",
    "bundle_outputs",
    "checklist_answers",
    "choose_decision",
    "class_metrics",
    "combine_networks",
    "compare_baselines",
    "compute_outputs",
    "evaluate_folds",
    "extend_request",
    "facts",
    "fit_rules",
    "from_bundle",
    "limits",
    "pool",
    "read_predictions",
    "write",
    "write_predictions",
]
FACTS = ("classes", "per_label", "n_volumes", "tolerance_mm", "uncertainty", "calibration", "unlike_training")
CLASS_AVERAGES = tuple(metric.name for metric in METRICS)
BASELINE_NOTE = (
    "The baseline is the mean mask of the training {items}, stretched to each test {item}. It does not read the "
    "{points}, so it shows how much position alone explains."
)


def compute_outputs(
    requests: Sequence[OutputsRequest], prepared: "PreparedDataset", params: AllParams, device: str, cache: Path
) -> list[dict[str, SegmentedVolumes]]:
    """Predict the label maps of all requested volumes (see `medtune.tasks.segmentation.network_outputs`)."""
    from medtune.tasks.segmentation import network_outputs  # imports torch

    return network_outputs.compute_outputs(requests, prepared, params, device, cache)


def combine_networks(outputs: Sequence[SegmentedVolumes]) -> SegmentedVolumes:
    """Return the label maps of the exported model, which are the same in the outputs of every network."""
    return outputs[0]


def class_metrics(prepared: "PreparedDataset") -> tuple[Metric, ...]:
    """Return the metrics of single labels, such as `dice/liver`."""
    return label_metrics(prepared.classes)


def facts(result: EvaluationResult, options: EvaluateParams) -> dict[str, Any]:
    """Return the labels, metrics per label, uncertainty, calibration, unlike volumes and warnings."""
    pooled, prepared = result.pooled, result.prepared
    stats = pooled.stats(options)
    uncertainty = uncertainty_facts(prepared, result.folds, pooled, options.confidence)
    calibration = calibration_facts(result.folds, pooled, options.confidence)
    words = wording(prepared.info)
    note = BASELINE_NOTE.format(item=words.item, items=words.items, points=words.points)
    warnings = evaluation_warnings(prepared, pooled, stats, len(uncertainty["flagged"]))
    return {
        "classes": list(prepared.classes),
        "per_label": tables.per_label(stats, options.confidence),
        "n_volumes": len(pooled.rows),
        "tolerance_mm": pooled.tolerance_mm,
        **uncertainty,
        "calibration": calibration,
        **unlike_facts([prepared.paths[row] for row in pooled.rows], pooled.flags.tolist(), _feature_limits(result)),
        "baseline_note": f"{note} {controls.NOTE}",
        "warnings": [*warnings, *calibration_warnings(calibration)],
    }


def write(
    folder: Path,
    result: EvaluationResult,
    options: EvaluateParams,
    facts: Mapping[str, Any],
    history: Sequence[dict[str, Any]],
) -> list[Path]:
    """Write predictions.csv, cases.csv, features.npz, the label maps, plots and report.html; return the plots."""
    from medtune.tasks.segmentation.report import write_report

    prepared, pooled = result.prepared, result.pooled
    write_predictions(folder / "predictions.csv", prepared, pooled)
    names, patients = [prepared.paths[row] for row in pooled.rows], pooled.patient_ids.tolist()
    tables.write_cases(folder / "cases.csv", names, patients, pooled.cases.tolist(), pooled.flags.tolist())
    if result.document is None:
        write_spaces(folder / FEATURES_FILE, {fold.fold: fold.training.space for fold in result.all_folds})
    write_label_maps(folder / FOLDER, prepared, pooled)
    return write_report(folder, result, options, facts, history)


def _feature_limits(result: EvaluationResult) -> list[FeatureLimit | None]:
    if result.document is None:
        return [fold.rules.feature_limit for fold in result.folds]
    return [FeatureLimit.from_document(result.document["volumes"].get(KEY))]


def limits(gate: GateParams) -> list[Limit]:
    """Return no limits. The gate itself requires `gate.min_patients_per_class` patients with the rarest label."""
    return []
