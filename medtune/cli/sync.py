"""Command `medtune sync`."""

from typing import Annotated

import typer

from medtune.cli import options

app = options.program()


@app.command(epilog=options.examples("medtune sync --dry-run", "medtune sync --prune"))
def sync(
    project: Annotated[str | None, typer.Option(help="W&B project. Default: the project in the run.")] = None,
    entity: Annotated[
        str | None, typer.Option(help="W&B team or user. Default: the one in the run, or the user of the API key.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs without uploading them.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune/--keep", help="Delete the local images and logs of uploaded runs.")
    ] = False,
) -> None:
    """Upload the W&B runs that were recorded offline.

    Exit codes: 0 all runs are uploaded, 1 an upload failed or the server
    does not respond, 2 no valid API key.
    """
    from medtune.tracking.sync import sync as run

    run(project, entity, dry_run, prune)
