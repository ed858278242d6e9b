"""Runs that fail on the way, by whichever command: exit code 1, and a line that names the step and why."""

from collections.abc import Iterator
from pathlib import Path

from torture.wrong.expected_errors import Case

DIVERGES = 1.0e30


def runs(small: Path) -> Iterator[Case]:
    """Losses that are not finite, in this process; then a sample of mistakes of all kinds in processes of their own."""
    words: tuple[str, ...]
    nan = ("the loss is", ".lr below ")
    for stage in ("frozen", "finetune"):
        words = ("--params", str(small), "--set", f"{stage}.lr={DIVERGES}", "--set", f"{stage}.clip_norm=null")
        for command, more in (("train", ("--no-prefect",)), (f"stage {stage}", ())):
            says = (f"{stage} fold 0", *nan)
            yield Case(f"{command}: {stage} diverges", command, (*more, *words), says, code=1)
    words = ("--params", str(small))
    prefect = ("--set", f"finetune.lr={DIVERGES}", "--set", "finetune.clip_norm=null")
    for case in (
        Case("Prefect: finetune diverges", "train", (*words, *prefect), ("finetune fold 0", *nan), code=1),
        Case("a process: NaN in stage 1", "stage frozen", (*words, "--set", f"frozen.lr={DIVERGES}"),
             ("frozen fold 0", *nan), code=1),
        Case("a process: unknown key", "train", ("--set", "frozen.epoch=3"), ("frozen.epoch", "'epochs'")),
        Case("a process: unknown method", "stage finetune", ("--set", "model.peft.method=lorra"), ("=lorra",)),
        Case("a process: unknown backbone", "train", (*words, "--set", "model.backbone=nonesuch", "--set",
             "model.weights=none"), ("nonesuch",)),
        Case("a process: image size", "train", (*words, "--set", "model.backbone=deit_tiny_patch16_224", "--set",
             "model.weights=none", "--set", "model.backbone_args={}"), ("data.image_size is 32", "224")),
        Case("a process: class weight", "stage frozen", (*words, "--set", "frozen.class_weights={x: 1}"), ("'x'",)),
        Case("a process: no bundle", "predict", ("/nonesuch", "/nonesuch"), ("/nonesuch",)),
        Case("a process: grid", "benchmark", ("--set", "benchmark.percent=[0]"), ("benchmark.percent",)),
        Case("a process: remote", "remote", ("nonesuch://x/y",), ("nonesuch",)),
    ):  # fmt: skip
        yield Case(case.name, case.command, case.words, case.says, case.code, own_process=True)
