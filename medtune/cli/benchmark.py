"""Command `medtune benchmark`."""

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
        Path | None,
        typer.Option("--grid", metavar="FILE", help="File with the grid. Default: benchmark.yaml of the project."),
    ] = None,
    overrides: options.Overrides = None,
    out: options.Out = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUE[,VALUE]",
            help="Run only trials whose FIELD has one of the values. FIELD is data, backbone, method, percent or seed. "
            "Repeatable.",
        ),
    ] = None,
    max_trials: Annotated[int | None, typer.Option(min=0, help="Maximum number of trials to run now.")] = None,
    resume: Annotated[bool, typer.Option("--resume/--fresh", help="Reuse finished trials, or run them again.")] = True,
    prefect: options.WithPrefect = True,
) -> None:
    """Train and compare the methods in benchmark.yaml.

    The grid lists data, backbones, methods, percentages of the training
    patients, and seeds. A trial trains and tests one combination.
    The command writes results.csv and report.html to artifacts/benchmark.
    Trials that --only or --max-trials exclude run in a later call.

    Exit codes: 0 no trial failed, 1 a trial failed after its retries,
    2 invalid input.
    """
    from medtune.flows.benchmark import benchmark as run

    run(grid_file, overrides, out, only, max_trials, resume, prefect)
