"""`python -m benchmarks.startup`: compare the time of `dvc repro` without changes in MedTune and in an empty project.

MedTune's `dvc repro` runs in a copy of the checkout in which a tiny pipeline has finished. `python -X importtime` shows
which packages a command imports.
"""

import re
from collections.abc import Callable
from statistics import median
from typing import Annotated

import typer

from benchmarks.checkout import Checkout, copied_checkout, two_stage_project
from benchmarks.results import Row, Save, finish
from benchmarks.timing import time_alternately
from medtune.cli import program

HEAVY_PACKAGES = {"torch", "timm", "prefect", "wandb", "onnxruntime"}
MAX_RATIO = 1.5
TINY = ("data.labels=binary", "data.image_size=32", "data.patients=20", "data.images_per_patient=2",
        "model.weights=none", "model.backbone_args={img_size: 32, depth: 1}", "model.head.kind=linear",
        "schedule=frozen", "frozen.epochs=1",
        "frozen.feature_views=1", "export.precisions=[fp32]", "export.parity_images=8",
        "export.batch_sizes=[1]", "tracking.mode=disabled")  # fmt: skip
# Runs medtune.stages.data directly, because `medtune data` also checks the network and imports torch.
PREPARE_DATA = "from medtune.config.load import load; from medtune.runtime.paths import RunPaths; "
PREPARE_DATA += "from medtune.stages import data; data.run(load(), RunPaths.from_env())"
# Exit code and arguments by name of the measurement.
COMMANDS = {
    "medtune train --help": (0, ["-m", "medtune", "train", "--help"]),
    "medtune train with an unknown parameter": (2, ["-m", "medtune", "train", "--set", "frozen.epoch=3"]),
    "medtune train --no-prefect, all steps cached": (0, ["-m", "medtune", "train", "--no-prefect"]),
}


def measure(rounds: int = 7) -> list[Row]:
    """Measure `dvc repro` in MedTune and in an empty project alternately, and then the commands in `COMMANDS`.

    Args:
        rounds: alternating runs of `dvc repro`; medians are reported.

    Returns:
        One row per command.

    Raises:
        RuntimeError: a stage ran, a server was started, or a heavy package was imported.
    """
    with copied_checkout(TINY) as medtune_project, two_stage_project() as empty_project:
        medtune_project.run("python", "-c", PREPARE_DATA)
        medtune_project.run("python", "-m", "medtune", "train", "--no-prefect")
        medtune_project.run("dvc", "commit", "--force", "dvc.yaml")  # records the finished runs as those of `dvc repro`
        calls: dict[str, Callable[[], object]] = {
            "MedTune": lambda: _repro_without_changes(medtune_project),
            "empty project": lambda: _repro_without_changes(empty_project),
        }
        durations = time_alternately(calls, rounds)
        _time_light_command(medtune_project, 0, ["-m", "dvc", "repro"])
        seconds = {
            name: _time_light_command(medtune_project, code, arguments) for name, (code, arguments) in COMMANDS.items()
        }
        python_seconds = median(empty_project.run("python", "-c", "pass")[1] for _ in range(3))
        if (medtune_project.folder / ".cache" / "prefect").exists():
            raise RuntimeError("a Prefect server was started")
    medtune_seconds, empty_seconds = durations["MedTune"], durations["empty project"]
    return [
        Row("dvc repro without changes", medtune_seconds, "s", "empty two-stage project", empty_seconds,
            medtune_seconds / empty_seconds, at_most=MAX_RATIO,
            note=f"{', '.join(sorted(HEAVY_PACKAGES))} not imported, no server started"),
        *(Row(name, value, "s", "python -c pass", python_seconds, note="no heavy package imported")
          for name, value in seconds.items()),
    ]  # fmt: skip


def _repro_without_changes(project: Checkout) -> None:
    """Run `dvc repro`; raise RuntimeError if it runs a stage."""
    output, _ = project.run("dvc", "repro")
    if "Data and pipelines are up to date" not in output:
        raise RuntimeError(f"dvc repro ran a stage:\n{output}")


def _time_light_command(project: Checkout, code: int, arguments: list[str]) -> float:
    """Check that a command imports no heavy package, and return the seconds of a second run."""
    output, _, exit_code = project.run_unchecked("python", "-X", "importtime", *arguments)
    imported = set(re.findall(r"\| +(\w+)(?:\.\w+)*$", output, re.MULTILINE))
    if exit_code != code or not imported:
        raise RuntimeError(f"{' '.join(arguments)} exited with code {exit_code}:\n{output[-2000:]}")
    if heavy := HEAVY_PACKAGES & imported:
        raise RuntimeError(f"{' '.join(arguments)} imports {', '.join(sorted(heavy))}")
    return project.run_unchecked("python", *arguments)[1]


def run(
    rounds: Annotated[int, typer.Option(min=1, help="Alternating runs of both; medians are reported.")] = 7,
    save: Save = False,
) -> None:
    """Compare the time of `dvc repro` without changes with that in an empty project."""
    finish("startup", measure(rounds), save)


if __name__ == "__main__":
    program.run(run)
