"""Mean and standard deviation of the images: from params, from what is known of the weights, or asked for."""

from typing import Any

import timm
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, resolve_data_config
from torch import nn

from medtune.config.errors import InputError
from medtune.config.schema import Params
from medtune.models.weights import SHIPPED, read_shipped_metadata
from medtune.runtime.cache_key import weights_sha256

Values = tuple[tuple[float, ...], tuple[float, ...]]
IMAGENET: Values = (tuple(IMAGENET_DEFAULT_MEAN), tuple(IMAGENET_DEFAULT_STD))
NAMES = {IMAGENET: "ImageNet's"}


def normalization(params: Params, backbone: nn.Module) -> tuple[list[float], list[float]]:
    """Return mean and std for images scaled to 0..1.

    They are those of the params, of shipped weights (recognized by their checksum), or of the backbone's
    pretrained_cfg.
    """
    model = params.model
    if model.normalization is not None:
        return list(model.normalization.mean), list(model.normalization.std)
    if known := _shipped_metadata(params):
        return list(known["mean"]), list(known["std"])
    cfg: dict[str, Any] = resolve_data_config(model=backbone)
    return list(cfg["mean"]), list(cfg["std"])


def check_normalization(params: Params) -> None:
    """Refuse a user's weights file whose normalization is a guess.

    timm's value for an architecture belongs to timm's own weights. It is accepted for a file only if it is
    ImageNet's and all published weights of the architecture, or the named tag, agree.

    Raises:
        InputError: names the values to choose from.
    """
    model = params.model
    if model.normalization is not None or model.weights in ("hub", "none") or _shipped_metadata(params):
        return
    if "mean" in model.backbone_args.get("pretrained_cfg_overlay", {}):
        return
    known = list(dict.fromkeys(_published(model.backbone)))
    if known in ([], [IMAGENET]):
        return
    choices = [f"--set 'model.normalization={_spelled(values)}' ({_name(values)})" for values in
               dict.fromkeys([IMAGENET, *known])]  # fmt: skip
    raise InputError(
        f"model.normalization=null: {model.weights} does not say how its training images were normalized, and "
        f"{model.backbone} is published with {' and '.join(_name(values) for values in known)}. "
        f"Choose what the weights were trained with: {' or '.join(choices)}"
    )


def file_hint(params: Params) -> str:
    """Return the `--set` that a file of the hub's weights needs beside model.weights; empty if it needs none."""
    if params.model.normalization is not None:
        return ""
    cfg = timm.get_pretrained_cfg(params.model.backbone)
    values = None if cfg is None else (tuple(cfg.mean), tuple(cfg.std))
    if values is None or list(dict.fromkeys(_published(params.model.backbone))) == [IMAGENET]:
        return ""
    return f"--set 'model.normalization={_spelled(values)}'"


def _published(backbone: str) -> list[Values]:
    arch, tag = backbone.partition(".")[::2]
    names = [backbone] if tag else timm.list_pretrained(f"{arch}.*")
    found = [timm.get_pretrained_cfg(name) for name in names]
    return [(tuple(cfg.mean), tuple(cfg.std)) for cfg in found if cfg is not None]


def _spelled(values: Values) -> str:
    mean, std = (", ".join(str(value) for value in part) for part in values)
    return f"{{mean: [{mean}], std: [{std}]}}"


def _name(values: Values) -> str:
    return NAMES.get(values, f"mean {values[0][0]:.3g}")


def _shipped_metadata(params: Params) -> dict[str, Any] | None:
    """Metadata of shipped weights: named as `bundled`, or as a file with the same checksum."""
    if params.model.weights == "bundled":
        return read_shipped_metadata(params.model.backbone)
    if params.model.weights in ("hub", "none") or not (SHIPPED / f"{params.model.backbone}.json").is_file():
        return None
    known = read_shipped_metadata(params.model.backbone)
    return known if known["sha256"] == weights_sha256(params) else None
