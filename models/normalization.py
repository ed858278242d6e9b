"""Mean and standard deviation for the normalization of images."""

from typing import Any

import timm
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.data.config import resolve_data_config
from torch import nn

from medtune.config.errors import InputError
from medtune.config.schema import Params
from medtune.models.weights import SHIPPED, read_shipped_metadata
from medtune.runtime.cache_key import weights_sha256

# Mean and standard deviation of each color channel.
Values = tuple[tuple[float, ...], tuple[float, ...]]
IMAGENET: Values = (tuple(IMAGENET_DEFAULT_MEAN), tuple(IMAGENET_DEFAULT_STD))
# Names for messages.
NAMES = {IMAGENET: "ImageNet's"}


def normalization(params: Params, backbone: nn.Module) -> tuple[list[float], list[float]]:
    """Return mean and std for images scaled to 0..1.

    The values come from the first of these sources that has them: the params, the metadata of the weights in
    models/bundled (also for a copy of these weights), timm's description of the backbone (pretrained_cfg).

    Args:
        params: all params.
        backbone: a timm model.

    Returns:
        Mean and standard deviation per channel.
    """
    model = params.model
    if model.normalization is not None:
        return list(model.normalization.mean), list(model.normalization.std)
    if known := _shipped_metadata(params):
        return list(known["mean"]), list(known["std"])
    cfg: dict[str, Any] = resolve_data_config(model=backbone)  # type: ignore[no-untyped-call]
    return list(cfg["mean"]), list(cfg["std"])


def check_normalization(params: Params) -> None:
    """Check that the normalization of a user's weights file is known.

    The normalization that timm lists for an architecture belongs to timm's weights. A user's file may need another
    normalization. The check passes without a setting if all published weights of the architecture use the normalization
    of ImageNet, or if there are none. If `model.backbone` names a tag, only the weights of this tag count.

    Args:
        params: all params.

    Raises:
        InputError: the normalization is ambiguous; the message lists the options.
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
        f"Choose the normalization from training: {' or '.join(choices)}"
    )


def file_hint(params: Params) -> str:
    """Return the `--set` option for the normalization of a weights file from the hub; empty if none is needed."""
    if params.model.normalization is not None:
        return ""
    cfg = timm.get_pretrained_cfg(params.model.backbone)
    values = None if cfg is None else (tuple(cfg.mean), tuple(cfg.std))
    if values is None or list(dict.fromkeys(_published(params.model.backbone))) == [IMAGENET]:
        return ""
    return f"--set 'model.normalization={_spelled(values)}'"


def _published(backbone: str) -> list[Values]:
    """Return the normalization of every published weights file of the tag or, without a tag, of the architecture."""
    arch, tag = backbone.partition(".")[::2]
    names = [backbone] if tag else timm.list_pretrained(f"{arch}.*")
    cfgs = [timm.get_pretrained_cfg(name) for name in names]
    return [(tuple(cfg.mean), tuple(cfg.std)) for cfg in cfgs if cfg is not None]


def _spelled(values: Values) -> str:
    """Return the value of `model.normalization` in YAML."""
    mean, std = (", ".join(str(value) for value in part) for part in values)
    return f"{{mean: [{mean}], std: [{std}]}}"


def _name(values: Values) -> str:
    return NAMES.get(values, f"mean {values[0][0]:.3g}")


def _shipped_metadata(params: Params) -> dict[str, Any] | None:
    """Return the metadata of the bundled weights if `model.weights` is `bundled` or a copy of this file, else None."""
    if params.model.weights == "bundled":
        return read_shipped_metadata(params.model.backbone)
    if params.model.weights in ("hub", "none") or not (SHIPPED / f"{params.model.backbone}.json").is_file():
        return None
    known = read_shipped_metadata(params.model.backbone)
    return known if known["sha256"] == weights_sha256(params) else None
