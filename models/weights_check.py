"""Comparison of a weights file with a timm model, without loading the weights."""

import warnings

import torch

from medtune.config.schema import Params
from medtune.models.backbones import create_backbone
from medtune.models.normalization import check_normalization
from medtune.models.weights import load_into, read_weights


def check_weights(params: Params) -> None:
    """Compare the keys and shapes in the file of `model.weights` with the timm model.

    Args:
        params: all params. With `model.weights` hub or none, nothing is checked.

    Raises:
        InputError: the weights do not fit or are not finite, or their normalization is unknown.
    """
    model = params.model
    if model.weights in ("hub", "none"):
        return
    with torch.device("meta"):
        backbone = create_backbone(params, load_weights=False)
    with warnings.catch_warnings():
        # torch warns that a network on the meta device cannot store values, but only keys and shapes are compared.
        warnings.filterwarnings("ignore", message=".*copying from a non-meta parameter")
        load_into(backbone, *read_weights(model.weights, model.backbone))
    check_normalization(params)
