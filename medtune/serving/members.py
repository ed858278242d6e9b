"""Entry `members` of bundle.json: the networks whose outputs a bundle averages.

Bundles of schema version 1 have a single network, and no entry `members`.
"""

from collections.abc import Mapping
from typing import Any

from medtune.serving.field_error import wrong_field

# Names of two outputs of the graph: the decision, int64 (N, ...), and the outputs of the M networks, (N, M, ...).
DECISION, MEMBERS = "decision", "members"
# Value in place of the test fold, for a network that is trained on all labeled images (`final: refit`).
REFIT = -1


def network_name(fold: int) -> str:
    """Return the name of a network: `fold 3` or `refit`."""
    return "refit" if fold == REFIT else f"fold {fold}"


def validate(document: Mapping[str, Any]) -> str | None:
    """Return a message about the first invalid field of `members`, or None if all fields are valid."""
    if document["schema_version"] == 1:
        return None
    members = document.get(MEMBERS)
    if not isinstance(members, list) or not members or not all(isinstance(entry, dict) for entry in members):
        return wrong_field(MEMBERS, members, "a list with a mapping per network")
    if "tiles" not in document:
        return None
    for index, member in enumerate(members):
        if error := _check_positive(f"{MEMBERS}.{index}.temperature", member.get("temperature")):
            return error
    return None


def folds(document: Mapping[str, Any]) -> list[int]:
    """Return the test fold of each network. A network has not seen the patients of its test fold.

    `REFIT` (null in bundle.json) means that the network has seen all patients.

    Args:
        document: content of bundle.json.

    Returns:
        One fold per network.
    """
    if MEMBERS in document:
        return [REFIT if member["fold"] is None else int(member["fold"]) for member in document[MEMBERS]]
    return [int((document.get("exported") or {}).get("fold", 0))]


def count(document: Mapping[str, Any]) -> int:
    """Return the number of networks."""
    return len(document.get(MEMBERS) or [None])


def temperatures(document: Mapping[str, Any]) -> list[float]:
    """Return the calibration temperature of each network of a bundle for slides."""
    if MEMBERS in document:
        return [member["temperature"] for member in document[MEMBERS]]
    return [document["temperature"]]


def check_temperature(document: Mapping[str, Any]) -> str | None:
    """Return a message about the temperature of a bundle for slides of schema version 1, or None if it is valid."""
    if MEMBERS in document:
        return None
    return _check_positive("temperature", document.get("temperature"))


def _check_positive(key: str, value: Any) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return None
    return wrong_field(key, value, "a number above 0")
