"""`medtune doctor`: check the machine before a run."""

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
    offline: Annotated[bool, typer.Option("--offline", help="Contact no other machine.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Measure nothing: no estimate of the time.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Check this machine for the run that the params describe.

    Prints one line per check, and what to do if it is not ok. Changes nothing: probe files are deleted again. Exits 2
    if a check fails.
    """
    from medtune.config.load import load
    from medtune.doctor.check_result import Context
    from medtune.doctor.run import run_checks
    from medtune.runtime.console import info
    from medtune.runtime.paths import RunPaths

    context = Context(load(params, overrides or ()), RunPaths.from_env(out), offline, quick)
    counts, checks = {"ok": 0, "warning": 0, "wrong": 0}, []
    with progress_on_stderr(as_json):
        for finding in run_checks(context):
            counts[finding.state] += 1
            checks.append(
                {"check": finding.label, "state": finding.state, "found": finding.message, "todo": finding.fix}
            )
            todo = f" -> {finding.fix}" if finding.fix else ""
            info(f"{finding.state:<8} {finding.label:<21} {finding.message}{todo}".replace("\n", " "))
        info(f"{counts['ok']} ok, {counts['warning']} warnings, {counts['wrong']} wrong")
    if as_json:
        print_json({"checks": checks, **counts})
    if counts["wrong"]:
        raise typer.Exit(2)
