"""Ways to change a checkout that change no result, and ways that do, with the steps that each must run."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DVC = ("dvc", "repro")
FLOW = ("python", "-m", "medtune", "train")
ALL = ("data", "frozen", "finetune", "evaluate", "export")
# What another machine, or another user of this one, may have set.
ELSEWHERE = ("env", "PYTHONHASHSEED=7", "TZ=Pacific/Chatham", "LC_ALL=C", "OMP_NUM_THREADS=2", "COLUMNS=40")


@dataclass(frozen=True)
class Mutation:
    """One change.

    Attributes:
        name: what it is.
        make: makes it in the checkout's folder.
        words: the command that is run after it.
        runs: steps that must run, and no others; empty: what is changed changes no result.
    """

    name: str
    make: Callable[[Path], None]
    words: tuple[str, ...] = DVC
    runs: tuple[str, ...] = ()


def nothing(folder: Path) -> None:
    """Leaves everything."""


def touch(folder: Path) -> None:
    """Gives every file another time."""
    for path in folder.rglob("*"):
        if path.is_file() and ".git" not in path.parts and ".dvc" not in path.parts:
            os.utime(path, (1_700_000_000, 1_700_000_000))


def comment(*names: str) -> Callable[[Path], None]:
    """A comment, a blank line and a longer docstring in source files."""

    def make(folder: Path) -> None:
        for name in names:
            path = folder / name
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace('"""', '"""Or: ', 1) + "\n\n# A thought.\n", encoding="utf-8")

    return make


def code(*names: str) -> Callable[[Path], None]:
    """A statement in source files."""

    def make(folder: Path) -> None:
        for name in names:
            with (folder / name).open("a", encoding="utf-8") as stream:
                stream.write("\nTHOUGHT = 1\n")

    return make


def params(old: str, new: str) -> Callable[[Path], None]:
    """Another value in params.yaml, by the pattern of its line."""

    def make(folder: Path) -> None:
        path = folder / "params.yaml"
        text, count = re.subn(rf"(?m)^{old}", new, path.read_text(encoding="utf-8"), count=1)
        assert count == 1, f"params.yaml has no line {old}"
        path.write_text(text, encoding="utf-8")

    return make


def reorder(folder: Path) -> None:
    """The sections of params.yaml the other way round, with a comment."""
    path = folder / "params.yaml"
    parts = re.split(r"(?m)^(?=\w+:)", path.read_text(encoding="utf-8"))
    path.write_text("# Other order.\n" + "\n".join(reversed(parts[1:])), encoding="utf-8")


def gone(*names: str) -> Callable[[Path], None]:
    """Folders deleted."""

    def make(folder: Path) -> None:
        for name in names:
            shutil.rmtree(folder / name)

    return make


def flipped(name: str) -> Callable[[Path], None]:
    """One bit in the middle of a file; DVC may have made it read-only."""

    def make(folder: Path) -> None:
        path = folder / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.unlink()
        path.write_bytes(content)

    return make


UNCHANGED = (
    Mutation("again", nothing),
    Mutation("again, the flow", nothing, FLOW),
    Mutation("again, the flow without Prefect", nothing, (*FLOW, "--no-prefect")),
    Mutation("again, the data stage", nothing, ("python", "-m", "medtune", "data")),
    Mutation("other times of all files", touch),
    Mutation("other hash seed, time zone, locale, threads", nothing, (*ELSEWHERE, *DVC)),
    Mutation("the same, the flow", nothing, (*ELSEWHERE, *FLOW, "--no-prefect")),
    Mutation("other umask", nothing, ("sh", "-c", "umask 077 && dvc repro")),
    Mutation("comments in what trains", comment("stages/frozen.py", "models/cdtm.py", "medtune/training/loop.py")),
    Mutation(
        "comments in evaluation and export", comment("medtune/tasks/classification/metrics.py", "stages/export.py")
    ),
    Mutation("code of a head and a method that are not chosen", code("models/heads/linear.py", "models/peft/lora.py")),
    Mutation("code that only watches", code("medtune/tracking/run.py", "medtune/runtime/logfile.py")),
    Mutation("other order in params.yaml", reorder),
    Mutation("another gate and target", params("  max_confidence_gap: .*", "  max_confidence_gap: 0.3")),
    Mutation("another W&B project", params("  project: .*", "  project: other")),
    Mutation("checkpoints less often", params("finetune: .*\n", "finetune:\n  checkpoint_seconds: 77\n")),
    Mutation("prepared data deleted", gone("data/prepared")),
    Mutation(
        "outputs deleted and fetched", gone("artifacts", "data/prepared"), ("sh", "-c", "dvc checkout && dvc repro")
    ),
    Mutation("Prefect's database deleted", gone(".cache/prefect"), FLOW),
    Mutation("the whole cache deleted", gone(".cache")),
)

CHANGED = (
    Mutation(
        "evaluate.calibration",
        params("  calibration: .*", "  calibration: none"),
        runs=("evaluate", "export"),
    ),
    Mutation(
        "finetune.lr", params("  lr: .*{method: number}", "  lr: 4.0e-5"), runs=("finetune", "evaluate", "export")
    ),
    Mutation("frozen.lr", params("  lr: .*{head: number}", "  lr: 4.0e-4"), runs=ALL[1:]),
    Mutation("seed", params("seed: 1", "seed: 2"), runs=ALL[1:]),
    Mutation(
        "data.split.test_fold", params("    test_fold: 1", "    test_fold: 2"), runs=("data", "evaluate", "export")
    ),
    Mutation("code of the head", code("models/heads/cdtm.py"), runs=ALL[1:]),
    Mutation("code of evaluation", code("medtune/tasks/classification/calibration.py"), runs=("evaluate", "export")),
    # DVC deletes what this stage made before it runs the command again; what comes out is the same.
    Mutation("comments in what reads images", comment("medtune/data/packing.py", "stages/data.py"), runs=("data",)),
    Mutation(
        "a bit of stage 1's weights", flipped("artifacts/frozen/fold-1/model.safetensors"), FLOW, runs=("frozen",)
    ),
    Mutation("a bit of the bundle", flipped("artifacts/export/model.onnx"), FLOW, runs=("export",)),
    Mutation("evaluation deleted", gone("artifacts/evaluate"), FLOW, runs=("evaluate",)),
)
