"""`medtune dashboard`: the W&B view."""

from pathlib import Path
from typing import Annotated

import typer

from medtune.cli import options

app = options.program()


@app.command(epilog=options.examples("medtune dashboard", "medtune dashboard --out view.json"))
def dashboard(
    project: Annotated[str | None, typer.Option(help="Default: tracking.project of the params.")] = None,
    entity: Annotated[str | None, typer.Option(help="Default: tracking.entity, else the key's own.")] = None,
    update: Annotated[
        str | None, typer.Option(metavar="URL", help="Replace this saved view; default: save a new one.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the definition to FILE too.")] = None,
) -> None:
    """Save the project's W&B view.

    Without WANDB_API_KEY its definition is written to a file. Exits 1 if the server does not answer or refuses the
    view, 2 if it does not know the key.
    """
    from medtune.tracking.workspace import save

    save(project, entity, update, out)
