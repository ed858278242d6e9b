"""`medtune predict` and `medtune data` on folders with damaged volumes."""

import contextlib
import io
import json
import shutil
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medtune.cli.main import call
from medtune.data.manifest import load_prepared
from tests.robustness.volumes.reading import label_map_problem, mask_problem

PARAMS = {
    "task": {"kind": "segmentation"},
    "schedule": "frozen",
    "model": {
        "backbone": "none", "weights": "none", "head": {"kind": "decoder", "width": 4}, "peft": {"method": "none"}
    },
    "frozen": {"monitor": "dice"},
    "finetune": {"monitor": "dice"},
    "gate": {"metric": "dice"},
    "tracking": {"mode": "disabled"},
}  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit code, its lines on stderr, and the warnings of numpy."""

    code: int
    lines: list[str]
    warnings: list[str]

    @property
    def problem(self) -> str | None:
        """A traceback, a warning or several error lines, or None."""
        if any("Traceback" in line for line in self.lines):
            return f"traceback: {self.lines[-1]}"
        if self.warnings:
            return f"warning: {self.warnings[0]}"
        errors = [line for line in self.lines if line.startswith("error: ")]
        return f"{len(errors)} error lines" if len(errors) != (self.code == 2) else None


def run(words: Sequence[str]) -> Ended:
    """Run a command in this process."""
    stderr = io.StringIO()
    with (
        warnings.catch_warnings(record=True) as caught,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(stderr),
    ):
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", RuntimeWarning)
        try:
            code = call(list(words))
        except BaseException:
            code = 1
            traceback.print_exc()
    return Ended(code, stderr.getvalue().splitlines(), [str(warning.message) for warning in caught])


def prediction_problem(folder: Path, bundle: Path, intact: Path, stored: bytes, suffix: str) -> str | None:
    """Segment an intact and a damaged volume, and return the first problem, or None.

    Args:
        folder: folder for the files, which is emptied.
        bundle: the bundle.
        intact: an intact file, whose label map must be correct.
        stored: the damaged file.
        suffix: its suffix.
    """
    shutil.rmtree(folder, ignore_errors=True)
    scans, out = folder / "scans", folder / "out"
    scans.mkdir(parents=True)
    shutil.copy(intact, scans / "intact.nii")
    damaged = scans / f"damaged{suffix}"
    damaged.write_bytes(stored)
    ended = run(["predict", str(bundle), str(scans), "--out", str(out)])
    skipped = [line for line in ended.lines if line.startswith("skipped ")]
    if ended.problem or ended.code not in (0, 1) or len(ended.lines) != 2 + ended.code:
        return ended.problem or f"exit code {ended.code}: {ended.lines}"
    if problem := label_map_problem(intact, out / "intact.nii.gz"):
        return f"the intact volume: {problem}"
    written = (out / "damaged.nii.gz").exists()
    if ended.code == 1:
        named = len(skipped) == 1 and len(skipped[0].partition(f"skipped {damaged}: ")[2]) > 0
        return None if named and not written else f"not one line with the file: {ended.lines}"
    return label_map_problem(damaged, out / "damaged.nii.gz") if written else "neither written nor skipped"


def prepare(folder: Path, on_bad_image: str) -> Ended:
    """Run stage data on the volumes and masks of `folder`/root."""
    path = folder / f"{on_bad_image}.yaml"
    data = {
        "source": "volumes", "root": str(folder / "root"), "class_names": ["a", "b", "c"], "patch": [16, 16, 16],
        "on_bad_image": on_bad_image, "split": {"protocol": "image", "folds": 3},
    }  # fmt: skip
    path.write_text(json.dumps({**PARAMS, "data": data}))
    return run(["data", "--params", str(path), "--out", str(folder / on_bad_image)])


def preparation_problems(folder: Path, damaged: Mapping[str, str], n_files: int) -> dict[str, str | None]:
    """Run stage data, which leaves out unusable volumes, and return the problem of each damaged file, or None.

    Args:
        folder: its subfolder `root` has the volumes and masks.
        damaged: path of the damaged file of each case, by the path of its volume.
        n_files: number of cases.
    """
    ended, prepared = prepare(folder, "reject"), folder / "reject" / "data" / "prepared"
    if ended.problem or ended.code not in (0, 2):
        return dict.fromkeys(damaged, ended.problem or f"exit code {ended.code}: {ended.lines[-1:]}")
    if ended.code == 2:  # a volume cannot be prepared together with the others
        error = next(line for line in ended.lines if line.startswith("error: "))
        named = any(path in error for path in damaged)
        problem = None if named and not prepared.exists() else f"names no damaged file: {error}"
        return dict.fromkeys(damaged, problem)
    report = json.loads((prepared / "report.json").read_text(encoding="utf-8"))
    rejected = {entry["path"]: entry["reason"] for entry in report["rejected"]}
    loaded = load_prepared(prepared)
    kept = {path: row for row, path in enumerate(loaded.paths)}
    if len(kept) + len(rejected) != n_files or not rejected.keys() <= damaged.keys():
        return dict.fromkeys(damaged, f"{len(kept)} kept and {sorted(rejected)} rejected of {n_files}")
    problems: dict[str, str | None] = {}
    for path in damaged:
        if path in kept:
            mask = folder / "root" / path.replace("images/", "masks/")
            problems[path] = mask_problem(mask, loaded.volumes.truth(kept[path]))
        else:
            reason = rejected[path]
            problems[path] = None if reason and "\n" not in reason else f"the reason is {reason!r}"
    if rejected:
        first = next(iter(problems))
        problems[first] = problems[first] or _error_problem(folder, set(rejected))
    return problems


def _error_problem(folder: Path, rejected: set[str]) -> str | None:
    """Return the problem with a stage data that must report the first unusable volume, or None."""
    ended = prepare(folder, "error")
    errors = [line for line in ended.lines if line.startswith("error: ")]
    if ended.problem or ended.code != 2 or not any(path in errors[0] for path in rejected):
        return ended.problem or f"on_bad_image=error: exit code {ended.code}: {errors}"
    return "left data behind" if (folder / "error" / "data" / "prepared").exists() else None
