"""Params that task segmentation requires or does not use, checked without torch."""

from collections.abc import Iterator
from typing import Any

from medtune.config.base import StrictParams
from medtune.config.errors import InputError, show_value
from medtune.config.task_labels import SEGMENTATION

# Value of `model.backbone` for the decoder alone.
NO_BACKBONE = "none"
# Values of `model.backbone` for networks that read volumes. Other values are timm models, which read slices.
VOLUME_NETWORKS = ("unet", "dynunet", "segresnet", "swinunetr", "brain_unet3d")
# Keys without effect on segmentation, and what to use instead.
UNUSED = {
    "frozen": {"label_smoothing": "", "class_weights": "", "augment": "task.augment"},
    "finetune": {"label_smoothing": "", "class_weights": "", "augment": "task.augment", "channels_last": ""},
    "evaluate": dict.fromkeys(("threshold", "patient_score", "coverage", "reliability_bins", "batch_size"), ""),
    "gate": {"max_confidence_gap": ""},
}
# Settings of these keys that mean the same as the default.
EQUIVALENT = {"class_weights": ("none",), "channels_last": (False,)}


def check_volume_model(params: Any) -> None:
    """Raise if the head does not fit the task, or a setting has no effect on segmentation.

    Args:
        params: all params, `medtune.config.schema.Params`. An import of the type would be circular.

    Raises:
        InputError: the first problem.
    """
    kind, head = params.task.kind, params.model.head
    if head.reads_volumes != (kind == SEGMENTATION):
        needed = "model.head.kind=decoder" if kind == SEGMENTATION else "another head, such as linear"
        reads = "volumes" if head.reads_volumes else "images"
        raise InputError(f"model.head.kind={head.kind}: it reads {reads}, unlike task {kind}. Use {needed}")
    if kind == SEGMENTATION:
        for key, value, problem in _problems(params):
            raise InputError(f"{key}={show_value(value)}: {problem}")


def _problems(params: Any) -> Iterator[tuple[str, Any, str]]:
    """Yield key, value, and problem with its fix."""
    for section, keys in UNUSED.items():
        for key, instead in keys.items():
            if changed := _changed(getattr(params, section), key):
                fix = f"Use {instead} instead" if instead else "Remove it"
                yield f"{section}.{changed[0]}", changed[1], f"task {SEGMENTATION} does not use it. {fix}"
    model, finetune = params.model, params.finetune
    name = model.backbone
    if getattr(params.data, "is_planar", False):
        yield from _planar_problems(params)
    if name != NO_BACKBONE and name not in VOLUME_NETWORKS:
        return
    origin = "model.backbone=none" if name == NO_BACKBONE else f"{name}, a network of volumes,"
    if model.weights in ("bundled", "hub") or (name == NO_BACKBONE and model.weights != "none"):
        allowed = "none" if name == NO_BACKBONE else "none or a file"
        yield "model.weights", model.weights, f"{origin} has no published weights. Use {allowed}"
    if name == "brain_unet3d" and model.weights != "none" and (rule := params.data.intensity.rule) != "minmax":
        yield "data.intensity.rule", rule, f"the weights of {name} expect values from 0 to 1. Use minmax"
    if model.normalization is not None:
        yield "model.normalization", model.normalization.model_dump(), f"{origin} reads no images. Use null"
    if finetune.gradient_checkpointing:
        yield "finetune.gradient_checkpointing", True, f"{origin} does not support it. Use false"
    for key in ("slice_scale", "slice_axis"):
        if changed := _changed(model.head, key):
            yield f"model.head.{key}", changed[1], f"{origin} does not read slices. Remove it"
    if name != NO_BACKBONE and (changed := _changed(model.head, "width")):
        yield "model.head.width", changed[1], f"{origin} has its own decoder. Remove it"
    if name == NO_BACKBONE:
        if model.backbone_args:
            yield "model.backbone_args", model.backbone_args, f"{origin} has no arguments. Use {{}}"
        if model.peft.method != "none":
            yield "model.peft.method", model.peft.method, f"{origin} leaves nothing to adapt. Use none"
        if params.schedule == "staged":
            yield "schedule", "staged", f"with {origin} both stages would train the decoder. Use frozen or full"


def _planar_problems(params: Any) -> Iterator[tuple[str, Any, str]]:
    """Yield the settings that images, which have one slice, do not support."""
    model, augment, images = params.model, params.task.augment, f"data.source={params.data.source} has images"
    if model.backbone in VOLUME_NETWORKS:
        yield "model.backbone", model.backbone, f"{images}, and this network needs volumes. Use a timm model or none"
    if model.head.slice_axis != "z":
        yield "model.head.slice_axis", model.head.slice_axis, f"{images}, whose only slice is along z. Use z"
    if "z" in augment.mirror:
        yield "task.augment.mirror", augment.mirror, f"{images} of one slice. Remove z"


def _changed(section: StrictParams, key: str) -> tuple[str, Any] | None:
    """Return key and value of a setting that differs from its default; of a subsection, its first such key."""
    if key not in type(section).model_fields:
        return None
    value = getattr(section, key)
    default = type(section).model_fields[key].get_default(call_default_factory=True)
    if value == default or value in EQUIVALENT.get(key, ()):
        return None
    if isinstance(value, StrictParams) and isinstance(default, StrictParams):
        name = next(name for name in type(value).model_fields if getattr(value, name) != getattr(default, name))
        return f"{key}.{name}", getattr(value, name)
    return key, value
