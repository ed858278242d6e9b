"""Git and DVC as the retrain flow uses them: fetch what is new, record what was accepted, read what was before.

Both are asked through their command lines, never through locks of their own making: a scheduled run may meet a
person's `dvc pull`.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from medtune.config.errors import InputError
from medtune.config.load import read
from medtune.runtime.console import info
from medtune.serving.one_line import last_line

log = logging.getLogger("medtune.flow")

TRACKED_STAGES = ("data", "train")
# What a run itself may change; anything else that git calls changed is somebody's unfinished work.
GENERATED_FILES = ("dvc.lock", "data/folds.csv", "data/.gitignore", ".dvc/config")
NETWORK_TIMEOUT_S = 6 * 3600.0
ROLES = ("AUTHOR", "COMMITTER")
AUTHOR = {"NAME": "MedTune", "EMAIL": "medtune@localhost"}


class CommandError(Exception):
    """git or dvc ended with an error: the command, and the last line that it said."""


class GitDvcRepo:
    """A git checkout with DVC in it.

    Args:
        folder: its root.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def require_recordable(self) -> None:
        """Refuses what cannot be recorded.

        Raises:
            InputError: no git repository with a commit, inside a DVC stage, or changes that are not committed.
        """
        if stage := os.environ.get("DVC_STAGE"):
            raise InputError(f"DVC_STAGE is {stage}: retraining records with DVC, so DVC cannot run it")
        try:
            self.git("rev-parse", "HEAD")
        except CommandError as error:
            raise InputError(
                f"{self.folder} is no git repository with a commit ({error}): a model is known by one"
            ) from None
        changed = [line[3:] for line in self.git("status", "--porcelain", "--untracked-files=no").splitlines()]
        if others := [name for name in changed if name not in GENERATED_FILES and not name.endswith(".dvc")]:
            raise InputError(
                f"{', '.join(others[:5])} changed since the last commit: commit or undo it, so that the commit says "
                "what the model was trained with"
            )

    def head(self) -> str:
        """The current commit."""
        return self.git("rev-parse", "HEAD").strip()

    def tracked_data(self) -> list[str]:
        """Data tracked by DVC: the .dvc files of the checkout."""
        listed = self.git("ls-files", "--cached", "--others", "--exclude-standard", "--", "*.dvc")
        return sorted(name for name in listed.splitlines() if (self.folder / name).is_file())

    def pull(self) -> list[str]:
        """Everything that is new for this checkout: its own changed data, commits, imports, and the data themselves.

        Gives what changed, a line each.
        """
        told = [*self._commit_local_data(), *self._merge()]
        for name in self.tracked_data():
            if "frozen: true" in (self.folder / name).read_text(encoding="utf-8"):  # imported from elsewhere
                before = (self.folder / name).read_bytes()
                self.dvc("update", name)
                if (self.folder / name).read_bytes() != before:
                    told.append(f"{name}: its origin changed")
        if self.remote() and (wanted := [*self.tracked_data(), *self._missing_outputs()]):
            self.dvc("pull", *wanted)
        return told

    def _commit_local_data(self) -> list[str]:
        """Images put into a tracked folder by hand become its new version."""
        if not (names := self.tracked_data()):
            return []
        found = json.loads(self.dvc("status", "--json", *names) or "{}")
        told = []
        for name, changes in sorted(found.items()):
            outs = [
                out for change in changes if isinstance(change, dict) for out in change.get("changed outs", {}).items()
            ]
            if any(state in ("modified", "new") for _, state in outs):
                self.dvc("commit", "--force", name)
                told.append(f"{name}: changed here, recorded")
        return told

    def _merge(self) -> list[str]:
        if not self.upstream():
            return []
        before = self.head()
        self.git("fetch", "--quiet")
        self.git("merge", "--ff-only", "--quiet", "@{upstream}")
        after = self.head()
        return [] if before == after else [f"commits {before[:7]} to {after[:7]}"]

    def changed_files(self, before: str) -> list[str]:
        """Files that commits since `before` changed."""
        return self.git("diff", "--name-only", before, "HEAD").splitlines()

    def upstream(self) -> str | None:
        """The branch that this one follows; None where there is none."""
        try:
            return self.git("rev-parse", "--abbrev-ref", "@{upstream}").strip()
        except CommandError:
            return None

    def remote(self) -> str | None:
        """The default DVC remote; None where there is none."""
        try:
            return self.dvc("config", "core.remote").strip() or None
        except CommandError:
            return None

    def commit_and_push(self, tag: str, message: str) -> None:
        """Commits what DVC made to git, tags it, and sends both to their remotes.

        The data and the artifacts go first: a commit that others can fetch names nothing that they cannot.
        """
        self.dvc("commit", "--force", *TRACKED_STAGES)
        if self.remote():
            self.dvc("push", *TRACKED_STAGES, *self.tracked_data())
        else:
            info("retrain: no DVC remote: the model is in this machine's cache only (docs/remotes.md)")
        paths = [name for name in (*GENERATED_FILES, *self.tracked_data()) if (self.folder / name).is_file()]
        self.git("add", "--", *paths)
        if self.git("diff", "--cached", "--name-only", "--", *paths):
            self.git("commit", "--quiet", "--message", message, "--", *paths)
        if self.upstream():
            self._push()
        self.git("tag", "--force", "--annotate", tag, "--message", message)
        if self.upstream():
            self.git("push", "--quiet", "--force", self._git_remote(), f"refs/tags/{tag}")

    def _push(self) -> None:
        try:
            self.git("push", "--quiet")
        except CommandError:  # somebody was faster
            try:
                self.git("pull", "--rebase", "--quiet")
            except CommandError:
                self.git("rebase", "--abort")
                raise
            self.git("push", "--quiet")

    def read_revision(self, tag: str, path: str) -> str:
        """A file as it was at a tag, out of DVC's cache or its remote.

        Raises:
            CommandError: the tag, the file or its content is missing.
        """
        code = "import dvc.api, sys; sys.stdout.write(dvc.api.read(sys.argv[1], repo=sys.argv[2], rev=sys.argv[3]))"
        return self._run([sys.executable, "-c", code, path, str(self.folder), tag])

    def git(self, *words: str) -> str:
        """What a git command printed.

        Raises:
            CommandError: it ended with an error.
        """
        return self._run(["git", *words])

    def dvc(self, *words: str) -> str:
        """What a DVC command printed.

        Raises:
            CommandError: it ended with an error.
        """
        return self._run([sys.executable, "-m", "dvc", *words])

    def _git_remote(self) -> str:
        branch = self.git("rev-parse", "--abbrev-ref", "HEAD").strip()
        return self.git("config", f"branch.{branch}.remote").strip()

    def _missing_outputs(self) -> list[str]:
        """Stages that dvc.lock knows and whose results are not here: a new clone, a lost disk."""
        lock = self.folder / "dvc.lock"
        known = read(lock).get("stages", {}) if lock.is_file() else {}
        places = {"data": "data/prepared", "train": "artifacts/export"}
        return [stage for stage in TRACKED_STAGES if stage in known and not (self.folder / places[stage]).is_dir()]

    def _run(self, words: Sequence[str]) -> str:
        log.info("%s", " ".join(words[:6]))
        done = subprocess.run(
            words, cwd=self.folder, capture_output=True, text=True, timeout=NETWORK_TIMEOUT_S, env=self._environment,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode:
            log.error("%s", done.stderr)
            shown = " ".join(Path(words[0]).name if n == 0 else w for n, w in enumerate(words[:4])).replace(
                "-m dvc", "dvc"
            )
            raise CommandError(f"{shown}: {last_line(done.stderr or done.stdout, f'exit {done.returncode}')}")
        return done.stdout

    @cached_property
    def _environment(self) -> dict[str, str]:
        """With an author, where git has none: a server often has not."""
        asked = subprocess.run(["git", "config", "user.email"], cwd=self.folder, capture_output=True)
        own = (
            {}
            if asked.returncode == 0
            else {f"GIT_{role}_{part}": value for role in ROLES for part, value in AUTHOR.items()}
        )
        return {**own, **os.environ}
