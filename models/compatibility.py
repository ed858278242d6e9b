"""Compatibility check of backbone, weights and head, which medtune.doctor runs in a separate process.

The process reads params as JSON from stdin and writes the result as JSON to stdout. medtune.doctor does not run the
check itself, because the check imports torch.
"""

import json
import os
import sys
from typing import Any

import torch
from huggingface_hub import constants

from medtune.config.errors import InputError
from medtune.config.load import validate
from medtune.config.schema import Params
from medtune.config.task_labels import SEGMENTATION
from medtune.models import hub
from medtune.models.backbones import check_backbone, create_backbone, hub_cfg
from medtune.models.classifier import build_head, stored_tokens
from medtune.models.compatibility_volumes import describe_segmenter
from medtune.models.normalization import check_normalization
from medtune.models.weights import load_into, read_weights


def check_model(params: Params) -> dict[str, Any]:
    """Check that backbone, weights and head fit together.

    The network is created on the meta device and not initialized. A weights file is read and compared with the network.

    Args:
        params: all params.

    Returns:
        The error messages `shape_fault` and `weights_fault`, each None without an error. If the shapes fit, also
        `tokens`, `channels`, the numbers of parameters of the backbone (`parameters`) and of the `head`, and whether
        the weights are in the hub's cache.
    """
    model = params.model
    if params.task.kind == SEGMENTATION:
        segmenter = describe_segmenter(params)
        uses_hub = model.weights == "hub" and segmenter["shape_fault"] is None
        return segmenter | (_hub_status(hub_cfg(params)) if uses_hub else {})
    without_weights = params.model_copy(update={"model": model.model_copy(update={"weights": "none"})})
    report: dict[str, Any] = {"shape_fault": None, "weights_fault": None}
    try:
        shape = check_backbone(without_weights)
    except InputError as error:
        return {**report, "shape_fault": str(error)}
    with torch.device("meta"):
        backbone = create_backbone(without_weights, load_weights=False)
        head, feature_kind = build_head(params, shape, classes=4)  # an example
    report["tokens"] = stored_tokens(feature_kind, shape)
    report["channels"] = shape.channels
    report["parameters"] = sum(value.numel() for value in backbone.state_dict().values())
    report["head"] = sum(value.numel() for value in head.state_dict().values())
    report |= _hub_status(backbone.pretrained_cfg)  # type: ignore[arg-type]
    try:
        if model.weights == "hub":
            check_backbone(params)  # checks that the hub has weights for the backbone
        elif model.weights != "none":
            load_into(backbone, *read_weights(model.weights, model.backbone))
            check_normalization(params)
    except InputError as error:
        report["weights_fault"] = str(error)
    return report


def _hub_status(cfg: dict[str, Any]) -> dict[str, Any]:
    """Return the hub repository of the weights, and whether its files are in the cache."""
    name = (cfg.get("hf_hub_id") or "").partition("@")[0]
    return {"hub_id": name or None, "cached": any(True for _ in hub.cached_files(cfg))}


def main() -> None:
    """Read params from stdin and print the result."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # another check connects to the hub
    constants.HF_HUB_OFFLINE = True  # huggingface_hub reads the variable only on import
    print(json.dumps(check_model(validate(json.load(sys.stdin)))))


if __name__ == "__main__":
    main()
