"""timm backbones: creation, checks before training, and token shapes."""

import logging
import math
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn

from medtune.config import registry
from medtune.config.errors import InputError, RunError, show_value, suggestion
from medtune.config.schema import Params
from medtune.models.hub import check_cached
from medtune.models.normalization import check_normalization
from medtune.models.peft_support import supported, supports
from medtune.models.weights import load_into, read_weights
from medtune.serving.one_line import first_line

# Family of timm's modules, by their type of block. `mobilenet` has MBConv blocks. Other modules are their own family.
FAMILIES = {"resnetv2": "resnet", "resnest": "resnet", "efficientnet": "mobilenet", "mobilenetv3": "mobilenet",
            "vision_transformer": "vit", "deit": "vit", "beit": "vit", "eva": "vit"}  # fmt: skip


@dataclass(frozen=True)
class TokenShape:
    """Shape of the tokens that a backbone passes to the head.

    Attributes:
        tokens: N, number of patch tokens, or of elements of the feature map of a CNN.
        channels: C.
        prefix: number of class and register tokens before the patch tokens.
        class_token: True if the first prefix token is a class token.
    """

    tokens: int
    channels: int
    prefix: int
    class_token: bool


def family(backbone: str) -> str:
    """Return the family of a timm model: vit, convnext, resnet, mobilenet, or the name of its timm module.

    Args:
        backbone: timm name, `arch` or `arch.tag`.

    Returns:
        The family.

    Raises:
        InputError: timm has no such model.
    """
    module = timm.models.model_entrypoint(_arch(backbone)).__module__.rsplit(".", 1)[-1]
    return FAMILIES.get(module, module)


def create_backbone(params: Params, load_weights: bool = True) -> nn.Module:
    """Create the backbone without its classifier, with the weights of `model.weights`.

    Args:
        params: all params; `model` and `data.image_size` are read.
        load_weights: False leaves the backbone randomly initialized, for callers that load other weights.

    Returns:
        The backbone in eval mode.

    Raises:
        InputError: the backbone is unknown, the weights are damaged or do not fit, their normalization is unknown, or
            timm rejects the arguments.
        RunError: the weights could not be downloaded.
        RuntimeError: the downloaded weights cannot be loaded.
    """
    model = params.model
    check_name(model.backbone, model.weights)
    hub = load_weights and model.weights == "hub"
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # hides warnings about retries; the code below raises
    cfg = hub_cfg(params) if hub else {}
    fetched_before = check_cached(cfg)
    try:
        backbone = timm.create_model(model.backbone, pretrained=hub, num_classes=0, **model.backbone_args)
    except (TypeError, AssertionError) as error:
        raise InputError(
            f"model.backbone_args={show_value(model.backbone_args)}: timm cannot create {model.backbone} "
            f"with them ({first_line(error)}). Correct the names and values, or use {{}} for timm's defaults"
        ) from None
    except OSError as error:
        raise RunError(
            f"model.weights=hub: the weights of {model.backbone} could not be downloaded ({first_line(error)}). "
            "Set model.weights to a local file, or try again with a connection"
        ) from error
    except Exception as error:  # a damaged weights file, or a pickle that contains code
        if not hub:
            raise
        raise RuntimeError(
            f"model.weights=hub: the weights of {model.backbone} cannot be loaded ({first_line(error)}). "
            "Set model.weights to a local file"
        ) from error
    if not fetched_before:
        check_cached(cfg)
    if load_weights and model.weights not in ("hub", "none"):
        load_into(backbone, *read_weights(model.weights, model.backbone))
        check_normalization(params)
    return backbone.eval()


def hub_cfg(params: Params) -> dict[str, Any]:
    """Return timm's description of the weights (pretrained_cfg), updated by `pretrained_cfg_overlay` of the params."""
    cfg: Any = timm.get_pretrained_cfg(params.model.backbone)
    return {**(cfg.to_dict() if cfg else {}), **params.model.backbone_args.get("pretrained_cfg_overlay", {})}


def check_backbone(params: Params) -> TokenShape:
    """Check that backbone, image size, weights file and PEFT method fit together, without loading weights.

    Args:
        params: all params.

    Returns:
        Token shape of the backbone at the image size.

    Raises:
        InputError: the backbone or the weights are unknown, the backbone does not support the image size, the PEFT
            method or gradient checkpointing, or `model.head.tokens` differs from the number of tokens.
    """
    model, size = params.model, params.data.image_size
    check_name(model.backbone, model.weights)
    check_family(params)
    if model.weights not in ("hub", "none"):
        read_weights(model.weights, model.backbone, check_only=True)
    try:
        with torch.device("meta"):
            backbone = create_backbone(params, load_weights=False)
    except InputError:
        raise
    except Exception as error:  # timm's constructors raise exceptions of any type
        raise InputError(_incompatible(params, error)) from None
    fixed = getattr(getattr(backbone, "patch_embed", None), "img_size", None)
    if fixed and not getattr(backbone, "dynamic_img_size", False) and tuple(fixed) != (size, size):
        raise InputError(
            f"data.image_size={size}: {model.backbone} requires {fixed[0]}. Set data.image_size={fixed[0]}, "
            f"or model.backbone_args={{img_size: {size}}} to resample its position embedding"
        )
    try:
        shape = token_shape(backbone, size)
    except Exception as error:  # forward passes raise exceptions of any type too
        raise InputError(_incompatible(params, error)) from None
    expected = getattr(model.head, "tokens", None)
    if expected is not None and expected != shape.tokens:
        raise InputError(
            f"model.head.tokens={expected}: {model.backbone} at data.image_size={size} has N = {shape.tokens} patch "
            f"tokens. Set model.head.tokens={shape.tokens} or null"
        )
    if "finetune" in params.training_stages and params.finetune.gradient_checkpointing:
        check_checkpointing(params, backbone)
    return shape


