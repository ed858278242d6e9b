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
from tests.robustness.kills.file_events import random_moments, report_file_operations
from tests.robustness.kills.forked import fork, prepare_forks
from tests.robustness.kills.leftovers import contents, difference, interrupted_save, report_unreadable
from tests.robustness.kills.training_events import lost_steps, report_training

TRAIN = "train --no-prefect"
COMMANDS = {
    "data": "data", "frozen": "stage frozen", "finetune": "stage finetune", "evaluate": "evaluate", "export": "export",
}  # fmt: skip
# Cache entries that a stage writes. Of the features, these are the ones that fold 1 computes.
CACHED = {"frozen": ["features/*/0001"], "evaluate": ["logits", "segmentations"]}


def medtune(command, params, folder):
    """Run a command of `medtune` in this process, with output and cache in `folder`."""
    from medtune.cli.main import call

    os.environ |= {"MEDTUNE_CACHE": str(folder / "cache"), "MEDTUNE_DEVICE": "cpu"}
    if code := call([*command.split(), "--params", str(params), "--out", str(folder / "out")]):
        sys.exit(code)


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
        """Run the stages up to this one, or all of them and `medtune train`."""
        prepare_forks()
        from medtune.config.load import load
        from medtune.stages import data

        complete, commands = self.folder / "complete", list(COMMANDS.values())
        commands = [*commands, TRAIN] if self.with_flow else commands[: [*COMMANDS].index(self.stage) + 1]

        def run(report):
            if self.stage != "data":  # without the trial training of the command, which takes seconds
                data.run(load(self.folder / "params.yaml"), RunPaths(complete / "out", complete / "cache"))
                commands.remove("data")
            for command in commands:
                medtune(command, self.folder / "params.yaml", complete)

        ended = fork(run, self.folder / "complete.log")
        assert ended.exit_code == 0, ended.end()
        self.expected = contents(complete)

    def kill(self, n_operations, n_times, seed=0):
        """Kill the stage at random file operations and at random times of a second uninterrupted run."""
        self.run_uninterrupted()
        self._reset("stage", has_earlier_result=True)
        ended = self._run("stage", None)
        assert ended.exit_code == 0, ended.end()
        assert (problem := self._difference()) is None, problem
        begin = [event["kind"] for event in ended.events].index("begin")
        return self.kill_at(random_moments(ended.events[begin:], Random(seed), n_operations, n_times))

    def kill_at(self, moments):
        """Kill the stage at each moment."""
        number = 0
        while moments:
            command = ("stage", "flow", "other")[number % 3] if self.with_flow else "stage"
            self._reset(command, has_earlier_result=number % 2 == 0)
            self._kill_until_done(moments, command)
            number += 1
        return self.faults

    def _kill_until_done(self, moments, command):
        killed, history = None, []
        while True:
            moment = moments.pop() if moments else None
            ended = self._run(command, moment)
            if command == "other" and ended.exit_code == 0:  # the moment did not come
                moments.append(moment)
                return
            self._count(killed, history, ended)
            if not ended.was_killed:
                if moment and moment.is_retried:
                    moments.append(replace(moment, number=1, is_retried=False))
                return
            save = interrupted_save(self.folder / "killed", self.expected, ended.started)
            self.faults.measure("number of kills inside a save", save is not None)
            killed = f"{self.stage}, command {command!r}, killed at {moment}, save of {save}"
            history += ended.events
            if command == "other":  # the training with other params is not resumed
                command, history = "flow", []

    def _count(self, killed, history, ended):
        """Count the kill before the process `ended` by what that process found and did."""
        files = ended.select("file")
        self.faults.measure("number of artifacts read back", len(files))
        problems = [f"{event['name']}: {event['problem']}" for event in files if event["problem"]]
        for n_lost, problem in lost_steps(history, ended.events):
            self.faults.measure("greatest number of steps lost", n_lost)
            problems.append(problem)
        if ended.exit_code == 0:
            problems.append(self._difference())
        elif not ended.was_killed:
            problems.append(f"the next run {ended.end()}")
        if killed or any(problems):
            self.faults.count(killed or self.stage, "; ".join(filter(None, problems)) or None)

    def _reset(self, command, has_earlier_result):
        """Copy the uninterrupted run. Except for `other`, remove the stage's result or make it one of another key."""
        root = self.folder / "killed"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.folder / "complete", root)
        if command == "other":
            return
        for pattern in CACHED.get(self.stage, []):
            for cached in (root / "cache").glob(pattern):
                shutil.rmtree(cached)
        paths = RunPaths(root / "out", root / "cache")
        fold = 1 if self.stage in ("frozen", "finetune") else None
        result = paths.prepared if self.stage == "data" else paths.stage(self.stage, fold)
        if has_earlier_result:
            write_text(result / RESULT_FILE, dump_with_checksum({**read_result(result), "key": "earlier"}))
        else:
            shutil.rmtree(result)

    def _run(self, command, moment):
        return fork(partial(self._work, command, moment), self.folder / "killed.log")

    def _work(self, command, moment, report):
        root = self.folder / "killed"
        report_file_operations(report, root, moment)
        report_training(report)
        report_unreadable(RunPaths(root / "out", root / "cache"), report)
        report("begin", kill_after=moment.delay if moment and moment.operation == "begin" else None)
        if command != "flow" or self.stage == "data":
            params = self.folder / ("other.yaml" if command == "other" else "params.yaml")
            medtune(COMMANDS[self.stage], params, root)
        if command == "flow":
            medtune(TRAIN, self.folder / "params.yaml", root)
        report("end")

    def _difference(self):
        return difference(self.folder / "killed", self.expected)
