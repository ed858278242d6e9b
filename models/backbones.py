"""Any timm backbone: checked before work begins, with its weights, its own normalisation and its token shape."""

import logging
import math
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn

from medtune.config.errors import InputError, RunError, suggestion
from medtune.config.schema import Params
from medtune.models.hub import check_cached
from medtune.models.normalization import check_normalization
from medtune.models.peft_support import supported, supports
from medtune.models.weights import load_into, read_weights
from medtune.serving.one_line import first_line

FAMILIES = {"resnetv2": "resnet", "resnest": "resnet", "efficientnet": "mobilenet", "mobilenetv3": "mobilenet",
            "vision_transformer": "vit", "deit": "vit", "beit": "vit", "eva": "vit"}  # fmt: skip


@dataclass(frozen=True)
class TokenShape:
    """What a backbone hands to the head.

    Attributes:
        tokens: N, patch tokens.
        channels: C.
        prefix: class and register tokens before them.
        class_token: the first of these is a class token.
    """

    tokens: int
    channels: int
    prefix: int
    class_token: bool


def family(backbone: str) -> str:
    """Family of a timm name: vit, convnext, resnet, mobilenet, or timm's own module name.

    Raises:
        InputError: timm has no such model.
    """
    module = timm.models.model_entrypoint(_arch(backbone)).__module__.rsplit(".", 1)[-1]
    return FAMILIES.get(module, module)


def create_backbone(params: Params, load_weights: bool = True) -> nn.Module:
    """The backbone without its classifier, in eval mode, with the weights that params name.

    Args:
        params: all params; `model` and `data.image_size` are read.
        load_weights: False leaves it randomly initialised (the weights come from elsewhere).

    Raises:
        InputError: unknown backbone, weights that do not fit, or arguments timm refuses.
    """
    model = params.model
    check_name(model.backbone, model.weights)
    hub = load_weights and model.weights == "hub"
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its retries; what fails is said below
    cfg = hub_cfg(params) if hub else {}
    fetched_before = check_cached(cfg)
    try:
        backbone = timm.create_model(model.backbone, pretrained=hub, num_classes=0, **model.backbone_args)
    except (TypeError, AssertionError) as error:
        raise InputError(
            f"model.backbone_args {dict(model.backbone_args)!r}: {model.backbone}: {error}; "
            "set model.backbone_args={} for timm's defaults"
        ) from None
    except OSError as error:
        raise RunError(
            f"model.weights: hub: weights of {model.backbone} could not be fetched ({error}); "
            "give a local file in model.weights, or try again with a connection"
        ) from error
    except Exception as error:  # a damaged file of weights, or a pickle that carries code
        if not hub:
            raise
        raise RuntimeError(
            f"model.weights: hub: those of {model.backbone} cannot be loaded: {first_line(error)}"
        ) from error
    if not fetched_before:
        check_cached(cfg)
    if load_weights and model.weights not in ("hub", "none"):
        load_into(backbone, *read_weights(model.weights, model.backbone))
        check_normalization(params)
    return backbone.eval()


def hub_cfg(params: Params) -> dict[str, Any]:
    """timm's pretrained_cfg of the backbone, with the overlay of the params."""
    known = timm.get_pretrained_cfg(params.model.backbone)
    return {**(known.to_dict() if known else {}), **params.model.backbone_args.get("pretrained_cfg_overlay", {})}


def check_backbone(params: Params) -> TokenShape:
    """Token shape of backbone and image size, without any weights; refuses what does not fit together.

    Raises:
        InputError: unknown backbone or weights, an image size the backbone does not take, or a head
            whose `tokens` is not what they give.
    """
    model, size = params.model, params.data.image_size
    check_name(model.backbone, model.weights)
    if model.peft.method != "none":
        _check_method(params)
    if model.weights not in ("hub", "none"):
        read_weights(model.weights, model.backbone, check_only=True)
    try:
        with torch.device("meta"):
            backbone = create_backbone(params, load_weights=False)
    except InputError:
        raise
    except Exception as error:  # timm's constructors raise whatever their first wrong line raises
        raise InputError(_incompatible(params, error)) from None
    fixed = getattr(getattr(backbone, "patch_embed", None), "img_size", None)
    if fixed and not getattr(backbone, "dynamic_img_size", False) and tuple(fixed) != (size, size):
        raise InputError(
            f"data.image_size is {size}, but {model.backbone} takes {fixed[0]}: set data.image_size={fixed[0]}, "
            f"or model.backbone_args={{img_size: {size}}} to resample its position embedding"
        )
    try:
        shape = token_shape(backbone, size)
    except Exception as error:  # likewise its forward passes
        raise InputError(_incompatible(params, error)) from None
    stated = getattr(model.head, "tokens", None)
    if stated is not None and stated != shape.tokens:
        raise InputError(
            f"model.head.tokens is {stated}, but {model.backbone} at data.image_size {size} gives N = {shape.tokens}"
        )
    if "finetune" in params.training_stages and params.finetune.gradient_checkpointing:
        _check_checkpointing(params, backbone)
    return shape


