"""`medtune export`: the ONNX bundle."""

from medtune.cli import options

app = options.program()


@app.command(epilog=options.examples("medtune export", "medtune export --set 'export.precisions=[fp32, int8]'"))
def export(params: options.ParamsFile = None, overrides: options.Overrides = None, out: options.Out = None) -> None:
    """Export the best fold's network as an ONNX bundle.

    Writes artifacts/export. A precision that differs too much from the network is left out, and bundle.json says why.
    """
    from medtune.config.errors import InputError
    from medtune.config.load import load
    from medtune.runtime.artifact import find
    from medtune.runtime.console import say
    from medtune.runtime.lock import holding
    from medtune.runtime.paths import Paths
    from medtune.stages import evaluate
    from medtune.stages import export as stage
    from medtune.stages.preflight import ready

    read, paths = load(params, overrides or ()), Paths.at(out)
    with holding(paths):
        prepared = ready(read, paths)
        trained = evaluate.find_trained(read, paths, prepared)
        evaluated = find(paths.stage("evaluate"), evaluate.key(read, prepared, trained))
        if evaluated is None:
            raise InputError("artifacts/evaluate: these networks are not evaluated. Run `medtune evaluate` first")
        done = stage.run(read, paths, evaluated, trained, stage.key(read, evaluated, trained), "by-hand")
        say(f"export: {done.path}")
