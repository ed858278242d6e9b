"""`medtune train`: the training pipeline."""

from medtune.cli import options

app = options.program()


@app.command(
    epilog=options.examples(
        "medtune train",
        "medtune train --set model.head.kind=linear --set finetune.epochs=3",
        "medtune train --params my.yaml --out /tmp/mine --no-prefect",
    )
)
def train(
    params: options.ParamsFile = None,
    overrides: options.Overrides = None,
    out: options.Out = None,
    prefect: options.WithPrefect = True,
) -> None:
    """Train, evaluate and export; finished steps are reused.

    Needs data/prepared, which `medtune data` makes. Exits 0 when every step is done, 1 if a step failed (its
    traceback is in the log file that the error names), 2 if the input is wrong.
    """
    from medtune.config.load import load
    from medtune.flows.train import train as run
    from medtune.runtime.paths import Paths

    run(load(params, overrides or ()), Paths.at(out), prefect)
