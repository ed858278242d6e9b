"""Command `medtune dashboard`."""

from pathlib import Path
from typing import Annotated

import typer

from medtune.cli import options

app = options.program()


@app.command(epilog=options.examples("medtune dashboard", "medtune dashboard --out view.json"))
def dashboard(
    project: Annotated[str | None, typer.Option(help="W&B project. Default: the param tracking.project.")] = None,
    entity: Annotated[
        str | None,
        typer.Option(help="W&B team or user. Default: the param tracking.entity, or the user of the API key."),
    ] = None,
    update: Annotated[
        str | None, typer.Option(metavar="URL", help="Saved view to replace. Default: create a view.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the definition of the view to FILE.")
    ] = None,
) -> None:
    """Save a W&B view that shows the runs of the project.

    A view is a page of plots on the W&B server.
    Without WANDB_API_KEY, the definition of the view is written to a file.

    Exit codes: 0 success, 1 the server does not respond or rejects the
    view, 2 the server rejects the API key.
    """
    from medtune.tracking.workspace import save

    save(project, entity, update, out)
