"""`medtune export`: the ONNX bundle."""

from medtune.cli import options

app = options.program()


@app.command(epilog=options.examples("medtune export", "medtune export --set 'export.precisions=[fp32, int8]'"))
def export(params: options.ParamsFile = None, overrides: options.Overrides = None, out: options.Out = None) -> None:
    """Export the best fold's network as an ONNX bundle.

    Writes artifacts/export. A precision that differs too much from the network is left out, and bundle.json says why.
    """
    from medtune.config.load import load
    from medtune.runtime.console import info
    from medtune.runtime.lock import output_lock
    from medtune.runtime.paths import RunPaths
    from medtune.stages import export as stage

    read, paths = load(params, overrides or ()), RunPaths.from_env(out)
    with output_lock(paths):
        info(f"export: {stage.run(read, paths).path}")
