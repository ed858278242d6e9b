"""Checks of git, the lock of the output folder, and the clock."""

import email.utils
import subprocess
import time

from filelock import FileLock, Timeout

from medtune.config.project import PROJECT
from medtune.doctor.check_result import CheckResult, Context, failure, ok, warning
from medtune.serving.one_line import first_line

SKEW_S = 300.0  # largest accepted error of the clock in seconds


def check_git(context: Context) -> CheckResult:
    """Check that the project is a git repository without uncommitted changes, so that results record the revision."""
    try:
        revision = _git("log", "-1", "--format=%h %cs")
        changed = _git("status", "--porcelain", "--untracked-files=no").splitlines()
    except (OSError, subprocess.SubprocessError) as error:
        if _is_repository():
            fix = "run `git add -A && git commit`: results record the revision, and retraining needs it"
            return warning("no commit yet", fix)
        fix = "install git and use a clone: results record the revision, and retraining needs it"
        return warning(f"not a git repository ({first_line(error)})", fix)
    if changed:
        fix = "commit them: results are marked as `dirty`, and `medtune retrain` refuses to run"
        return warning(f"{revision}, {len(changed)} uncommitted files", fix)
    return ok(f"{revision}, no uncommitted changes")


def _is_repository() -> bool:
    try:
        return bool(_git("rev-parse", "--git-dir"))
    except (OSError, subprocess.SubprocessError):
        return False


def check_lock(context: Context) -> CheckResult:
    """Check that no other run is writing to the output folder."""
    file = context.paths.out / "artifacts" / ".lock"
    if not file.exists():
        return ok(f"no run has used {file.parent} yet")
    try:
        FileLock(file, timeout=0).acquire().lock.release()
    except Timeout:
        return warning(f"another run is writing to {file.parent}", "wait for it, or use another --out")
    except OSError as error:
        return warning(f"{file}: the lock cannot be tested ({error.strerror})", "see check `write artifacts`")
    return ok(f"no run is writing to {file.parent}")


def check_clock(context: Context) -> CheckResult:
    """Compare the clock with the time of the last commit, and with the time of the model hub if it responded."""
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M %z", time.localtime(now))
    fix = "set the clock (NTP): certificates, S3, make and DVC need the correct time"
    try:
        commit = float(_git("log", "-1", "--format=%ct"))
    except (OSError, ValueError, subprocess.SubprocessError):
        commit = 0.0
    if now < commit - SKEW_S:
        return failure(f"{shown} is before the last commit", fix)
    if date := context.facts.get("date"):
        skew = now - email.utils.parsedate_to_datetime(date).timestamp()
        if abs(skew) > SKEW_S:
            return warning(f"{shown}, {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the hub's", fix)
    return ok(shown)


def _git(*words: str) -> str:
    completed = subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True, timeout=20, check=True)
    return completed.stdout.strip()
