"""What a head that pools the tiles of slides needs of the other sections."""

from medtune.config.errors import InputError

ATTENTION = "attention"


def check_head(kind: str, aggregation: str, solved: bool, source: str, schedule: str, views: int | str) -> None:
    """Refuse a head that pools tiles, or that is solved, where it cannot be trained.

    Args:
        kind: `model.head.kind`.
        aggregation: of this head.
        solved: of this head.
        source: `data.source`.
        schedule: `schedule`.
        views: `frozen.feature_views`.

    Raises:
        InputError: the data are no slides, or the head would not be trained on stored features alone.
    """
    if views == "online" and (aggregation == ATTENTION or (solved and schedule != "full")):
        raise InputError(
            f"frozen.feature_views=online: head {kind} needs stored features. Use frozen.feature_views=1 to 8."
        )
    if aggregation != ATTENTION:
        return
    if source != "slides":
        raise InputError(
            f"model.head.kind={kind}: it weights the tiles of slides, but data.source={source}. Use "
            "data.source=slides or another head"
        )
    if schedule != "frozen":
        raise InputError(
            f"schedule={schedule}: head {kind} is trained on features of the frozen backbone only. Use schedule=frozen"
        )
