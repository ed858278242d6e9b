"""The chain of stages, the same whoever runs it: which steps there are, what each key is, what is already done."""

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

from medtune.config.errors import InputError
from medtune.config.schema import Params
from medtune.data.manifest import Prepared
from medtune.runtime.artifact import Artifact, digest, find, partial, write_text
from medtune.runtime.console import say
from medtune.runtime.paths import Paths

log = logging.getLogger("medtune.flow")


@dataclass(frozen=True)
class Step:
    """One run of one stage.

    Attributes:
        stage: frozen, finetune, evaluate or export.
        fold: test fold of the chain it belongs to; None for a stage that sees all chains.
        key: its cache key.
        upstream: the artifacts it reads, in the order its stage function takes them.
    """

    stage: str
    fold: int | None
    key: str
    upstream: tuple[Artifact, ...] = ()

    @property
    def name(self) -> str:
        """`frozen fold 1`, `evaluate`."""
        return self.stage if self.fold is None else f"{self.stage} fold {self.fold}"


@dataclass(frozen=True)
class Done:
    """One step as it went."""

    step: Step
    cached: bool
    seconds: float
    artifact: Artifact


class StageFailed(Exception):
    """A stage raised; `__cause__` is what it raised."""


class Missing(Exception):
    """A step's finished artifact is not there."""


Execute = Callable[[Step], Artifact]
# Runs a step, given the verified artifact it already has, if any.
Call = Callable[[Step, Artifact | None], Artifact]


def walk(params: Params, prepared: Prepared, execute: Execute) -> Artifact:
    """The bundle, after `execute` has been asked for every step of every chain, in order.

    A step's key depends on what the steps before it gave back, so keys are made on the way.
    """
    from medtune.stages import evaluate, export, finetune, frozen

    trained = []
    for fold in params.data.split.chains:
        artifact = None
        if "frozen" in params.training_stages:
            artifact = execute(Step("frozen", fold, frozen.key(params, prepared, fold)))
        if "finetune" in params.training_stages:
            key = finetune.key(params, prepared, fold, artifact)
            artifact = execute(Step("finetune", fold, key, (artifact,) if artifact else ()))
        assert artifact is not None
        trained.append(artifact)
    evaluated = execute(Step("evaluate", None, evaluate.key(params, prepared, trained), tuple(trained)))
    return execute(Step("export", None, export.key(params, evaluated, trained), (evaluated, *trained)))


def run_stage(step: Step, params: Params, paths: Paths, group: str) -> Artifact:
    """The finished artifact of one step, by calling its stage function.

    Raises:
        InputError: what the user gave is wrong.
        StageFailed: anything else the stage raised.
    """
    from medtune.stages import evaluate, export, finetune, frozen

    try:
        match step.stage, step.fold:
            case "frozen", int(fold):
                return frozen.run(params, paths, fold, step.key, group)
            case "finetune", int(fold):
                return finetune.run(params, paths, fold, next(iter(step.upstream), None), step.key, group)
            case "evaluate", None:
                return evaluate.run(params, paths, list(step.upstream), step.key, group)
            case "export", None:
                return export.run(params, paths, step.upstream[0], list(step.upstream[1:]), step.key, group)
            case _:
                raise ValueError(f"no stage {step.name!r}")
    except InputError:
        raise
    except Exception as error:
        raise StageFailed(f"{step.name} failed: {type(error).__name__}: {error}") from error


def run(params: Params, paths: Paths, prepared: Prepared, call: Call) -> list[Done]:
    """How every step of the chain went; each is said as it starts and ends, with whether it was cached."""
    steps: list[Done] = []

    def execute(step: Step) -> Artifact:
        found = find(paths.stage(step.stage, step.fold), step.key)
        note(f"{step.name}: {'cached' if found else 'running'} (key {step.key[:6]})")
        begun = time.monotonic()
        artifact = call(step, found)
        seconds = time.monotonic() - begun
        if found is None:
            note(f"{step.name}: done in {seconds:.1f} s")
        steps.append(Done(step, found is not None, seconds, artifact))
        return artifact

    walk(params, prepared, execute)
    return steps


def complete(params: Params, paths: Paths, prepared: Prepared) -> bool:
    """True where every step has a verified artifact: then nothing needs torch. Imports nothing heavy."""

    def execute(step: Step) -> Artifact:
        found = find(paths.stage(step.stage, step.fold), step.key)
        if found is None:
            raise Missing(step.name)
        return found

    try:
        walk(params, prepared, execute)
    except Missing:
        return False
    return True


def note(line: str) -> None:
    """Says one line and puts it on record: the log file and, in a flow, Prefect's log."""
    say(line)
    log.info(line)


def pipeline_key(params: Params, prepared: Prepared) -> str:
    """What one run of the flow is known by: the W&B group of its stages."""
    chosen = params.model_dump(mode="json", exclude={"gate", "handoff", "tracking"})
    return digest({"params": chosen, "data": prepared.digest})


def tidy(params: Params, paths: Paths) -> None:
    """Leaves in artifacts/ what this chain made and nothing older; called only once the whole chain is done.

    A stage the schedule leaves out keeps its folder, for DVC, with a file that says why it is empty.
    """
    for stage in ("evaluate", "export"):  # of a run with other params that was killed
        shutil.rmtree(partial(paths.stage(stage)), ignore_errors=True)
    chains = {f"fold-{fold}" for fold in params.data.split.chains}
    for stage in ("frozen", "finetune"):
        left_out = stage not in params.training_stages
        folder = paths.stage(stage)
        folder.mkdir(parents=True, exist_ok=True)
        keep = {"README.txt"} if left_out else chains
        for entry in [entry for entry in folder.iterdir() if entry.name not in keep]:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        if left_out:
            write_text(folder / "README.txt", f"schedule: {params.schedule} has no {stage} stage.\n")
