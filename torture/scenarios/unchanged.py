"""What changes no result runs nothing: a copy of the checkout, real DVC, the real flow.

A step is executed where the flow says `running` of it, and the data stage where it decodes. DVC itself runs the
command of a stage again when a byte of its source changed; the command then finds every step done. What counts is
that no step is executed and that no output changes by a byte. The other way round, a change that does count runs
exactly the steps that it must, whichever they are.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torture import job
from torture.outcome import Outcome

NUMBER = 14
TITLE = "everything again, after changes that change no result, and after some that do"
TARGET = "0 stages executed, output hashes unchanged"
SETS = (
    "data.image_size=32", "data.patients=12", "data.images_per_patient=4", "data.split.folds=3",
    "model.backbone_args={img_size: 32}", "schedule=staged", "data.split.test_fold=1",
    "model.head={kind: cdtm, centers: 4}", "frozen.epochs=1", "frozen.feature_views=1",
    "finetune.epochs=1", "export.precisions=[fp32]", "export.parity_images=16",
    "tracking.mode=disabled",
)  # fmt: skip
KEPT = ("data/prepared", "artifacts")
PARTS = 3


def parts(full: bool) -> dict[str, dict[str, Any]]:
    """The ways, dealt to a few checkouts; the small form calls the stages in this process."""
    if not full:
        return {"stages": {}}
    every = {"unchanged": PARTS, "changed": PARTS}
    return {f"{kind}-{k}": {"kind": kind, "first": k} for kind, count in every.items() for k in range(count)}


def inject(folder: Path, kind: str = "", first: int = 0) -> Outcome:
    """Makes one small job, then goes through its share of the ways."""
    if not kind:
        return _stages(folder)
    from benchmarks.checkout import copied
    from torture.mutations import CHANGED, UNCHANGED

    outcome, ways = Outcome(), {"unchanged": UNCHANGED, "changed": CHANGED}[kind]
    with copied(SETS) as checkout:
        printed, _ = checkout.run("dvc", "repro")
        if len(executed(printed)) != 5:
            raise RuntimeError(f"the first run executed {executed(printed)}:\n{printed}")
        for way in ways[first::PARTS]:
            with kept(checkout.folder):
                before = hashes(checkout.folder)
                way.make(checkout.folder)
                printed, _, code = checkout.run_to_end(*way.words)
                ran, after = executed(printed), hashes(checkout.folder)
                outcome.count(way.name, _fault(printed, code, ran, way.runs, before == after))
                outcome.figure("number of steps executed where nothing counts", 0 if way.runs else len(ran))
        if (kind, first) == ("unchanged", 0):
            outcome.count("the checkout at another path", _moved(checkout.folder))
    return outcome


def _moved(folder: Path) -> str | None:
    from benchmarks.checkout import Checkout

    moved = Checkout(folder.with_name("moved"))
    before = hashes(folder)
    shutil.copytree(folder, moved.folder, symlinks=True)
    for words in (("dvc", "repro"), ("python", "-m", "medtune", "train", "--no-prefect")):
        printed, _, code = moved.run_to_end(*words)
        if fault := _fault(printed, code, executed(printed), (), hashes(moved.folder) == before):
            return f"{' '.join(words)} {fault}"
    return None


def _fault(printed: str, code: int, ran: tuple[str, ...], expected: tuple[str, ...], same: bool) -> str | None:
    if code:
        return f"ended with {code}: {printed[-500:]}"
    if ran != expected:
        return f"executed {', '.join(ran) or 'nothing'}, expected {', '.join(expected) or 'nothing'}"
    return "outputs changed" if not expected and not same else None


def executed(printed: str) -> tuple[str, ...]:
    """Stages that the commands said they execute for at least one fold, in order."""
    decoded, ran = r"^(data): [\d,]+ images \(", r"^(frozen|finetune|evaluate|export)\b.*: running \(key "
    found = re.findall(rf"(?m){decoded}|{ran}", printed)
    return tuple(dict.fromkeys(one or other for one, other in found))


def hashes(folder: Path) -> dict[str, str]:
    """sha256 of every output file by its name."""
    from medtune.runtime.artifact import file_sha256

    files = [path for name in KEPT for path in (folder / name).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files if path.name != ".lock"}


@contextmanager
def kept(folder: Path) -> Iterator[None]:
    """The checkout as it was, again, on leaving."""
    saved = folder.with_name("saved")
    shutil.copytree(folder, saved, symlinks=True)
    try:
        yield
    finally:
        shutil.rmtree(folder)
        saved.rename(folder)


def _stages(folder: Path) -> Outcome:
    """The chain twice in one process; what is executed is counted where it is called."""
    from medtune.flows import pipeline
    from medtune.stages.steps import Step

    small = {
        "model": {"weights": "none", "backbone_args": {"img_size": 32, "depth": 1}},
        "frozen": {"epochs": 1, "feature_views": 1},
        "finetune": {"epochs": 1},
    }
    outcome, chosen = Outcome(), job.params(small)
    paths = job.prepare(folder, chosen)
    job.train(chosen, paths)
    before, real, ran = hashes(folder), pipeline.run_stage, []
    other = job.params(
        small,
        {"frozen": {"checkpoint_seconds": 9}},
        {"tracking": {"project": "other"}, "gate": {"max_confidence_gap": 0.5}},
    )

    def counted(step: Step, *rest: Any) -> Any:
        ran.append(step.name)
        return real(step, *rest)

    setattr(pipeline, "run_stage", counted)  # noqa: B010
    try:
        for name, again in (("again", chosen), ("what changes no result", other)):
            job.prepare(folder, again)
            job.train(again, paths)
            fault = f"executed {', '.join(ran)}" if ran else None if hashes(folder) == before else "outputs changed"
            outcome.count(name, fault)
    finally:
        setattr(pipeline, "run_stage", real)  # noqa: B010
    return outcome
