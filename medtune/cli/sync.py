"""`medtune sync`: upload offline W&B runs."""

from typing import Annotated

import typer

from medtune.cli import options

app = options.program()


@app.command(epilog=options.examples("medtune sync --dry-run", "medtune sync --prune"))
def sync(
    project: Annotated[str | None, typer.Option(help="W&B project; default: the one recorded in each run.")] = None,
    entity: Annotated[str | None, typer.Option(help="Team or user; default: as recorded, else the key's own.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be uploaded; upload nothing.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune/--keep", help="Remove the images and logs of runs that are uploaded.")
    ] = False,
) -> None:
    """Upload the W&B runs that were recorded offline.

    Exits 0 when everything is uploaded, 1 if a run could not be or the server does not answer, 2 without a valid key.
    """
    from medtune.tracking.sync import sync as run

    run(project, entity, dry_run, prune)
