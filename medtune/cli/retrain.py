"""Command `medtune retrain`."""

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
        typer.Option(metavar="REASON", help="Publish the new model even if it is not better. The reason is recorded."),
    ] = None,
) -> None:
    """Fetch new data, train, and publish the model if it is better.

    The new model is compared with the accepted model on test patients.
    The accepted model stays in use until a better model is published.

    Exit codes: 0 success (also if the new model is rejected or nothing
    changed), 1 a step failed, 2 invalid input.
    """
    from medtune.flows.retrain import retrain as run

    run(prefect, accept)
