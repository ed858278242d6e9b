"""`medtune rollback`: return to an earlier accepted bundle."""

from typing import Annotated

import typer

from medtune.cli import options

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
        str | None, typer.Argument(help="Folder or URL of the accepted bundles; default: handoff.target of the params.")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="ID", help="Bundle to return to; default: the previous.")] = None,
    because: Annotated[str, typer.Option(metavar="TEXT", help="Reason, for the history.")] = "",
    list_only: Annotated[bool, typer.Option("--list", help="List the bundles and decisions; change nothing.")] = False,
) -> None:
    """Make an earlier accepted bundle the current one.

    Exits 2 if there is no earlier bundle or it is damaged; nothing has changed then.
    """
    import tempfile
    from pathlib import Path

    from medtune.config.errors import InputError
    from medtune.registry import rollback as registry
    from medtune.registry.store import open_store
    from medtune.serving.manifest import BundleError

    try:
        store = open_store(target, Path.cwd()) if target else _store_of_params()
        if list_only:
            for line in registry.describe(store):
                print(line)
            return
        with tempfile.TemporaryDirectory(prefix="medtune-") as cache:
            before, after = registry.rollback(store, to, because, Path(cache))
    except BundleError as error:
        raise InputError(str(error)) from error
    print(f"current: {after} (was {before})")


def _store_of_params():  # type: ignore[no-untyped-def]
    from medtune.config.load import load
    from medtune.config.project import PROJECT
    from medtune.registry.store import open_store

    return open_store(load().handoff.target, PROJECT)
