"""Rollback from the current accepted bundle to an earlier bundle."""

import time
from collections.abc import Iterator
from pathlib import Path

from medtune.registry.store import ModelStore, previous_bundle
from medtune.registry.store_layout import verify_bundle
from medtune.serving.manifest import BundleError


def rollback(store: ModelStore, to: str | None, reason: str, cache: Path) -> tuple[str, str]:
    """Make an earlier bundle the current bundle.

    Args:
        store: store of accepted bundles.
        to: id of the bundle to restore. None restores the bundle that the current one replaced.
        reason: reason for the history.
        cache: folder for copies of remote bundles.

    Returns:
        Ids of the previous and the new current bundle. The first is `none` if the pointer to the current bundle was
        lost.

    Raises:
        BundleError: there is no such bundle, or the bundle is damaged. The store is unchanged.
    """
    try:
        current = store.current()
    except BundleError:
        if to is None:
            raise
        current = "none"  # the pointer to the current bundle is lost, and `set_current` restores it
    if current is None:
        raise BundleError(f"{store}: no current bundle, because no bundle was accepted yet. Run `medtune retrain`")
    requested = to or previous_bundle(store, cache)
    available = store.bundles()
    if requested is None:
        others = [name for name in available if name != current]
        hint = f". Choose another one with --to: {', '.join(others)}" if others else ""
        raise BundleError(f"{store}: {current} is the first bundle, there is no earlier one{hint}")
    if requested not in available:
        fix = f"Choose one of: {', '.join(available)}" if available else "It has no bundles. Run `medtune retrain`"
        raise BundleError(f"{store}: no bundle {requested}. {fix}")
    if requested == current:
        raise BundleError(f"{requested}: it is the current bundle already. Choose another one")
    verify_bundle(store.fetch(requested, cache))
    store.set_current(requested)
    store.append_history(
        {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "decision": "rolled back",
            "from": current,
            "to": requested,
            "because": reason,
        }
    )
    return current, requested


def describe(store: ModelStore) -> Iterator[str]:
    """Yield one line per bundle, with `*` for the current bundle, and one line per decision."""
    current = store.current()
    for name in store.bundles():
        yield f"{'*' if name == current else ' '} {name}"
    for line in store.history():
        reason = "; ".join(line.get("reasons", [])) or line.get("because", "")
        shown = f" ({reason})" if reason else ""
        yield f"{line['time']} {line['decision']}: {line.get('challenger') or line.get('to')}{shown}"
