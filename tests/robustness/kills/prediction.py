"""Kills of `medtune predict` while it writes label maps and their table."""

import csv
import shutil
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from tests.robustness.faults import Faults
from tests.robustness.kills.file_events import random_moments, report_file_operations
from tests.robustness.kills.forked import fork, prepare_forks

N_VOLUMES = 3
SHAPE = (16, 16, 9)
# The largest component of label 1 makes earlier label maps different from the expected ones.
EARLIER = {"largest": [1], "min_volume_mm3": 0.0}


@dataclass
class KilledPrediction:
    """A prediction of several volumes.

    Attributes:
        folder: contains the volumes, two bundles, their complete results in `complete` and `earlier`, and the results
            of the killed run in `out`.
    """

    folder: Path
    faults: Faults = field(default_factory=Faults)

    def kill(self, n_operations, n_times, seed=0):
        """Kill the command at random file operations and at random times, and let it finish in another process."""
        prepare_forks()
        self._write_inputs()
        for name, bundle in (("earlier", "earlier bundle"), ("complete", "bundle")):
            self._run(None, bundle=bundle)
            self._out.rename(self.folder / name)
        events = self._run(None).events
        begin = [event["kind"] for event in events].index("begin")
        for number, moment in enumerate(random_moments(events[begin:], Random(seed), n_operations, n_times)):
            self._kill_at(moment, has_earlier_results=number % 2 == 0)
        return self.faults

    @property
    def _out(self):
        return self.folder / "out"

    def _write_inputs(self):
        from tests.serving.volumes import tiny_volume_bundle as tiny
        from tests.serving.volumes.volume_files import make_affine, write_nifti

        tiny.write_bundle(self.folder / "bundle")
        tiny.write_bundle(self.folder / "earlier bundle", post_processing=EARLIER)
        (self.folder / "scans").mkdir()
        for number in range(N_VOLUMES):
            values = tiny.draw(SHAPE, number)
            values[-2:, -2:, -2:] = 200
            write_nifti(self.folder / "scans" / f"{number}.nii.gz", values, make_affine(tiny.SPACING))

    def _kill_at(self, moment, has_earlier_results):
        shutil.rmtree(self._out, ignore_errors=True)
        if has_earlier_results:
            shutil.copytree(self.folder / "earlier", self._out)
        killed = self._run(moment)
        is_unfinished = any(".tmp" in path.suffixes for path in self._out.glob(".*"))
        self.faults.measure("number of kills inside a save", is_unfinished)
        problems = [self._incomplete()]
        last = self._run(None)
        problems.append(None if last.exit_code == 0 else f"the next run {last.end()}")
        if _contents(self._out) != _contents(self.folder / "complete"):
            problems.append("the results differ from those of an uninterrupted run")
        if killed.was_killed or any(problems):
            text = f"predict, earlier results {has_earlier_results}, killed at {moment}"
            self.faults.count(text, "; ".join(filter(None, problems)) or None)

    def _incomplete(self):
        """Return the first file that is neither complete nor of the earlier run, or None."""
        known = [_contents(self.folder / name) for name in ("earlier", "complete")]
        for name, content in _contents(self._out).items():
            if ".tmp" not in Path(name).suffixes and all(content != contents.get(name) for contents in known):
                return f"{name} is incomplete"
        return None

    def _run(self, moment, bundle="bundle"):
        ended = fork(partial(self._work, moment, bundle), self.folder / "predict.log")
        assert moment or ended.exit_code == 0, ended.end()
        return ended

    def _work(self, moment, bundle, report):
        from medtune.cli.main import call

        report_file_operations(report, self.folder, moment)
        report("begin", kill_after=moment.delay if moment and moment.operation == "begin" else None)
        words = ["predict", str(self.folder / bundle), str(self.folder / "scans"), "--out", str(self._out)]
        assert call([*words, "--threads", "1"]) == 0
        report("end")


def _contents(folder):
    """Return the bytes of each file, and the rows of the table without the seconds, by name."""
    contents = {}
    for path in sorted(folder.glob("*")) + sorted(folder.glob(".*")):
        contents[path.name] = path.read_bytes()
        if path.name == "volumes.csv":
            with path.open(encoding="utf-8", newline="") as stream:
                contents[path.name] = [row[:-1] for row in csv.reader(stream)]
    return contents
