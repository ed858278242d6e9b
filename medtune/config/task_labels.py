"""Compatibility of the task with the data: images or volumes, and one or several labels per image."""

from medtune.config.data import DataParams
from medtune.config.errors import InputError

SINGLE_LABEL, MULTI_LABEL, SEGMENTATION = "classification", "multilabel", "segmentation"


def check_task(kind: str, data: DataParams) -> None:
    """Raise if the task does not fit the data.

    Args:
        kind: `task.kind`.
        data: section data.

    Raises:
        InputError: the task needs images and the data have volumes, or the reverse. The task predicts one label and the
            data have several labels per image, or the reverse.
    """
    if data.has_volumes and kind != SEGMENTATION:
        raise InputError(
            f"task.kind={kind}: data.source={data.source} contains volumes, but this task needs images. Use another "
            "data.source"
        )
    if kind == SEGMENTATION and not data.has_volumes:
        raise InputError(
            f"task.kind={kind}: data.source={data.source} contains images, but this task needs volumes with masks. Use "
            "data.source=volumes, decathlon, nnunet, masks or phantom"
        )
    setting = data.multi_label
    if setting and kind != MULTI_LABEL:
        raise InputError(f"task.kind={kind}: {setting} allows several labels per image. Use task.kind={MULTI_LABEL}")
    if kind == MULTI_LABEL and not setting:
        alternative = " or data.label_type=multi" if "label_type" in type(data).model_fields else ""
        raise InputError(
            f"task.kind={MULTI_LABEL}: data.source={data.source} has one label per image. "
            f"Use task.kind={SINGLE_LABEL}{alternative}"
        )
