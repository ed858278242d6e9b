"""Answers to items of the reporting checklist that are specific to volumes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medtune.config.schema import Params as AllParams
from medtune.data.class_selection import list_names
from medtune.data.wording import wording
from medtune.evaluation.checklist import UNKNOWN

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset


def checklist_answers(params: AllParams, prepared: "PreparedDataset", facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the answers by item of the checklist.

    Args:
        params: all params.
        prepared: prepared dataset.
        facts: facts of the evaluation, not used.

    Returns:
        Answers that replace those of `medtune.evaluation.checklist`.
    """
    volumes, task, model = prepared.info["volumes"], params.section("task"), params.model
    words = wording(prepared.info)
    spacing = " x ".join(f"{mm:g}" for mm in volumes["spacing"][: words.n_axes]) + f" {words.length}"
    patch = " x ".join(str(side) for side in volumes["patch"][: words.n_axes])
    turned = "turned upright" if words.is_planar else "reoriented to RAS"
    affine, article = ("", "An") if words.is_planar else (", have no valid affine or contain NaN", "A")
    rules = sorted({str(rule.get("rule", rule)) for rule in volumes["intensity"]})
    return {
        "preparation": f"{words.items.capitalize()} are {turned} and resampled to a spacing of {spacing}. Intensities "
        f"are normalized per channel: {list_names(rules)}. Known issues: "
        f"{' '.join(prepared.info['faults']) or 'no issue is recorded.'}",
        "outcome": f"Labels: {list_names(list(prepared.classes), 12)}. Masks are used as in the data. Who drew them "
        f"and how: {UNKNOWN}",
        "predictors": f"The {words.points} of one {words.item}. No clinical variables are used.",
        "missing": f"{article} {words.item} that cannot be read or has no mask is an error.",
        "model": f"Backbone {model.backbone}, head {model.head.kind}, PEFT method: {model.peft.method}. Input: windows "
        f"of {patch} {words.points} with {len(volumes['channels'])} channels. Output: one label per {words.point}.",
        "imbalance": f"{100 * task['foreground_share']:g} % of the training patches are centered on a labeled "
        f"{words.point}.",
        "prediction": f"Overlapping windows (overlap {task['overlap']:g}) with Gaussian weights"
        f"{_mirrored(task['mirror_views'])}. The probabilities are averaged and resampled to the grid of the "
        f"file. Their calibration: {_calibration(params.evaluate.calibration, words.items)}",
        "decision": f"The most probable label per {words.point}. Post-processing removes connected components. "
        f"metrics.json has the rule of each fold, which was chosen on validation {words.items}.",
        "availability_model": "ONNX bundle with bundle.json and a model card. bundle.json has the spacing, the "
        "normalization of intensities and the post-processing.",
        "poor_input": f"{words.items.capitalize()} that cannot be decoded{affine} are rejected with a reason. Every "
        f"other {words.item} gets a label map, even if it shows no label.",
        "errors": f"The report shows the worst, the median and the best test {words.item}, lists uncertain "
        f"{words.items}, and counts missed and spurious labels. Interpretation: {UNKNOWN}",
    }


def _calibration(method: str, items: str) -> str:
    return "none." if method == "none" else f"{method}, fitted on validation {items}."


def _mirrored(axes: list[str]) -> str:
    return f", also mirrored along {list_names(axes)}" if axes else ""
