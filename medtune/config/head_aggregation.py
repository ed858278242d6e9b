"""What a head that pools the tiles of slides needs of the other sections."""

from typing import TYPE_CHECKING

from medtune.config.errors import InputError

if TYPE_CHECKING:
    from medtune.config.schema import Params

ATTENTION = "attention"


def check_head(params: "Params") -> None:
    """Refuse a head that pools tiles where it cannot be trained.

    Args:
        params: all params.

    Raises:
        InputError: the data are no slides, or the head would not be trained on stored features alone.
    """
    head = params.model.head
    if head.aggregation != ATTENTION:
        return
    if params.data.source != "slides":
        raise InputError(
            f"model.head.kind={head.kind}: it weights the tiles of slides, but data.source={params.data.source}. "
            "Use data.source=slides or another head"
        )
    if params.schedule != "frozen":
        raise InputError(
            f"schedule={params.schedule}: head {head.kind} is trained on features of the frozen backbone only. "
            "Use schedule=frozen"
        )
    if params.frozen.views == "online":
        raise InputError(f"frozen.views=online: head {head.kind} needs stored features. Use frozen.views=1 to 8")
