"""Export of segmentation networks: probabilities per voxel, parity limits and model card."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from medtune.config.schema import ExportParams
from medtune.data.class_selection import list_names
from medtune.data.wording import Wording, wording
from medtune.evaluation.metric_notes import TEMPERATURE_NOTE
from medtune.serving.tasks.segmentation import rule
from medtune.serving.volumes.network_features import KEY
from medtune.tasks.segmentation.case_metrics import case_metrics
from medtune.tasks.segmentation.metrics import score

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

# Kind of the exported input (see `medtune.tasks.base.Export`).
INPUT = "volumes"
# Fraction of the voxels whose label must be that of the trained networks, in windows and in each complete volume.
MIN_AGREEMENT = 0.999
EXAMPLE_FOLD: dict[str, Any] = {}
IMAGE_NOTE = "\n- Volume errors in ml are area errors in {size}, and distances are in {length}."
FEATURES_NOTE = ". `features` describes the window, and its mean over the windows shows unlike inputs"
UNKNOWN_PIXELS = " The side of a pixel is unknown or 1 mm."


class VoxelSoftmax(nn.Module):
    """Softmax over the classes of each voxel."""

    def forward(self, logits: Tensor) -> Tensor:
        """Map logits (B, K, X, Y, Z) to probabilities (B, K, X, Y, Z)."""
        return logits.float().softmax(dim=1)


def output_layer(fold: Mapping[str, Any]) -> nn.Module:
    """Build the softmax; folds do not differ."""
    return VoxelSoftmax()


def describe(
    prepared: "PreparedDataset", folds: Sequence[Mapping[str, Any]], decision: Mapping[str, Any], size: int
) -> dict[str, Any]:
    """Describe labels and output for bundle.json. The export adds the entry `volumes`."""
    patch = prepared.info["volumes"]["patch"]
    return {
        "classes": list(prepared.classes),
        "output": {"name": "probabilities", "dtype": "float32", "shape": ["N", 1 + len(prepared.classes), *patch]},
        "decision": dict(decision),
    }


def agreement(
    reference: np.ndarray, output: np.ndarray, target: np.ndarray, document: Mapping[str, Any], tolerance: float
) -> dict[str, Any]:
    """Compare the labels of an exported model with those of the trained network.

    Args:
        reference: (n, K, X, Y, Z) probabilities of the trained network in eager fp32.
        output: (n, K, X, Y, Z) probabilities of the exported model.
        target: (n, X, Y, Z) masks.
        document: content of bundle.json.
        tolerance: not used.

    Returns:
        `label_agreement`, the fraction of the voxels with the same label, and `label_agreement_min`, the smallest
        fraction of a single window.
    """
    same = (reference.argmax(axis=1) == output.argmax(axis=1)).reshape(len(output), -1).mean(axis=1)
    return {"label_agreement": float(same.mean()), "label_agreement_min": float(same.min())}


def compare_volumes(
    prepared: "PreparedDataset", rows: Sequence[int], reference: Sequence[np.ndarray], labels: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Compare the label maps of an exported model with those of the trained network.

    Args:
        prepared: prepared dataset.
        rows: rows of the volumes.
        reference: label maps of the trained network, uint8 on the grids of the files.
        labels: label maps of the exported model.

    Returns:
        Number of volumes, smallest fraction of voxels with the same label, and the mean Dice of both models. Dice is
        None if no mask has a label.
    """
    same = [float((before == after).mean()) for before, after in zip(reference, labels, strict=True)]
    return {
        "volumes": len(rows),
        "label_agreement_min": min(same),
        "dice": mean_dice(prepared, rows, labels),
        "dice_reference": mean_dice(prepared, rows, reference),
    }


def mean_dice(prepared: "PreparedDataset", rows: Sequence[int], labels: Sequence[np.ndarray]) -> float | None:
    """Compute the mean Dice over volumes and labels on the original grids; None if no mask has a label."""
    values = {name: index for index, name in enumerate(prepared.classes, 1)}
    store = prepared.volumes
    cases = [
        case_metrics(store.truth(row), label_map, store.entries[row].spacing, values, distances=False)
        for row, label_map in zip(rows, labels, strict=True)
    ]
    dice = score(cases)["dice"]
    return dice if np.isfinite(dice) else None


def rejection_reason(parity: Mapping[str, Any], precision: str, params: ExportParams) -> str | None:
    """Return why the model in a precision must not be part of the bundle, or None if it may.

    Args:
        parity: result of `agreement`, and `volumes`, the result of `compare_volumes`, if volumes were segmented.
        precision: `fp32`, `fp16` or `int8`.
        params: params section export.

    Returns:
        The reason, or None.
    """
    volumes = parity.get("volumes")
    if precision == "fp32" or not losses(parity):  # without a measured Dice, the labels must agree
        agreements = {"the windows": parity["label_agreement"]}
        if volumes:
            agreements["a volume"] = volumes["label_agreement_min"]
        for where, value in agreements.items():
            if value < MIN_AGREEMENT:
                return f"only {100 * value:.3f} % of the voxels of {where} keep their label"
    drop = losses(parity).get("dice_drop", 0.0)
    if drop > params.max_metric_drop:
        return f"Dice falls by {drop:.2g}; export.max_metric_drop allows {params.max_metric_drop:g}"
    return None


def losses(parity: Mapping[str, Any]) -> dict[str, float]:
    """Return the drop in Dice of complete volumes relative to the trained network; empty if it was not measured."""
    volumes = parity.get("volumes") or {}
    if volumes.get("dice") is None or volumes.get("dice_reference") is None:
        return {}
    return {"dice_drop": volumes["dice_reference"] - volumes["dice"]}


def agrees(parity: Mapping[str, Any]) -> float:
    """Return the fraction of voxels with the same label, for the model card."""
    return float(parity["label_agreement"])


def card(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of the model card."""
    volumes, words = document["volumes"], wording(document)
    note = IMAGE_NOTE.format(size=words.size, length=words.length) + UNKNOWN_PIXELS * (words.length == "pixels")
    return {
        "purpose": f"Segments {list_names(document['classes'])} in {words.items} of {list_names(volumes['channels'])}.",
        "inside": "The networks, the softmax and their mean",
        "output": f"`probabilities` per {words.point} of a window, the background first, and `members`, those of each "
        "network" + (FEATURES_NOTE if KEY in volumes else ""),
        "decision": f"Each {words.point} gets its most probable label. {rule(document)}",
        "agreement": "labels agree",
        "calibration": _calibration(volumes.get("temperature", 1.0), words),
        "limits": f"- Every {words.point} is assigned to one of the labels above or to the background.\n"
        f"- {words.item.capitalize()}s with a flag differ from the training {words.items}, and the metrics may "
        "not hold for them." + (note if words.is_planar else ""),
    }


def _calibration(temperature: float, words: Wording) -> str:
    uncertainty = (
        f"`uncertainty` is the mean of 1 - p over the {words.points} of a label, where p is the probability of the "
        "label"
    )
    if temperature == 1:
        return f"The probabilities are not calibrated. {uncertainty}."
    return (
        f"The probabilities of the graph are not calibrated. {uncertainty} after temperature scaling with "
        f"{temperature:.3g}, which was fitted on validation {words.items}. {TEMPERATURE_NOTE} Scaling changes "
        "no label map."
    )
