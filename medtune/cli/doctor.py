"""Command `medtune doctor`."""

from typing import Annotated

import typer

from medtune.cli import options
from medtune.cli.json_output import print_json, progress_on_stderr

app = options.program()


@app.command(epilog=options.examples("medtune doctor", "medtune doctor --quick --offline", "medtune doctor --json"))
def doctor(
    params: options.ParamsFile = None,
    overrides: options.Overrides = None,
    out: options.Out = None,
    offline: Annotated[bool, typer.Option("--offline", help="Skip checks that contact other machines.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Skip the time estimate, which needs measurements.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Check that this machine can run the pipeline with these params.

    The command prints one line per check, with a fix if there is a problem.
    It creates temporary files only.

    Exit codes: 0 no check failed, 2 a check failed.
    """
    import sys

    from medtune.config.load import load
    from medtune.doctor.check_result import Context
    from medtune.doctor.run import run_checks
    from medtune.runtime.console import info
    from medtune.runtime.paths import RunPaths

    context = Context(load(params, overrides or ()), RunPaths.from_env(out), offline, quick)
    counts, checks = {"ok": 0, "warning": 0, "wrong": 0}, []
    with progress_on_stderr(as_json):
        for result in run_checks(context):
            counts[result.state] += 1
            checks.append({"check": result.label, "state": result.state, "found": result.message, "todo": result.fix})
            fix = f" -> {result.fix}" if result.fix else ""
            info(f"{result.state:<8} {result.label:<21} {result.message}{fix}".replace("\n", " "))
        info(f"{counts['ok']} ok, {counts['warning']} warnings, {counts['wrong']} wrong")
    if as_json:
        print_json({"checks": checks, **counts})
    if counts["wrong"]:
        sys.exit(2)
