"""Repeated kills of one stage until it finishes, and the state that each kill leaves."""

import os
import shutil
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random

from medtune.runtime.artifact import RESULT_FILE, read_result, write_text
from medtune.runtime.paths import RunPaths
from medtune.serving.checksum import dump_with_checksum
from tests.robustness.faults import Faults
from tests.robustness.kills.file_events import Moment, random_moments, report_file_operations
from tests.robustness.kills.forked import fork, prepare_forks
from tests.robustness.kills.leftovers import contents, difference, interrupted_save, read_all
from tests.robustness.kills.training_events import lost_steps, report_training

COMMANDS = {
    "data": ["data"],
    "frozen": ["stage", "frozen"],
    "finetune": ["stage", "finetune"],
    "evaluate": ["evaluate"],
    "export": ["export"],
}
# Cache entries that a stage writes. Of the features, these are the ones that fold 1 computes.
CACHED = {"frozen": "features/*/0001", "evaluate": "logits"}
TRIES = 2


def medtune(command, params, folder):
    """Run a command of `medtune` in this process, with output and cache in `folder`."""
    from medtune.cli.main import call

    os.environ |= {"MEDTUNE_CACHE": str(folder / "cache"), "MEDTUNE_DEVICE": "cpu"}
    if code := call([*command, "--params", str(params), "--out", str(folder / "out")]):
        sys.exit(code)


def run_all(params, folder, last_stage, with_flow, report):
    """Run the stages up to `last_stage`, or all stages and `medtune train`."""
    stages = list(COMMANDS) if with_flow else list(COMMANDS)[: list(COMMANDS).index(last_stage) + 1]
    for stage in stages:
        medtune(COMMANDS[stage], params, folder)
    if with_flow:
        medtune(["train", "--no-prefect"], params, folder)


@dataclass
class KilledStage:
    """One stage of a job.

    Attributes:
        folder: contains params.yaml, other.yaml (another value for the stage), the uninterrupted run in `complete` and
            the killed run in `killed`.
        stage: its name.
        with_flow: True if `medtune train` is killed too, and runs of other.yaml before a run of params.yaml.
    """

    folder: Path
    stage: str
    with_flow: bool
    faults: Faults = field(default_factory=Faults)
    expected: dict[str, str] = field(default_factory=dict)

    def run_uninterrupted(self):
        """Run the stages up to this one, or all of them."""
        prepare_forks()
        params, complete = self.folder / "params.yaml", self.folder / "complete"
        ended = fork(partial(run_all, params, complete, self.stage, self.with_flow), self.folder / "complete.log")
        assert ended.exit_code == 0, ended.end()
        self.expected = contents(complete)

    def kill(self, n_operations, n_times, seed=0):
        """Kill the stage at random file operations and at random times of a second uninterrupted run."""
        self.run_uninterrupted()
        self._reset("stage", has_earlier_result=True)
        ended = self._fork("stage", None)
        assert ended.exit_code == 0, ended.end()
        assert (problem := self._difference()) is None, problem
        events = ended.events[[event["kind"] for event in ended.events].index("begin") :]
        random, duration = Random(seed), events[-1]["time"] - events[0]["time"]
        moments = random_moments(events, random, n_operations)
        moments += [Moment("begin", "", 1, random.uniform(0, duration)) for _ in range(n_times)]
        random.shuffle(moments)
        return self.kill_at(moments)

    def kill_at(self, moments, tries=TRIES):
        """Kill the stage at each moment. A moment that does not come is tried again."""
        plans, number = [(moment, tries) for moment in moments], 0
        while plans:
            command = ("stage", "flow", "other")[number % 3] if self.with_flow else "stage"
            self._reset(command, has_earlier_result=number % 2 == 0)
            self._kill_until_done(plans, command)
            number += 1
        return self.faults

    def _kill_until_done(self, plans, command):
        killed, history = "", []
        while True:
            moment, tries = plans.pop() if plans else (None, 0)
            ended = self._fork(command, moment)
            if command == "other" and ended.exit_code == 0:  # the moment did not come
                plans.append((moment, tries))
                return
            problems = [f"{event['file']}: {event['problem']}" for event in ended.select("file") if event["problem"]]
            for n_lost, problem in lost_steps(history, ended.events):
                self.faults.measure("greatest number of steps lost", n_lost)
                problems += [problem] if problem else []
            if ended.exit_code == 0:
                problems += [problem] if (problem := self._difference()) else []
            elif not ended.was_killed:
                problems.append(f"the next run {ended.end()}")
            if killed or problems:
                self.faults.count(killed or self.stage, "; ".join(problems) or None)
            self.faults.measure("number of artifacts read back", len(ended.select("file")))
            if not ended.was_killed:
                if moment and tries > 1:
                    plans.append((replace(moment, number=1), tries - 1))
                return
            save = interrupted_save(self.folder / "killed", self.expected, ended.started)
            self.faults.measure("number of kills inside a save", save is not None)
            killed = f"{self.stage}, command {command!r}, killed at {moment}, save of {save}"
            history += ended.events
            if command == "other":  # the training with other params is not resumed
                command, history = "flow", []

    def _reset(self, command, has_earlier_result):
        """Copy the uninterrupted run. Except for `other`, remove the stage's result or make it one of another key."""
        root = self.folder / "killed"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.folder / "complete", root)
        if command == "other":
            return
        for cached in (root / "cache").glob(CACHED.get(self.stage, "nothing")):
            shutil.rmtree(cached)
        paths = RunPaths(root / "out", root / "cache")
        fold = 1 if self.stage in ("frozen", "finetune") else None
        result = paths.prepared if self.stage == "data" else paths.stage(self.stage, fold)
        if has_earlier_result:
            write_text(result / RESULT_FILE, dump_with_checksum({**read_result(result), "key": "earlier"}))
        else:
            shutil.rmtree(result)

    def _fork(self, command, moment):
        return fork(partial(self._work, command, moment), self.folder / "killed.log")

    def _work(self, command, moment, report):
        root, params = self.folder / "killed", self.folder / "params.yaml"
        report_file_operations(report, root, moment)
        report_training(report)
        for file, problem in read_all(RunPaths(root / "out", root / "cache")):
            report("file", file=file, problem=problem)
        report("begin", kill_after=moment.delay if moment and moment.operation == "begin" else None)
        if command == "other":
            params = self.folder / "other.yaml"
        if command != "flow" or self.stage == "data":
            medtune(COMMANDS[self.stage], params, root)
        if command == "flow":
            medtune(["train", "--no-prefect"], params, root)
        report("end")

    def _difference(self):
        return difference(self.folder / "killed", self.expected)