def _incompatible(params: Params, error: Exception) -> str:
    """Return the message for a backbone that does not run with the params."""
    return (
        f"model.backbone={params.model.backbone}: it does not run at data.image_size={params.data.image_size} with "
        f"model.backbone_args={show_value(params.model.backbone_args)} ({first_line(error).rstrip('.')}). Set "
        "data.image_size to a size that the backbone supports, or correct model.backbone_args"
    )


def token_shape(backbone: nn.Module, image_size: int) -> TokenShape:
    """Return the token shape of `backbone` for square images of `image_size` pixels."""
    device = next(backbone.parameters()).device
    with torch.no_grad():
        tokens, prefix = to_tokens(backbone, torch.empty(2, 3, image_size, image_size, device=device))
    return TokenShape(tokens.shape[1], tokens.shape[2], prefix.shape[1], has_class_token(backbone, prefix))


def has_class_token(backbone: nn.Module, prefix: Tensor) -> bool:
    """Return True if the first of the prefix tokens (B, P, C) is a class token, not a register."""
    return prefix.shape[1] > 0 and bool(getattr(backbone, "has_class_token", True))


def to_tokens(backbone: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the final features as patch tokens and prefix tokens.

    The tokens of a ViT are taken after the final norm. Its prefix tokens are the class token and the register tokens.
    The patch tokens of a CNN are the elements of its last feature map, row by row.

    Args:
        backbone: a timm model.
        images: normalized (B, 3, H, W).

    Returns:
        Patch tokens (B, N, C) and prefix tokens (B, P, C); P is 0 for a CNN.

    Raises:
        TypeError: the features are neither a feature map nor a token sequence.
    """
    features = backbone.forward_features(images)  # type: ignore[operator]
    if not isinstance(features, Tensor) or features.dim() not in (3, 4):
        raise TypeError("its features are neither a feature map nor a token sequence")
    if features.dim() == 3:
        prefix = _prefix_tokens(backbone, features.shape[1])
        return features[:, prefix:], features[:, :prefix]
    if str(getattr(backbone, "output_fmt", "NCHW")).endswith("NHWC"):
        tokens = features.flatten(1, 2)
    else:
        tokens = features.flatten(2).transpose(1, 2)
    return tokens, tokens[:, :0]


def _prefix_tokens(backbone: nn.Module, count: int) -> int:
    """Return how many of `count` tokens are prefix tokens."""
    if (known := getattr(backbone, "num_prefix_tokens", None)) is not None:
        return int(known)
    # VOLO and CoaT have no attribute for their class token. A count of h * h + 1 indicates a class token.
    if math.isqrt(count) ** 2 == count or math.isqrt(count - 1) ** 2 != count - 1:
        return 0
    return int(any("cls_token" in name for name, _ in backbone.named_parameters()))


def _arch(backbone: str) -> str:
    arch = backbone.partition(".")[0]
    if not timm.is_model(arch):
        raise InputError(f"model.backbone={backbone}: not a timm model{suggestion(arch, timm.list_models())}. "
                         "List them with python -c 'import timm; print(timm.list_models())'")  # fmt: skip
    return arch


def check_name(backbone: str, weights: str) -> None:
    """Check that timm has the backbone and its tag. With `weights="hub"`, also check that weights are published.

    Args:
        backbone: timm name, `arch` or `arch.tag`.
        weights: value of `model.weights`.

    Raises:
        InputError: timm has no such backbone or tag, or the hub has no weights for it.
    """
    arch, tag = _arch(backbone), backbone.partition(".")[2]
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{arch}.*")]
    if tag and tag not in tags:
        raise InputError(f"model.backbone={backbone}: {arch} has no tag {tag!r}{suggestion(tag, tags)}. "
                         f"Use one of its tags: {', '.join(tags)}")  # fmt: skip
    if weights == "hub" and not tags:
        raise InputError(
            f"model.weights=hub: the hub has no weights for {arch}. Set model.weights to a weights file, or to none "
            "for random weights"
        )


def check_checkpointing(params: Params, backbone: nn.Module) -> None:
    """Raise InputError if the backbone does not support `finetune.gradient_checkpointing`."""
    model = params.model
    try:
        backbone.set_grad_checkpointing(True)  # type: ignore[operator]
    except (AssertionError, AttributeError, NotImplementedError):
        raise InputError(f"finetune.gradient_checkpointing=true: {model.backbone} does not support it. "
                         "Set it to false") from None  # fmt: skip
    if model.batchnorm == "train" and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in backbone.modules()):
        raise InputError(
            "finetune.gradient_checkpointing=true: with model.batchnorm=train, the recomputed activations "
            "would update the BatchNorm statistics twice. Set it to false, or model.batchnorm to frozen"
        )


def check_family(params: Params) -> None:
    """Raise InputError if `model.peft.method` does not support the family of the timm model."""
    method = registry.load_plugin("medtune.models.peft", params.model.peft.method, "model.peft.method")
    name = family(params.model.backbone)
    if not supports(method, name):
        raise InputError(f"model.peft.method={params.model.peft.method}: it does not support {params.model.backbone} "
                         f"(family {name}). It supports {supported(method)}")  # fmt: skip
