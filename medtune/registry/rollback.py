"""Return from the current accepted bundle to an earlier one."""

import time
from collections.abc import Iterator
from pathlib import Path

from medtune.registry.store import Target, previous
from medtune.registry.store_layout import verify
from medtune.serving.manifest import BundleError


def rollback(target: Target, to: str | None, because: str, cache: Path) -> tuple[str, str]:
    """The bundle that was current, and the one that now is.

    Args:
        target: where the bundles lie.
        to: id of the bundle to go back to; None: the one that the current one replaced.
        because: why, for the history.
        cache: for a copy of bundles that lie elsewhere.

    Raises:
        BundleError: nothing to go back to, no such bundle, or it is damaged. Nothing has changed then.
    """
    try:
        now = target.current()
    except BundleError:
        if to is None:
            raise
        now = "none"  # what says which one is current was lost: this puts it back
    if now is None:
        raise BundleError(f"{target} has no current bundle: nothing was accepted yet")
    wanted = to or previous(target, cache)
    there = target.bundles()
    if wanted is None:
        others = [name for name in there if name != now]
        hint = f"; with --to: {', '.join(others)}" if others else ""
        raise BundleError(f"{target}: {now} is the first bundle, it replaced none{hint}")
    if wanted not in there:
        raise BundleError(f"{target} has no bundle {wanted}; it has: {', '.join(there)}")
    if wanted == now:
        raise BundleError(f"{wanted} is the current bundle already")
    verify(target.local(wanted, cache))
    target.point(wanted)
    target.note({"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "decision": "rolled back", "from": now, "to": wanted,
                 "because": because})  # fmt: skip
    return now, wanted


def describe(target: Target) -> Iterator[str]:
    """Yield one line per bundle, the current one marked with `*`, then one line per decision."""
    now = target.current()
    for name in target.bundles():
        yield f"{'*' if name == now else ' '} {name}"
    for line in target.history():
        reason = "; ".join(line.get("reasons", [])) or line.get("because", "")
        shown = f" ({reason})" if reason else ""
        yield f"{line['time']} {line['decision']}: {line.get('challenger') or line.get('to')}{shown}"
