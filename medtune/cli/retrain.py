"""`medtune retrain`: one scheduled or manual retraining."""

from typing import Annotated

import typer

from medtune.cli import options

app = options.program()


@app.command(
    epilog=options.examples(
        "medtune retrain", 'medtune retrain --accept "pathologist corrected 12 labels, see ticket 41"'
    )
)
def retrain(
    prefect: options.WithPrefect = True,
    accept: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Publish even what the gate rejects; the reason is recorded."),
    ] = None,
) -> None:
    """Fetch new data, train, and publish the model if it is better.

    Exits 0 when it is done (also if the new model was rejected or nothing had changed), 1 if a step failed, 2 if the
    input is wrong. The accepted model stays until a better one is complete.
    """
    from medtune.flows.retrain import retrain as run

    run(prefect, accept)
