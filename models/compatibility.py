"""Check whether the backbone, weights and head of the params fit together, in a process of its own for medtune.doctor.

Params come as JSON on stdin, the answer goes as JSON to stdout: a process of its own, since it imports torch.
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
from medtune.models import hub
from medtune.models.backbones import check_backbone, create_backbone
from medtune.models.classifier import build_head, stored_tokens
from medtune.models.normalization import check_normalization
from medtune.models.weights import load_into, read_weights


def check_model(params: Params) -> dict[str, Any]:
    """`shape_fault` and `weights_fault`, None where there is none, and what is known of the network's size.

    Nothing is initialised: the network lies on the meta device, the weights are read and compared with it.
    """
    model = params.model
    without_weights = params.model_copy(update={"model": model.model_copy(update={"weights": "none"})})
    report: dict[str, Any] = {"shape_fault": None, "weights_fault": None}
    try:
        shape = check_backbone(without_weights)
    except InputError as error:
        return {**report, "shape_fault": str(error)}
    with torch.device("meta"):
        backbone = create_backbone(without_weights, load_weights=False)
        head, feature_kind = build_head(params, shape, classes=4)
    report["tokens"] = stored_tokens(feature_kind, shape)
    report["channels"] = shape.channels
    report["parameters"] = sum(value.numel() for value in backbone.state_dict().values())
    report["head"] = sum(value.numel() for value in head.state_dict().values())
    report |= _hub_status(backbone.pretrained_cfg)  # type: ignore[arg-type]
    try:
        if model.weights == "hub":
            check_backbone(params)  # whether the hub has any
        elif model.weights != "none":
            load_into(backbone, *read_weights(model.weights, model.backbone))
            check_normalization(params)
    except InputError as error:
        report["weights_fault"] = str(error)
    return report


def _hub_status(cfg: dict[str, Any]) -> dict[str, Any]:
    """Where timm would look for the weights, and whether they were fetched before."""
    name = (cfg.get("hf_hub_id") or "").partition("@")[0]
    return {"hub_id": name or None, "cached": any(True for _ in hub.cached_files(cfg))}


def main() -> None:
    """Answers once."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # whether the hub answers is asked elsewhere
    constants.HF_HUB_OFFLINE = True  # it reads the variable when it is imported, which may have been before
    print(json.dumps(check_model(validate(json.load(sys.stdin)))))


if __name__ == "__main__":
    main()
