"""Command `medtune export`."""

from medtune.cli import options

app = options.program()


@app.command(epilog=options.examples("medtune export", "medtune export --set 'export.precisions=[fp32, int8]'"))
def export(params: options.ParamsFile = None, overrides: options.Overrides = None, out: options.Out = None) -> None:
    """Export the trained networks as an ONNX bundle.

    The bundle in artifacts/export contains the model, its preprocessing and
    its metrics. Each precision (fp32, fp16, int8) is compared with the
    trained networks. A precision that differs too much is omitted, and
    bundle.json states the reason.
    """
    from medtune.config.load import load
    from medtune.runtime.console import info
    from medtune.runtime.lock import output_lock
    from medtune.runtime.paths import RunPaths
    from medtune.stages import export as stage

    loaded, paths = load(params, overrides or ()), RunPaths.from_env(out)
    with output_lock(paths):
        info(f"export: {stage.run(loaded, paths).path}")
