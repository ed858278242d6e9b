"""One stage killed again and again until it is done, then from the start again; what every kill cost."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from medtune.runtime.artifact import RESULT_FILE, read_result, write_text
from medtune.runtime.paths import RunPaths
from medtune.serving.checksum import dump_with_checksum
from torture.kills import leftovers
from torture.kills.forked import Ended, Tell, fork
from torture.kills.lost_steps import Progress
from torture.kills.trained import tell_training
from torture.kills.writes import Moment, moments, tell_writes
from torture.outcome import Outcome

STAGES = ("data", "frozen", "finetune", "evaluate", "export")
# What a stage keeps in the cache; of the features, those that fold 1 computes.
CACHES = {"frozen": "features/*/0001", "evaluate": "logits"}
TRIES = 2


@dataclass(frozen=True)
class Siege:
    """One stage of one job.

    Attributes:
        folder: of everything; `whole` in it is the uncut run.
        params: the job's file.
        stage: the one that is killed.
        other: the same job with another value for the stage.
        flow: whether the chain's own command is killed too, and the user goes back from `other` to `params`.
    """

    folder: Path
    params: Path
    other: Path
    stage: str
    flow: bool
    _whole: dict[str, str] = field(default_factory=dict)

    def run(self, outcome: Outcome, name: str, aimed: int, timed: int, seed: int) -> None:
        """Kills at `aimed` moments of what it does to files and at `timed` moments of its time."""
        from torture.kills.forked import import_all

        import_all()
        draw = Random(seed)
        if fault := self._uncut():
            outcome.count(name, f"the uncut run {fault}")
            return
        self._reset(older=True)  # an earlier result is there, to be replaced
        again = self._child("again", "hand", None)
        if again.code != 0 or (fault := leftovers.difference(self.folder / "cut", self._whole)):
            outcome.count(name, f"a second uncut run {again.words() if again.code else fault}")
            return
        (begin,) = again.events("begin")
        lasts = again.told[-1]["t"] - begin["t"]
        own = [event for event in again.told if event["t"] > begin["t"]]
        plans = moments(own, draw, aimed)
        plans += [Moment("begin", "", 1, draw.uniform(0, lasts)) for _ in range(timed)]
        draw.shuffle(plans)
        self._besiege(outcome, name, [(plan, TRIES) for plan in plans])

    def _uncut(self) -> str | None:
        """Makes `whole`; its fault."""
        ended = fork(lambda tell: _all(self, tell), self.folder / "whole.log")
        self._whole.update(leftovers.contents(self.folder / "whole"))
        return None if ended.code == 0 else ended.words()

    def _reset(self, older: bool | None) -> None:
        """Makes `cut` a copy of `whole`; unless `older` is None, the stage is to be done, or an older result lies."""
        cut = self.folder / "cut"
        shutil.rmtree(cut, ignore_errors=True)
        shutil.copytree(self.folder / "whole", cut)
        if older is None:
            return
        paths = RunPaths(cut / "out", cut / "cache")
        place = paths.prepared if self.stage == "data" else paths.stage(self.stage, _fold(self.stage))
        if self.stage in CACHES:
            for kept in (cut / "cache").glob(CACHES[self.stage]):  # none without stored features
                shutil.rmtree(kept)
        if older:
            write_text(place / RESULT_FILE, dump_with_checksum({**read_result(place), "key": "of an earlier run"}))
        else:
            shutil.rmtree(place)

    def _besiege(self, outcome: Outcome, name: str, plans: list[tuple[Moment, int]]) -> None:
        rounds = 0
        while plans:
            command = ("hand", "flow", "back")[rounds % 3] if self.flow else "hand"
            self._reset(older=None if command == "back" else rounds % 2 == 1)
            self._round(outcome, name, plans, command)
            rounds += 1

    def _round(self, outcome: Outcome, name: str, plans: list[tuple[Moment, int]], command: str) -> None:
        """Kills and starts again until the stage is done; takes what it tries from `plans`."""
        progress, waiting = Progress(), ""
        while True:
            plan, tries = plans.pop() if plans else (None, 0)
            ended = self._child("cut", command, plan)
            faults = progress.follow(ended.told)
            faults += [f"{e['name']} {e['fault']}" for e in ended.events("found") if e["fault"]]
            if command == "back" and plan and ended.code == 0:  # it ended before the moment came: nobody goes back
                plans.append((plan, tries))
                return
            if ended.code == 0 and (fault := leftovers.difference(self.folder / "cut", self._whole)):
                faults.append(fault)
            if ended.code != 0 and not ended.killed:
                faults.append(f"the next run {ended.words()}")
            if waiting or faults:
                outcome.count(waiting or name, "; ".join(faults) or None)
            outcome.figure("number of artifacts read back", len(ended.events("found")))
            outcome.figure("greatest number of steps lost", progress.most)
            waiting = ""
            if ended.killed:
                inside = leftovers.cut_into(self.folder / "cut", self._whole, ended.began)
                outcome.figure("number of kills inside a save", inside is not None)
                waiting = f"{name} by {command}, killed {plan}" + (f", in {inside}" if inside else "")
                print(waiting, flush=True)
                if command == "back":  # what was trained with other params does not go on
                    command, progress = "flow", Progress()
                continue
            if plan is not None and tries > 1:  # it ended before that moment came: once more, in a run from the start
                plans.append((replace(plan, number=1), tries - 1))
            return

    def _child(self, log: str, command: str, plan: Moment | None) -> Ended:
        place = self.folder / "cut"
        aim = plan.aim() if plan else lambda event: None
        return fork(lambda tell: _one(self, place, tell, command, plan), self.folder / f"{log}.log", aim)


def _fold(stage: str) -> int | None:
    return 1 if stage in ("frozen", "finetune") else None


def _all(siege: Siege, tell: Tell) -> None:
    """The uncut run: every stage, or those up to the one that is killed."""
    place = siege.folder / "whole"
    _settle(place)
    last = STAGES[-1] if siege.flow else siege.stage
    for stage in STAGES[: STAGES.index(last) + 1]:
        by_hand(stage, siege.params, place / "out")
    if siege.flow:
        by_flow(siege.params, place / "out")


def _one(siege: Siege, place: Path, tell: Tell, command: str, plan: Moment | None) -> None:
    """What a user starts, after everything that lies there was read."""
    _settle(place)
    tell_writes(tell, place, plan)
    tell_training(tell)
    for name, fault in leftovers.read_all(RunPaths(place / "out", place / "cache")):
        tell("found", name=name, fault=fault)
    tell("begin")
    if command == "back":  # from here: the next run is of the whole job as it was
        by_hand(siege.stage, siege.other, place / "out")
    elif command == "hand" or siege.stage == "data":
        by_hand(siege.stage, siege.params, place / "out")
    if command == "flow":
        by_flow(siege.params, place / "out")
    tell("end")


def _settle(place: Path) -> None:
    os.environ |= {"MEDTUNE_CACHE": str(place / "cache"), "MEDTUNE_DEVICE": "cpu"}


def by_hand(stage: str, params: Path, out: Path) -> None:
    """Run a stage as its command does."""
    from medtune.cli import data, evaluate, export
    from medtune.cli import stage as training

    match stage:
        case "frozen" | "finetune":
            {"frozen": training.frozen, "finetune": training.finetune}[stage](None, params, [], out)
        case _:
            commands: dict[str, Callable[..., None]] = {
                "data": data.data, "evaluate": evaluate.evaluate, "export": export.export,
            }  # fmt: skip
            commands[stage](params=params, overrides=[], out=out)


def by_flow(params: Path, out: Path) -> None:
    """`medtune train --no-prefect`."""
    from medtune.cli.train import train

    train(params, [], out, False)
