"""Command `medtune status`."""

from typing import Any

from medtune.cli import options
from medtune.cli.json_output import print_json

app = options.program()


@app.command(
    epilog=options.examples("medtune status", "medtune status --set finetune.epochs=20", "medtune status --json")
)
def status(
    params: options.ParamsFile = None,
    overrides: options.Overrides = None,
    out: options.Out = None,
    as_json: options.AsJson = False,
) -> None:
    """Show which steps are finished and which would run.

    A step is one stage of `medtune train` for one fold.
    The command states why a step would run, for example changed params.
    It does not look for new or changed image files, as `medtune data` does.
    """
    from medtune.cli import steps
    from medtune.config.load import load
    from medtune.config.project import PROJECT
    from medtune.runtime.paths import RunPaths

    loaded, paths = load(params, overrides or ()), RunPaths.from_env(out)
    statuses = steps.report(loaded, paths)
    accepted, services = _accepted(loaded.handoff.target), _services(paths)
    if as_json:
        print_json({"project": PROJECT, "steps": [step._asdict() for step in statuses], "accepted": accepted,
                    "services": services})  # fmt: skip
        return
    lines = [
        ("project", str(PROJECT)),
        *((step.name, step.reason) for step in statuses),
        ("accepted model", accepted["note"]),
    ]
    lines += [(name, f"runs (process {pid})" if pid else "not running") for name, pid in services.items()]
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        print(f"{name:<{width}}  {text}")


def _accepted(target: str) -> dict[str, Any]:
    """Return the current accepted bundle. A remote target is not contacted."""
    from medtune.config.project import PROJECT
    from medtune.registry.store import open_store
    from medtune.serving.manifest import BundleError

    if "://" in target:
        note = f"not checked, because {target} is remote. `medtune rollback --list` shows it"
        return {"target": target, "current": None, "note": note}
    try:
        current = open_store(target, PROJECT).current()
    except BundleError as error:
        return {"target": target, "current": None, "note": str(error)}
    note = current or "none yet. `medtune retrain` accepts its first model"
    return {"target": target, "current": current, "note": note}


def _services(paths: Any) -> dict[str, int | None]:
    """Return the process id by Prefect service; None if it does not run. Empty if Prefect is not installed."""
    import importlib.util

    if importlib.util.find_spec("prefect") is None:
        return {}
    from medtune.flows.service_address import service_daemons

    return {daemon.name: daemon.pid for daemon in service_daemons(paths.cache)}
