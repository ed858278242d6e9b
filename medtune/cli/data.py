"""Command `medtune data`."""

from medtune.cli import options
from medtune.cli.json_output import print_json, progress_on_stderr

app = options.program()


@app.command(
    epilog=options.examples(
        "medtune data",
        "medtune data --set data.source=folder --set data.root=/path/to/images --set data.csv=labels.csv "
        "--set data.positive=malignant",
        "medtune data --json",
    )
)
def data(
    params: options.ParamsFile = None,
    overrides: options.Overrides = None,
    out: options.Out = None,
    as_json: options.AsJson = False,
) -> None:
    """Prepare the images or volumes for training: find, check, split and convert them.

    The result is written to data/prepared.
    The section data of params.yaml selects the files and the split into
    training, validation and test patients.
    The result is reused if the params, the code and the files are unchanged.
    """
    import json

    from medtune.config.load import load
    from medtune.runtime.lock import output_lock
    from medtune.runtime.paths import RunPaths
    from medtune.stages import data as stage
    from medtune.stages.preflight import check_model

    loaded, paths = load(params, overrides or ()), RunPaths.from_env(out)
    with progress_on_stderr(as_json), output_lock(paths):
        artifact = stage.run(loaded, paths, lambda: check_model(loaded, paths))
    if as_json:
        report = json.loads((artifact.folder / "report.json").read_text(encoding="utf-8"))
        print_json({"path": artifact.path, **report})
