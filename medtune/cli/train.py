"""Command `medtune train`."""

from medtune.cli import options
from medtune.cli.json_output import print_json, progress_on_stderr

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
    as_json: options.AsJson = False,
) -> None:
    """Train, evaluate and export. Finished steps are reused.

    Run `medtune data` first, which prepares the images.
    The results are in artifacts: the report in evaluate, the bundle in export.

    Exit codes: 0 success, 1 a step failed (the error message names the log
    file), 2 invalid input.
    """
    import json

    from medtune.config.load import load
    from medtune.flows.train import train as run
    from medtune.runtime.paths import RunPaths

    paths = RunPaths.from_env(out)
    with progress_on_stderr(as_json):
        results = run(load(params, overrides or ()), paths, prefect)
    if as_json:
        steps = [{"name": result.step.name, "cached": result.cached, "seconds": round(result.seconds, 3),
                  "path": result.artifact.path} for result in results]  # fmt: skip
        metrics = json.loads((paths.stage("evaluate") / "metrics.json").read_text(encoding="utf-8"))
        print_json({"steps": steps, "metrics": metrics})
