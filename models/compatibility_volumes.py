"""Compatibility check of segmentation networks, which medtune.models.compatibility calls."""

from typing import Any

from medtune.config import registry
from medtune.config.errors import InputError, RunError
from medtune.config.schema import Params
from medtune.models import segmenter
from medtune.models.segmenter_check import check_segmenter

# X, Y and Z in voxels if `data.patch` is not set. Only the size of a position embedding depends on the patch.
PATCH = (64, 64, 64)


def describe_segmenter(params: Params) -> dict[str, Any]:
    """Check that backbone, weights, patch and decoder fit together.

    The network is created on the meta device and not initialized. If there is a weights file, it is
    read into a second network.

    Args:
        params: all params of task segmentation.

    Returns:
        The error messages `shape_fault` and `weights_fault`, each None without an error. If the shapes fit, also the
        numbers of parameters of the backbone (`parameters`) and of the decoder (`head`).
    """
    source = registry.load_plugin("medtune.data.sources", params.data.source, "data.source")
    report: dict[str, Any] = {"shape_fault": None, "weights_fault": None}
    try:
        channels, classes = len(source.channels(params.data)), len(source.classes(params.data)) + 1
        patch = getattr(params.data, "patch", None) or PATCH
        network = check_segmenter(params, channels, patch, classes, load_weights=False)
    except InputError as error:
        return {**report, "shape_fault": str(error)}
    for name, module in (("parameters", network.backbone), ("head", network.head)):
        report[name] = sum(value.numel() for value in module.state_dict().values())
    if params.model.weights not in ("hub", "none"):
        try:
            segmenter.build(params, channels, classes, patch)
        except (InputError, RunError) as error:
            report["weights_fault"] = str(error)
    return report
