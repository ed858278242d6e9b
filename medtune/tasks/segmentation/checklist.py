"""Answers of the reporting checklist that differ for volumes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medtune.config.schema import Params as AllParams
from medtune.data.class_selection import list_names
from medtune.evaluation.checklist import UNKNOWN

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset


def checklist_answers(params: AllParams, prepared: "PreparedDataset", facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the answers by fact.

    Args:
        params: all params.
        prepared: prepared dataset.
        facts: facts of the evaluation.

    Returns:
        Answers that replace those of `medtune.evaluation.checklist`.
    """
    volumes, task, model = prepared.info["volumes"], params.section("task"), params.model
    spacing = " x ".join(f"{mm:g}" for mm in volumes["spacing"])
    patch = " x ".join(str(side) for side in volumes["patch"])
    rules = sorted({str(rule.get("rule", rule)) for rule in volumes["intensity"]})
    return {
        "preparation": f"Volumes are reoriented to RAS and resampled to {spacing} mm. Intensities are normalized per "
        f"channel: {list_names(rules)}. Known issues: {' '.join(prepared.info['faults']) or 'no issue is recorded.'}",
        "outcome": f"Labels: {list_names(list(prepared.classes), 12)}. Masks are used as in the data. Who drew them "
        f"and how: {UNKNOWN}",
        "predictors": "The voxels of one volume. No clinical variables are used.",
        "missing": "A volume that cannot be read, or without a mask, is an error.",
        "model": f"Backbone {model.backbone}, head {model.head.kind}, PEFT method: {model.peft.method}. Input: windows "
        f"of {patch} voxels with {len(volumes['channels'])} channels. Output: one label per voxel.",
        "imbalance": f"{100 * task['foreground_share']:g} % of the training patches are centered on a labeled voxel.",
        "prediction": f"Overlapping windows (overlap {task['overlap']:g}) with Gaussian weights"
        f"{_mirrored(task['mirror_views'])}. The probabilities are averaged, and the label map is resampled to the "
        "grid of the file. The uncertainty uses probabilities that are calibrated on validation volumes "
        f"(evaluate.calibration={params.evaluate.calibration}).",
        "decision": "The most probable label per voxel. metrics.json has the components that each fold removes, chosen "
        "on validation volumes.",
        "availability_model": "ONNX bundle with bundle.json and a model card. bundle.json has spacing, intensities and "
        "post-processing.",
        "poor_input": "Volumes that cannot be decoded, without a valid affine, or with NaN are rejected with a reason. "
        "Every other volume gets a label map, even if it shows no label.",
        "errors": "The report shows the worst, the median and the best test volume, lists uncertain volumes, and "
        f"counts missed and spurious labels. Interpretation: {UNKNOWN}",
    }


def _mirrored(axes: list[str]) -> str:
    return f", also mirrored along {list_names(axes)}" if axes else ""
