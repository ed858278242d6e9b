"""Git and DVC operations of the retrain flow: pull new data, record accepted models, read earlier versions.

A user may run `dvc pull` during a scheduled run. The class therefore calls the command lines of git and DVC, which lock
the repository.
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

TRACKED_STAGES = ("data", "train")  # stages of dvc.yaml whose outputs are recorded
# Files that a run may change. Changes to other files are unfinished work of a user.
GENERATED_FILES = ("dvc.lock", "data/folds.csv", "data/.gitignore", ".dvc/config")
NETWORK_TIMEOUT_S = 6 * 3600.0
ROLES = ("AUTHOR", "COMMITTER")
AUTHOR = {"NAME": "MedTune", "EMAIL": "medtune@localhost"}


class CommandError(Exception):
    """Failed git or dvc command, with the last line of its output."""


class GitDvcRepo:
    """Git repository with DVC.

    Args:
        folder: root of the repository.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def require_recordable(self) -> None:
        """Raise if results cannot be recorded in git.

        Raises:
            InputError: the folder is not a git repository with a commit, or has uncommitted changes. Or this process
                runs in a DVC stage.
        """
        if stage := os.environ.get("DVC_STAGE"):
            raise InputError(f"DVC_STAGE={stage}: retraining calls DVC and cannot run in a DVC stage. Run it directly")
        try:
            self.git("rev-parse", "HEAD")
        except CommandError as error:
            raise InputError(
                f"{self.folder}: not a git repository with a commit ({error}). Models are identified by commits. "
                "Run `git init` and commit the project"
            ) from None
        changed = [line[3:] for line in self.git("status", "--porcelain", "--untracked-files=no").splitlines()]
        if others := [name for name in changed if name not in GENERATED_FILES and not name.endswith(".dvc")]:
            raise InputError(
                f"{', '.join(others[:5])}: changed since the last commit. Commit or undo the changes, because the "
                "commit records the configuration of the model"
            )

    def head(self) -> str:
        """Return the hash of the current commit."""
        return self.git("rev-parse", "HEAD").strip()

    def tracked_data(self) -> list[str]:
        """Return the .dvc files of the repository."""
        listed = self.git("ls-files", "--cached", "--others", "--exclude-standard", "--", "*.dvc")
        return sorted(name for name in listed.splitlines() if (self.folder / name).is_file())

    def pull(self) -> list[str]:
        """Record local data changes, merge new commits, update DVC imports and pull data.

        Returns:
            One line per change.

        Raises:
            CommandError: a git or DVC command failed.
        """
        changes = [*self._commit_local_data(), *self._merge()]
        for name in self.tracked_data():
            if "frozen: true" in (self.folder / name).read_text(encoding="utf-8"):  # data that DVC imports
                before = (self.folder / name).read_bytes()
                self.dvc("update", name)
                if (self.folder / name).read_bytes() != before:
                    changes.append(f"{name}: the source of the import changed")
        if self.remote() and (targets := [*self.tracked_data(), *self._missing_outputs()]):
            self.dvc("pull", *targets)
        return changes

    def _commit_local_data(self) -> list[str]:
        """Commit local changes of tracked folders to DVC."""
        if not (names := self.tracked_data()):
            return []
        status = json.loads(self.dvc("status", "--json", *names) or "{}")
        recorded = []
        for name, changes in sorted(status.items()):
            outs = [
                out for change in changes if isinstance(change, dict) for out in change.get("changed outs", {}).items()
            ]
            if any(state in ("modified", "new") for _, state in outs):
                self.dvc("commit", "--force", name)
                recorded.append(f"{name}: local changes recorded")
        return recorded

    def _merge(self) -> list[str]:
        if not self.upstream():
            return []
        before = self.head()
        self.git("fetch", "--quiet")
        self.git("merge", "--ff-only", "--quiet", "@{upstream}")
        after = self.head()
        return [] if before == after else [f"commits {before[:7]} to {after[:7]}"]

    def changed_files(self, before: str) -> list[str]:
        """Return the files that changed between commit `before` and HEAD."""
        return self.git("diff", "--name-only", before, "HEAD").splitlines()

    def upstream(self) -> str | None:
        """Return the upstream branch, or None."""
        try:
            return self.git("rev-parse", "--abbrev-ref", "@{upstream}").strip()
        except CommandError:
            return None

    def remote(self) -> str | None:
        """Return the name of the default DVC remote, or None."""
        try:
            return self.dvc("config", "core.remote").strip() or None
        except CommandError:
            return None

    def commit_and_push(self, tag: str, message: str) -> None:
        """Commit the DVC outputs, tag the commit, and push data and commits to their remotes.

        Data and artifacts are pushed first, so that a commit never refers to data that others cannot fetch.

        Args:
            tag: git tag.
            message: message of the commit and the tag.

        Raises:
            CommandError: a git or DVC command failed.
        """
        self.dvc("commit", "--force", *TRACKED_STAGES)
        if self.remote():
            self.dvc("push", *TRACKED_STAGES, *self.tracked_data())
        else:
            info("retrain: no DVC remote is set, the model is only in the local cache (docs/remotes.md)")
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
        except CommandError:  # someone else pushed in the meantime
            try:
                self.git("pull", "--rebase", "--quiet")
            except CommandError:
                self.git("rebase", "--abort")
                raise
            self.git("push", "--quiet")

    def read_revision(self, tag: str, path: str) -> str:
        """Read a file at a tag from the DVC cache or remote.

        Args:
            tag: git tag.
            path: path of the file in the repository.

        Returns:
            Text of the file.

        Raises:
            CommandError: the tag, the file or its content is missing.
        """
        code = "import dvc.api, sys; sys.stdout.write(dvc.api.read(sys.argv[1], repo=sys.argv[2], rev=sys.argv[3]))"
        return self._run([sys.executable, "-c", code, path, str(self.folder), tag])

    def git(self, *words: str) -> str:
        """Run a git command.

        Args:
            words: arguments of git.

        Returns:
            Output of the command.

        Raises:
            CommandError: the command failed.
        """
        return self._run(["git", *words])

    def dvc(self, *words: str) -> str:
        """Run a DVC command.

        Args:
            words: arguments of DVC.

        Returns:
            Output of the command.

        Raises:
            CommandError: the command failed.
        """
        return self._run([sys.executable, "-m", "dvc", *words])

    def _git_remote(self) -> str:
        branch = self.git("rev-parse", "--abbrev-ref", "HEAD").strip()
        return self.git("config", f"branch.{branch}.remote").strip()

    def _missing_outputs(self) -> list[str]:
        """Return the stages of dvc.lock without local results, as in a new clone."""
        lock = self.folder / "dvc.lock"
        known = read(lock).get("stages", {}) if lock.is_file() else {}
        folders = {"data": "data/prepared", "train": "artifacts/export"}
        return [stage for stage in TRACKED_STAGES if stage in known and not (self.folder / folders[stage]).is_dir()]

    def _run(self, words: Sequence[str]) -> str:
        """Run a command in the repository; return its output or raise CommandError."""
        log.info("%s", " ".join(words[:6]))
        completed = subprocess.run(
            words, cwd=self.folder, capture_output=True, text=True, timeout=NETWORK_TIMEOUT_S, env=self._environment,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if completed.returncode:
            log.error("%s", completed.stderr)
            command = " ".join([Path(words[0]).name, *words[1:4]]).replace("-m dvc", "dvc")
            output = completed.stderr or completed.stdout
            raise CommandError(f"{command}: {last_line(output, f'exit {completed.returncode}')}")
        return completed.stdout

    @cached_property
    def _environment(self) -> dict[str, str]:
        """Environment with a git author if none is configured, as on many servers."""
        completed = subprocess.run(["git", "config", "user.email"], cwd=self.folder, capture_output=True)
        if completed.returncode == 0:
            return dict(os.environ)
        return {f"GIT_{role}_{field}": value for role in ROLES for field, value in AUTHOR.items()} | dict(os.environ)
