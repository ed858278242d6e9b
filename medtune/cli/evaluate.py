"""`medtune evaluate`: evaluate the trained folds."""

from medtune.cli import options
from medtune.cli.json_output import print_json, progress_on_stderr

app = options.program()


@app.command(epilog=options.examples("medtune evaluate", "medtune evaluate --set evaluate.bootstrap=5000 --json"))
def evaluate(
    params: options.ParamsFile = None,
    overrides: options.Overrides = None,
    out: options.Out = None,
    as_json: options.AsJson = False,
) -> None:
    """Evaluate the trained folds on their test images.

    Writes metrics.json, predictions, plots and report.html to artifacts/evaluate.
    """
    import json

    from medtune.config.load import load
    from medtune.runtime.console import info
    from medtune.runtime.lock import output_lock
    from medtune.runtime.paths import RunPaths
    from medtune.stages import evaluate as stage

    read, paths = load(params, overrides or ()), RunPaths.from_env(out)
    with progress_on_stderr(as_json), output_lock(paths):
        done = stage.run(read, paths)
        info(f"evaluate: {done.path}")
    if as_json:
        print_json(json.loads((done.folder / "metrics.json").read_text(encoding="utf-8")))
