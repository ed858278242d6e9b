"""`python -m medtune.registry.rollback TARGET`: makes the bundle before the current one current again.

Exit code 0: done; 2: there is nothing to go back to, or the bundle there is damaged.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from medtune.registry.store import Target, open_target, previous
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


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(
        "python -m medtune.registry.rollback", description="Make the bundle before the current one current again."
    )
    parser.add_argument("target", help="handoff.target of params.yaml: a folder or a URL")
    parser.add_argument("--to", metavar="ID", help="this bundle instead (--list names them)")
    parser.add_argument("--because", default="", metavar="TEXT", help="why, for the history")
    parser.add_argument("--list", action="store_true", help="name the bundles and the decisions, change nothing")
    args = parser.parse_args(argv)
    try:
        target = open_target(args.target, Path.cwd())
        if args.list:
            _tell(target)
            return 0
        with tempfile.TemporaryDirectory(prefix="medtune-") as cache:
            before, after = rollback(target, args.to, args.because, Path(cache))
    except BundleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"current: {after} (was {before})")
    return 0


def _tell(target: Target) -> None:
    now = target.current()
    for name in target.bundles():
        print(f"{'*' if name == now else ' '} {name}")
    for line in target.history():
        said = "; ".join(line.get("reasons", [])) or line.get("because", "")
        print(f"{line['time']} {line['decision']}: {line.get('challenger') or line.get('to')}{said and f' ({said})'}")


if __name__ == "__main__":
    sys.exit(main())
