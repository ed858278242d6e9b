"""Command `medtune rollback`."""

from typing import TYPE_CHECKING, Annotated

import typer

from medtune.cli import options
from medtune.cli.bundle_errors import as_input_errors

if TYPE_CHECKING:
    from medtune.registry.store import ModelStore

app = options.program()


@app.command(
    epilog=options.examples(
        "medtune rollback --list",
        'medtune rollback --because "too many false alarms in room 3"',
        "medtune rollback s3://hospital/models --to 20261122-1",
    )
)
def rollback(
    target: Annotated[
        str | None, typer.Argument(help="Folder or URL of the accepted bundles. Default: the param handoff.target.")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="ID", help="Bundle to restore. Default: the previous one.")] = None,
    because: Annotated[str, typer.Option(metavar="TEXT", help="Reason, recorded in the history.")] = "",
    list_only: Annotated[bool, typer.Option("--list", help="List bundles and decisions. Changes nothing.")] = False,
) -> None:
    """Replace the accepted model by an earlier accepted model.

    `medtune retrain` publishes accepted bundles. If there is no earlier
    bundle, or it is damaged, nothing changes and the exit code is 2.
    """
    import tempfile
    from pathlib import Path

    from medtune.registry import rollback as registry

    with as_input_errors():
        store = _store_at(target) if target else _store_of_params()
        if list_only:
            for line in registry.describe(store):
                print(line)
            return
        with tempfile.TemporaryDirectory(prefix="medtune-") as cache:
            before, after = registry.rollback(store, to, because, Path(cache))
    print(f"current: {after} (was {before})")


def _store_at(target: str) -> "ModelStore":
    from pathlib import Path

    from medtune.config.errors import InputError
    from medtune.registry.store import URL, open_store

    if not URL.match(target) and not Path(target).expanduser().is_dir():
        raise InputError(f"TARGET={target}: no such folder. Check the path")
    return open_store(target, Path.cwd(), "TARGET")


def _store_of_params() -> "ModelStore":
    from medtune.config.load import load
    from medtune.config.project import PROJECT
    from medtune.registry.store import open_store

    return open_store(load().handoff.target, PROJECT)
