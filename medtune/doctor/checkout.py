"""The checkout: what git knows, whether a run holds the output folder, and the clock."""

import email.utils
import subprocess
import time

from filelock import FileLock, Timeout

from medtune.config.project import PROJECT
from medtune.doctor.check_result import CheckResult, Context, failure, ok, warning
from medtune.serving.one_line import first_line

SKEW_S = 300.0


def check_git(context: Context) -> CheckResult:
    """Whether every result can name the revision that made it."""
    try:
        revision = _git("log", "-1", "--format=%h %cs")
        changed = _git("status", "--porcelain", "--untracked-files=no").splitlines()
    except (OSError, subprocess.SubprocessError) as error:
        if _is_repository():
            fix = "git add -A && git commit: results name their revision, and retraining needs it"
            return warning("no commit yet", fix)
        fix = "install git and work in a clone: results name their revision, and retraining needs it"
        return warning(f"the revision is unknown ({first_line(error)})", fix)
    if changed:
        fix = "commit them: results are marked `dirty`, and `medtune retrain` refuses"
        return warning(f"{revision}, {len(changed)} files changed since", fix)
    return ok(f"{revision}, nothing changed since")


def _is_repository() -> bool:
    try:
        return bool(_git("rev-parse", "--git-dir"))
    except (OSError, subprocess.SubprocessError):
        return False


def check_lock(context: Context) -> CheckResult:
    """Whether another run has the output folder now."""
    file = context.paths.out / "artifacts" / ".lock"
    if not file.exists():
        return ok(f"no run has been in {file.parent}")
    try:
        FileLock(file, timeout=0).acquire().lock.release()
    except Timeout:
        return warning(f"another run is writing to {file.parent}", "wait for it: a second one waits too, or give --out")
    except OSError as error:
        return warning(f"{file} cannot be tried: {error.strerror}", "see `write artifacts`")
    return ok(f"no run is writing to {file.parent}")


def check_clock(context: Context) -> CheckResult:
    """This machine's time against the last commit's, and against a server's where one answered."""
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M %z", time.localtime(now))
    fix = "set the clock (NTP): certificates and S3 refuse another time, and make and DVC compare times"
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
    done = subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.strip()
