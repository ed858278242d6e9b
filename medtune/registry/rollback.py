"""Return from the current accepted bundle to an earlier one."""

import time
from collections.abc import Iterator
from pathlib import Path

from medtune.registry.store import ModelStore, previous_bundle
from medtune.registry.store_layout import verify_bundle
from medtune.serving.manifest import BundleError


def rollback(store: ModelStore, to: str | None, reason: str, cache: Path) -> tuple[str, str]:
    """The bundle that was current, and the one that now is.

    Args:
        store: where the bundles lie.
        to: id of the bundle to go back to; None: the one that the current one replaced.
        reason: why, for the history.
        cache: for a copy of bundles that lie elsewhere.

    Raises:
        BundleError: nothing to go back to, no such bundle, or it is damaged. Nothing has changed then.
    """
    try:
        now = store.current()
    except BundleError:
        if to is None:
            raise
        now = "none"  # what says which one is current was lost: this puts it back
    if now is None:
        raise BundleError(f"{store} has no current bundle: nothing was accepted yet")
    requested = to or previous_bundle(store, cache)
    available = store.bundles()
    if requested is None:
        others = [name for name in available if name != now]
        hint = f"; with --to: {', '.join(others)}" if others else ""
        raise BundleError(f"{store}: {now} is the first bundle, it replaced none{hint}")
    if requested not in available:
        raise BundleError(f"{store} has no bundle {requested}; it has: {', '.join(available)}")
    if requested == now:
        raise BundleError(f"{requested} is the current bundle already")
    verify_bundle(store.fetch(requested, cache))
    store.set_current(requested)
    store.append_history(
        {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "decision": "rolled back",
            "from": now,
            "to": requested,
            "because": reason,
        }
    )
    return now, requested


def describe(store: ModelStore) -> Iterator[str]:
    """Yield one line per bundle, the current one marked with `*`, then one line per decision."""
    now = store.current()
    for name in store.bundles():
        yield f"{'*' if name == now else ' '} {name}"
    for line in store.history():
        reason = "; ".join(line.get("reasons", [])) or line.get("because", "")
        shown = f" ({reason})" if reason else ""
        yield f"{line['time']} {line['decision']}: {line.get('challenger') or line.get('to')}{shown}"
