"""What bundle.json says of the networks that a bundle averages, `members`; numpy only.

Bundles of schema version 1 have one network and no such entry.
"""

from collections.abc import Mapping
from typing import Any

# Names of the graph's other outputs: the decision (N, ...) int64, and the output of each network (N, M, ...).
DECISION, MEMBERS = "decision", "members"
# In place of a test fold, the network that is trained on all labeled images (`final: refit`).
REFIT = -1


def network_name(fold: int) -> str:
    """`fold 3`, or `refit`."""
    return "refit" if fold == REFIT else f"fold {fold}"


def fault(document: Mapping[str, Any]) -> str | None:
    """The first wrong field of `members`, with its value and what is expected; None where all are right."""
    if document["schema_version"] == 1:
        return None
    members = document.get(MEMBERS)
    if not isinstance(members, list) or not members or not all(isinstance(one, dict) for one in members):
        return f"members is {members!r}: expected one entry per network"
    if "tiles" not in document:
        return None
    for index, member in enumerate(members):
        if wrong := _positive_number(member.get("temperature")):
            return f"members.{index}.temperature {wrong}"
    return None


def folds(document: Mapping[str, Any]) -> list[int]:
    """Test fold of each network; its own fold's test patients are those that a network has not seen.

    A network that has seen all patients has `REFIT` (null in bundle.json).
    """
    if MEMBERS in document:
        return [REFIT if member["fold"] is None else int(member["fold"]) for member in document[MEMBERS]]
    return [int((document.get("exported") or {}).get("fold", 0))]


def count(document: Mapping[str, Any]) -> int:
    """Number of networks."""
    return len(document.get(MEMBERS) or [None])


def temperatures(document: Mapping[str, Any]) -> list[float]:
    """Temperature of each network of a bundle of slides."""
    if MEMBERS in document:
        return [member["temperature"] for member in document[MEMBERS]]
    return [document["temperature"]]


def check_temperature(document: Mapping[str, Any]) -> str | None:
    """As `fault`, for a bundle of slides of schema version 1."""
    if MEMBERS in document:
        return None
    wrong = _positive_number(document.get("temperature"))
    return f"temperature {wrong}" if wrong else None


def _positive_number(value: Any) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return None
    return f"is {value!r}: expected a number above 0"
