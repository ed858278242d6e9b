"""`python -m benchmarks.startup`: compare the time of `dvc repro` without changes with that in an empty project.

MedTune's `dvc repro` runs in a copy of the checkout in which a tiny pipeline has finished. `python -X importtime` shows
which packages it imports.
"""

import re
from collections.abc import Callable
from statistics import median
from typing import Annotated

import typer

from benchmarks.checkout import Checkout, copied, empty
from benchmarks.results import Row, Save, finish
from benchmarks.timing import in_turns
from medtune.cli import program

HEAVY = {"torch", "timm", "prefect", "wandb", "onnxruntime"}
AT_MOST = 1.5
TINY = ("data.labels=binary", "data.image_size=32", "data.patients=20", "data.images_per_patient=2",
        "model.weights=none", "model.backbone_args={img_size: 32, depth: 1}", "model.head.kind=linear",
        "schedule=frozen", "frozen.epochs=1",
        "frozen.feature_views=1", "export.precisions=[fp32]", "export.parity_images=8",
        "export.batch_sizes=[1]", "tracking.mode=disabled")  # fmt: skip
# Runs medtune.stages.data directly, because `medtune data` also checks the network and imports torch.
PREPARE = "from medtune.config.load import load; from medtune.runtime.paths import RunPaths; "
PREPARE += "from medtune.stages import data; data.run(load(), RunPaths.from_env())"
SHORT = {
    "medtune.flows.train --help": (0, ["-m", "medtune", "train", "--help"]),
    "a mistake in params": (2, ["-m", "medtune", "train", "--set", "frozen.epoch=3"]),
    "medtune.flows.train, all cached, without Prefect": (0, ["-m", "medtune", "train", "--no-prefect"]),
}


def measure(rounds: int = 7) -> list[Row]:
    """Measure `dvc repro` in both projects alternately, and then the commands of `SHORT`.

    Args:
        rounds: alternating runs of `dvc repro`; medians are reported.

    Returns:
        One row per command.

    Raises:
        RuntimeError: a stage ran, a server was started, or a heavy package was imported.
    """
    with copied(TINY) as ours, empty() as theirs:
        ours.run("python", "-c", PREPARE)
        ours.run("python", "-m", "medtune", "train", "--no-prefect")
        ours.run("dvc", "commit", "--force", "dvc.yaml")  # records the finished runs as those of `dvc repro`
        calls: dict[str, Callable[[], object]] = {
            "ours": lambda: _nothing(ours),
            "theirs": lambda: _nothing(theirs),
        }
        taken = in_turns(calls, rounds)
        _light(ours, 0, ["-m", "dvc", "repro"])
        seconds = {what: _light(ours, code, words) for what, (code, words) in SHORT.items()}
        bare = median(theirs.run("python", "-c", "pass")[1] for _ in range(3))
        if (ours.folder / ".cache" / "prefect").exists():
            raise RuntimeError("a Prefect server was started")
    ratio = taken["ours"] / taken["theirs"]
    return [
        Row("dvc repro, nothing to do", taken["ours"], "s", "empty two-stage project", taken["theirs"], ratio,
            at_most=AT_MOST, note=f"{', '.join(sorted(HEAVY))} not imported, no server started"),
        *(Row(what, value, "s", "python alone", bare, note="nothing heavy imported")
          for what, value in seconds.items()),
    ]  # fmt: skip


def _nothing(project: Checkout) -> None:
    printed, _ = project.run("dvc", "repro")
    if "Data and pipelines are up to date" not in printed:
        raise RuntimeError(f"dvc repro had something to do:\n{printed}")


def _light(project: Checkout, code: int, words: list[str]) -> float:
    """Check that a command imports no package of `HEAVY`, run it again and return the seconds of the second run."""
    printed, _, ended = project.run_to_end("python", "-X", "importtime", *words)
    imported = set(re.findall(r"\| +(\w+)(?:\.\w+)*$", printed, re.MULTILINE))
    if ended != code or not imported:
        raise RuntimeError(f"{' '.join(words)} ended with {ended}:\n{printed[-2000:]}")
    if found := HEAVY & imported:
        raise RuntimeError(f"{' '.join(words)} imports {', '.join(sorted(found))}")
    return project.run_to_end("python", *words)[1]


def run(
    rounds: Annotated[int, typer.Option(min=1, help="Alternating runs of both; medians are reported.")] = 7,
    save: Save = False,
) -> None:
    """Compare the time of `dvc repro` without changes with that in an empty project."""
    finish("startup", measure(rounds), save)


if __name__ == "__main__":
    program.run(run)
