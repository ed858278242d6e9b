"""Upload of runs that were recorded offline, after an outage or without a network.

The oldest recordings are uploaded first, which keeps the parts of a resumed run in order. Uploaded recordings and
recordings that a process still writes are skipped. Only --prune deletes anything: uploaded images and logs.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medtune.config.errors import InputError
from medtune.runtime.console import info
from medtune.runtime.paths import RunPaths
from medtune.tracking import redact
from medtune.tracking.local_log import LocalLog
from medtune.tracking.read import RecordedRun, read_run
from medtune.tracking.run_files import RunFile, list_run_files
from medtune.tracking.server import KeyRefused, ServerUnreachable, check_key
from medtune.tracking.upload import upload_run

UPLOAD, LIVE, EMPTY, DAMAGED = "upload", "still being written", "empty", "damaged"
UNSAFE = "contains local paths, from an earlier version or another program"


@dataclass(frozen=True)
class SyncDecision:
    """Decision about one recording.

    Attributes:
        run_file: the recording.
        verdict: `UPLOAD`, `LIVE`, `EMPTY`, `DAMAGED` or `UNSAFE`.
        name: display name of the run.
    """

    run_file: RunFile
    verdict: str
    name: str

    @property
    def label(self) -> str:
        """Name and start time, for example `frozen fold 1 (20261122_131524)`."""
        return f"{self.name} ({self.run_file.start_time})"


def decide(
    run_files: Sequence[RunFile], live: Callable[[str], bool], read: Callable[[Path], RecordedRun]
) -> list[SyncDecision]:
    """Decide about every recording that is not uploaded yet.

    Args:
        run_files: all recordings.
        live: returns True if a process writes the run with this id.
        read: reads the file of a recording.

    Returns:
        The decisions, oldest recording first.
    """
    newest = {run_file.run_id: run_file for run_file in sorted(run_files, key=lambda run_file: run_file.start_time)}
    decisions = []
    for run_file in sorted(
        (run_file for run_file in run_files if run_file.pending),
        key=lambda run_file: (run_file.start_time, run_file.file),
    ):
        name = run_file.run_id
        try:
            recorded = read(run_file.file)
            name = recorded.name or name
            verdict = EMPTY if not recorded.run_id else UPLOAD if recorded.host == redact.NAME else UNSAFE
        except ValueError:
            verdict = DAMAGED
        # Only the newest recording of a run can still be written.
        if run_file == newest[run_file.run_id] and live(run_file.run_id):
            verdict = LIVE
        decisions.append(SyncDecision(run_file, verdict, name))
    return decisions


def sync(project: str | None = None, entity: str | None = None, dry_run: bool = False, prune: bool = False) -> None:
    """Upload the W&B runs that were recorded offline.

    Args:
        project: destination project; None for the recorded project.
        entity: destination team or user; None for the recorded entity.
        dry_run: True to print the recordings and upload nothing.
        prune: True to delete the images and logs of uploaded recordings.

    Raises:
        InputError: WANDB_API_KEY is not set, or the server rejects the key.
        SystemExit: exit code 1 if a recording is damaged or could not be uploaded.
    """
    cache = RunPaths.from_env().cache
    decisions = decide(list_run_files(cache), lambda run_id: LocalLog(cache, run_id).is_live(), read_run)
    for verdict, count in Counter(decision.verdict for decision in decisions if decision.verdict != UPLOAD).items():
        info(f"sync: recordings skipped ({verdict}): {count}")
    uploads = [decision for decision in decisions if decision.verdict == UPLOAD]
    damaged = [decision for decision in decisions if decision.verdict == DAMAGED]
    for decision in damaged:
        info(f"sync: {decision.run_file.file} is not a .wandb file")
    if dry_run:
        for decision in uploads:
            info(f"sync: would upload {decision.label}")
    if uploads and not dry_run:
        failed = _upload(uploads, cache, project, entity)
    else:
        failed = []
        info(f"sync: recordings to upload: {len(uploads)}" if dry_run else "sync: nothing to upload")
    if prune and not dry_run:
        _prune(list_run_files(cache))
    if failed or damaged:
        raise SystemExit(1)


def _upload(
    pending: Sequence[SyncDecision], cache: Path, project: str | None, entity: str | None
) -> list[SyncDecision]:
    """Upload the recordings in order, report each, and return those that failed."""
    key = os.environ.get("WANDB_API_KEY")
    if not key:
        raise InputError(f"WANDB_API_KEY is not set: {len(pending)} recorded runs wait for upload. Set it to your key")
    failed: list[SyncDecision] = []
    blocked_runs: set[str] = set()
    for number, decision in enumerate(pending, 1):
        prefix = f"sync: {number} of {len(pending)}: {decision.label}"
        if decision.run_file.run_id in blocked_runs:
            failed.append(decision)
            info(f"{prefix} waits for the previous part of its run")
            continue
        try:
            if number == 1 or failed:
                check_key(key)
        except KeyRefused as error:
            raise InputError(str(error)) from None
        except ServerUnreachable as error:
            info(f"sync: {error}; {len(pending) - number + 1} recorded runs wait for upload")
            return [*failed, *pending[number - 1 :]]
        start_time = time.monotonic()
        if reason := upload_run(decision.run_file, cache, project, entity):
            failed.append(decision)
            blocked_runs.add(decision.run_file.run_id)
            info(f"{prefix} failed: {reason}")
        else:
            info(f"{prefix} uploaded in {time.monotonic() - start_time:.1f} s")
    return failed


def _prune(run_files: Sequence[RunFile]) -> None:
    """Delete the folders of uploaded recordings, but keep the .wandb files that a resumed stage reads."""
    count = 0
    for run_file in run_files:
        if run_file.synced_marker.exists():
            for folder in [entry for entry in run_file.file.parent.iterdir() if entry.is_dir()]:
                shutil.rmtree(folder, ignore_errors=True)
                count += 1
    info(f"sync: deleted {count} folders of uploaded images and logs")
