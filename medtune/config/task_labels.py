"""One or several labels per image: what section data says must fit the task."""

from medtune.config.data import DataParams
from medtune.config.errors import InputError

SINGLE, SEVERAL = "classification", "multilabel"


def check_task(kind: str, data: DataParams) -> None:
    """Refuse a task that does not fit the labels.

    Args:
        kind: `task.kind`.
        data: section data.

    Raises:
        InputError: several labels per image without task multilabel, or the reverse.
    """
    several = data.multi_label
    if several and kind != SEVERAL:
        raise InputError(f"task.kind={kind}: {several} gives an image several labels. Use task.kind={SEVERAL}")
    if kind == SEVERAL and not several:
        other = " or data.label_type=multi" if "label_type" in type(data).model_fields else ""
        raise InputError(
            f"task.kind={SEVERAL}: source {data.source} gives an image one label here. Use task.kind={SINGLE}{other}"
        )