def _incompatible(params: Params, error: Exception) -> str:
    return (
        f"model.backbone: {params.model.backbone} with backbone_args {dict(params.model.backbone_args)!r} "
        f"does not run at data.image_size {params.data.image_size}: {first_line(error)}"
    )


def token_shape(backbone: nn.Module, image_size: int) -> TokenShape:
    """Token shape that `backbone` gives for square images; run on the meta device, at no cost."""
    device = next(backbone.parameters()).device
    with torch.no_grad():
        tokens, prefix = to_tokens(backbone, torch.empty(2, 3, image_size, image_size, device=device))
    return TokenShape(tokens.shape[1], tokens.shape[2], prefix.shape[1], has_class_token(backbone, prefix))


def has_class_token(backbone: nn.Module, prefix: Tensor) -> bool:
    """Whether the first of the (B, P, C) prefix tokens of `backbone` is a class token, not a register."""
    return prefix.shape[1] > 0 and bool(getattr(backbone, "has_class_token", True))


def to_tokens(backbone: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Final features as (B, N, C) patch tokens and (B, P, C) prefix tokens, row by row.

    ViT: after the final norm, class and register tokens apart. CNN: the last map, flattened; P = 0.
    """
    features = backbone.forward_features(images)  # type: ignore[operator]
    if not isinstance(features, Tensor) or features.dim() not in (3, 4):
        raise TypeError("its features are neither one map nor one row of tokens")
    if features.dim() == 3:
        prefix = _prefix_tokens(backbone, features.shape[1])
        return features[:, prefix:], features[:, :prefix]
    if str(getattr(backbone, "output_fmt", "NCHW")).endswith("NHWC"):
        tokens = features.flatten(1, 2)
    else:
        tokens = features.flatten(2).transpose(1, 2)
    return tokens, tokens[:, :0]


def _prefix_tokens(backbone: nn.Module, count: int) -> int:
    """Class and register tokens at the front of `count` tokens; VOLO and CoaT do not name their class token."""
    if (known := getattr(backbone, "num_prefix_tokens", None)) is not None:
        return int(known)
    if math.isqrt(count) ** 2 == count or math.isqrt(count - 1) ** 2 != count - 1:
        return 0
    return int(any("cls_token" in name for name, _ in backbone.named_parameters()))


def _arch(backbone: str) -> str:
    arch = backbone.partition(".")[0]
    if not timm.is_model(arch):
        known = timm.list_models()
        raise InputError(f"model.backbone: {backbone!r} is no timm model{suggestion(arch, known)}; "
                         "list them with python -c 'import timm; print(timm.list_models())'")  # fmt: skip
    return arch


def check_name(backbone: str, weights: str) -> None:
    """Refuse a backbone or tag that timm does not have, and weights that the hub does not have.

    Raises:
        InputError: names what is similar.
    """
    arch, tag = _arch(backbone), backbone.partition(".")[2]
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{arch}.*")]
    if tag and tag not in tags:
        raise InputError(f"model.backbone: {backbone!r}: {arch} has no tag {tag!r}{suggestion(tag, tags)}; "
                         f"its tags: {', '.join(tags)}")  # fmt: skip
    if weights == "hub" and not tags:
        raise InputError(f"model.weights: hub has none for {arch}; give a file, or weights: none")


def _check_checkpointing(params: Params, backbone: nn.Module) -> None:
    model = params.model
    try:
        backbone.set_grad_checkpointing(True)  # type: ignore[operator]
    except (AssertionError, AttributeError, NotImplementedError):
        raise InputError(f"finetune.gradient_checkpointing is true, which {model.backbone} does not support; "
                         "set it to false") from None  # fmt: skip
    if model.batchnorm == "train" and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in backbone.modules()):
        raise InputError("finetune.gradient_checkpointing is true and model.batchnorm is train: what the backward pass "
                         "computes again would count twice in the statistics; change one of them")  # fmt: skip


def _check_method(params: Params) -> None:
    from medtune.config import registry

    method = registry.load_plugin("medtune.models.peft", params.model.peft.method, "model.peft.method")
    found = family(params.model.backbone)
    if not supports(method, found):
        raise InputError(f"model.peft.method: {params.model.peft.method!r} does not support {params.model.backbone} "
                         f"(family {found}); it supports: {supported(method)}")  # fmt: skip
