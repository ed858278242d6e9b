"""Params that two kinds of heads require: heads that pool tiles, and heads that a solver fits (`solved`)."""

from medtune.config.errors import InputError

ATTENTION = "attention"


def check_head(kind: str, aggregation: str, solved: bool, source: str, schedule: str, views: int | str) -> None:
    """Raise if the other params do not fit a head that pools tiles, or a solved head.

    Args:
        kind: `model.head.kind`.
        aggregation: `aggregation` of the head.
        solved: `solved` of the head.
        source: `data.source`.
        schedule: `schedule`.
        views: `frozen.feature_views`.

    Raises:
        InputError: the data are not slides, or the head would not be trained on stored features only.
    """
    if views == "online" and (aggregation == ATTENTION or (solved and schedule != "full")):
        raise InputError(
            f"frozen.feature_views=online: head {kind} needs stored features. Use frozen.feature_views=1 to 8."
        )
    if aggregation != ATTENTION:
        return
    if source != "slides":
        raise InputError(
            f"model.head.kind={kind}: the head weights the tiles of slides, but data.source={source}. "
            "Use data.source=slides or another head"
        )
    if schedule != "frozen":
        raise InputError(
            f"schedule={schedule}: head {kind} is trained on features of the frozen backbone only. Use schedule=frozen"
        )
