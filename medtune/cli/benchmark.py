"""`medtune benchmark`: compare methods."""

from pathlib import Path
from typing import Annotated

import typer

from medtune.cli import options

app = options.program()


@app.command(
    epilog=options.examples(
        "medtune benchmark",
        "medtune benchmark --only method=linear,lora --max-trials 4",
        "medtune benchmark --grid recipes/benchmark-pneumoniamnist.yaml --out /tmp/pneumonia",
    )
)
def benchmark(
    grid_file: Annotated[
        Path | None, typer.Option("--grid", metavar="FILE", help="Grid file; default: the project's benchmark.yaml.")
    ] = None,
    overrides: options.Overrides = None,
    out: options.Out = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUE[,VALUE]",
            help="Compute only trials with this data, backbone, method, percent or seed; may be repeated.",
        ),
    ] = None,
    max_trials: Annotated[int | None, typer.Option(min=0, help="Largest number of trials to compute now.")] = None,
    resume: Annotated[bool, typer.Option("--resume/--fresh", help="Keep finished trials, or compute again.")] = True,
    prefect: options.WithPrefect = True,
) -> None:
    """Compare methods on the grid of benchmark.yaml.

    Writes results.csv and report.html to artifacts/benchmark. Exits 0 if nothing failed (trials left out by --only
    and --max-trials are pending), 1 if a trial failed after its retries, 2 if the input is wrong.
    """
    from medtune.flows.benchmark import benchmark as run

    run(grid_file, overrides, out, only, max_trials, resume, prefect)
