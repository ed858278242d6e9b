"""Functions that add a CDTM head or a PEFT method to any timm model, without params.yaml.

CDTM is the head of `medtune.models.cdtm`. The PEFT methods are the modules of models/peft.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from pydantic import ValidationError
from timm.data.config import resolve_data_config
from torch import Tensor, nn

from medtune.config import registry
from medtune.config.errors import InputError
from medtune.config.validation_errors import format_validation_error
from medtune.models.backbones import FAMILIES, to_tokens, token_shape
from medtune.models.cdtm import CDTM
from medtune.models.classifier import Classifier
from medtune.models.peft_support import supported, supports
from medtune.serving.one_line import first_line

PEFT = "medtune.models.peft"
# Attribute of a model that stores the name of the injected method.
METHOD = "_medtune_peft_method"
# Functions of a PEFT method that only MedTune's training loop calls.
LOOP_HOOKS = ("prepare", "penalty", "after_step")


def attach_cdtm(
    model: nn.Module,
    num_classes: int,
    *,
    images: Iterable[Tensor] | None = None,
    image_size: int | None = None,
    freeze: bool = False,
    centers: int = 300,
    layers: int = 1,
    mlp_ratio: float = 4.0,
    dropout: float = 0.0,
    skip: bool = True,
    temperature: Literal["learned", "fixed"] = "fixed",
) -> Classifier:
    """Replace the classifier of a timm model by a CDTM head.

    Args:
        model: from `timm.create_model`; it becomes the backbone, in place.
        num_classes: number of classes, from 2.
        images: batches of normalized training images (B, 3, H, W). Their tokens initialize the centers (by k-means)
            and the last norm of the head. None selects the paper's random initialization.
        image_size: side of the square images in pixels; None is the default of the model. The head supports only this
            size.
        freeze: train only the head.
        centers: number of learned centers, K in the paper. Each center has a matrix that mixes the tokens.
        layers: number of CDTM blocks.
        mlp_ratio: width of the MLP divided by the channels of the tokens.
        dropout: dropout probability, 0..1.
        skip: add a skip connection around the mixing of tokens. The module of the paper has no such connection.
        temperature: temperature of the softmax over the centers, learned or fixed at 1.

    Returns:
        A module that maps normalized images (B, 3, H, W) to logits (B, num_classes). Its method `preprocess`
        normalizes uint8 images (B, H, W, 3).

    Raises:
        InputError: `num_classes` is below 2, the model is not from timm, its features are neither a feature map nor a
            token sequence, or it does not support the image size.
    """
    check_timm(model)
    if num_classes < 2:
        raise InputError(f"num_classes={num_classes}: a classifier needs at least 2. Use num_classes=2")
    config = resolve_data_config(model=model)  # type: ignore[no-untyped-call]
    default = getattr(getattr(model, "patch_embed", None), "img_size", None) or config["input_size"][1:]
    size = image_size or default[0]
    model.reset_classifier(0)  # type: ignore[operator]
    training = model.training
    try:
        shape = token_shape(model.eval(), size)
    except Exception as error:  # backbones raise exceptions of any type
        raise InputError(
            f"image_size={size}: {type(model).__name__} does not support it ({first_line(error)}). "
            "Use the size that the model was created with"
        ) from None
    finally:
        model.train(training)
    head = CDTM(
        shape.tokens, shape.channels, num_classes,
        centers=centers, layers=layers, mlp_ratio=mlp_ratio, dropout=dropout, skip=skip, temperature=temperature,
    )  # fmt: skip
    device = next(model.parameters()).device
    classifier = Classifier(model, head, "tokens", list(config["mean"]), list(config["std"])).to(device)
    if images is not None:
        with torch.no_grad():
            head.prepare((to_tokens(model, batch.to(device))[0] for batch in images), seed=0)
    if freeze:
        model.requires_grad_(False)
    return classifier


def inject_peft(model: nn.Module, method: str = "lora", **options: Any) -> nn.Module:
    """Freeze a timm model and inject a PEFT method. The classifier remains trainable.

    Args:
        model: from `timm.create_model` or `attach_cdtm`; changed in place.
        method: a name in docs/methods.md, for example lora, ssf or bitfit.
        options: options of the method, as under `model.peft` in params.yaml, for example rank=8.

    Returns:
        `model`. Train its parameters that have `requires_grad`, then call `merge_peft`.

    Raises:
        InputError: the model is not from timm or already has a method, the method or an option is unknown, or the
            method needs MedTune's training loop or does not support this model.
    """
    backbone = model.backbone if isinstance(model, Classifier) else model
    check_timm(backbone)
    if hasattr(model, METHOD):
        raise InputError(
            f"method={method}: the model already has method {getattr(model, METHOD)}. Call merge_peft first"
        )
    plugin = registry.load_plugin(PEFT, method, "method")
    if hooks := [name for name in LOOP_HOOKS if hasattr(plugin, name)]:
        raise InputError(
            f"method={method}: it needs `{hooks[0]}` calls from MedTune's training loop. Train it with `medtune "
            "train`, or use another method"
        )
    family = family_of(backbone)
    if not supports(plugin, family):
        raise InputError(
            f"method={method}: it does not support {type(backbone).__name__} (family {family}). "
            f"It supports {supported(plugin)}"
        )
    try:
        method_params = plugin.Params(method=method, **options)
    except ValidationError as error:
        raise InputError(format_validation_error(error, plugin.Params)) from None
    with _without_classifier(backbone):
        adapted = plugin.inject(backbone, method_params)
    if isinstance(model, Classifier):
        model.backbone = adapted
        model.head.requires_grad_(True)
    else:
        model = adapted
    setattr(model, METHOD, method)
    return model


def merge_peft(model: nn.Module) -> nn.Module:
    """Merge the change that a PEFT method trained into the weights of the model, and remove the method.

    Args:
        model: from `inject_peft`; changed in place.

    Returns:
        `model` in its original architecture. `ssf` leaves biases in layers that had none.

    Raises:
        InputError: the model has no PEFT method, or the method cannot be merged.
    """
    method = getattr(model, METHOD, None)
    if method is None:
        raise InputError(f"model={type(model).__name__}: it has no PEFT method. Call inject_peft first")
    plugin = registry.load_plugin(PEFT, method, "method")
    if not hasattr(plugin, "merge"):
        raise InputError(f"method={method}: its layers cannot be merged. Use the model without merging")
    delattr(model, METHOD)
    if isinstance(model, Classifier):
        model.backbone = plugin.merge(model.backbone)
        return model
    return plugin.merge(model)


def check_timm(model: object) -> None:
    """Check that a model is a timm model.

    Args:
        model: any object.

    Raises:
        InputError: the object is not a timm model.
    """
    if not isinstance(model, nn.Module) or not type(model).__module__.startswith("timm.models."):
        raise InputError(f"model={type(model).__name__}: not a timm model. Pass one from timm.create_model")


def family_of(model: nn.Module) -> str:
    """Return the family of a timm model: vit, convnext, resnet, mobilenet, or the name of its timm module."""
    module = type(model).__module__.rsplit(".", 1)[-1]
    return FAMILIES.get(module, module)


@contextmanager
def _without_classifier(model: nn.Module) -> Iterator[None]:
    """Hide the classifier of a timm model in the `with` block. Then restore the classifier and make it trainable."""
    named = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    hidden: list[tuple[nn.Module, str, nn.Module]] = []
    for name in [named] if isinstance(named, str) else named:
        parent, _, attribute = name.rpartition(".")
        owner = model.get_submodule(parent)
        hidden.append((owner, attribute, getattr(owner, attribute)))
        setattr(owner, attribute, nn.Identity())
    try:
        yield
    finally:
        for owner, attribute, layer in hidden:
            setattr(owner, attribute, layer.requires_grad_(True))
