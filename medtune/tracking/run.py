"""One W&B run a stage: offline unless asked otherwise, resumed under its id, and never in the way of training."""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from medtune.config.schema import Params
from medtune.runtime.console import say
from medtune.runtime.device import device_class
from medtune.runtime.paths import Paths
from medtune.runtime.provenance import provenance
from medtune.serving.one_line import first_line
from medtune.tracking import redact
from medtune.tracking.local_log import Journal
from medtune.tracking.read import read_run
from medtune.tracking.run_files import parts
from medtune.tracking.table import page

log = logging.getLogger("medtune.tracking")

INIT_TIMEOUT_S = 30.0
FINISH_TIMEOUT_S = 120.0
AGAIN_S = 600.0  # after an outage the server is left alone so long: else every stage would wait for it anew
_ask_again = 0.0  # by time.monotonic()


def run_id(key: str) -> str:
    """The W&B run id that belongs to a cache key: a resumed stage continues its run, a cached one is found by it."""
    return key[:32]


class Run:
    """A W&B run, or nothing where tracking is off; every method returns at once and never raises.

    A W&B fault (no network, a refused key, a full disk) is said once, and the stage goes on.
    """

    def __init__(self, run: Any = None, journal: Journal | None = None, begins: int = 0) -> None:
        self._run = run
        self._journal = journal
        self._begins = 0
        self._warned = False
        if journal is not None:
            self.attempt(lambda _: self._replay(begins))

    def __bool__(self) -> bool:
        return self._run is not None

    def log(self, values: dict[str, float], step: int) -> None:
        """Adds one point to each curve; `step` may not fall. What an earlier process has on record is not repeated."""
        if step < self._begins:
            return
        if self._journal is not None:
            self.attempt(lambda run: self._journal.add(step, values))  # type: ignore[union-attr]
        self.attempt(lambda run: run.log(values, step=step))

    def picture(self, name: str, path: Path) -> None:
        """Adds an image file: a figure, never an image of the data set."""
        self.attempt(lambda run: run.log({name: _wandb().Image(str(path))}))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Adds a table to look at: a confusion matrix, the steps of a flow."""
        self.attempt(lambda run: run.log({name: _wandb().Html(page(columns, rows), inject=False)}))

    def summary(self, values: dict[str, Any]) -> None:
        """Sets the run's final figures."""
        self.attempt(lambda run: run.summary.update(values))

    def finish(self, ok: bool) -> None:
        """Ends the run, as failed where `ok` is False; waits at most two minutes for an upload."""
        ended = self.attempt(lambda run: run.finish(exit_code=0 if ok else 1))
        if self._run is not None and not ended:
            _leave_alone()
            self.attempt(_mark_unsent)
        if self._journal is not None:
            with contextlib.suppress(OSError):
                self._journal.close(recorded=ended)
        self._run = self._journal = None

    def attempt(self, call: Callable[[Any], Any]) -> bool:
        """Calls `call` with W&B's own run, if there is one; False where that failed, or there is none."""
        if self._run is None:
            return False
        try:
            call(self._run)
        except Exception as error:  # whatever W&B raises, the stage is worth more
            log.warning("W&B call failed", exc_info=True)
            if not self._warned:
                self._warned = True
                say(f"W&B: {first_line(error, with_type=True)}; the stage goes on, this run's record may be incomplete")
            return False
        return True

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(ok=error is None)

    def _replay(self, begins: int) -> None:
        """Logs again what was lost with a killed process, from step `begins` on."""
        assert self._journal is not None
        self._begins = begins
        for step, values in self._journal.open():
            if step >= begins:
                self._run.log(values, step=step)
                self._begins = step  # the same step may still get more values, an earlier one not


def start(stage: str, key: str, group: str, params: Params, name: str, fold: int | None = None) -> Run:
    """The W&B run of one stage, as a context manager; does nothing where tracking is off or cannot start.

    Args:
        stage: job type.
        key: the stage's cache key; fixes the run's id.
        group: pipeline key, the same for all stages of one run of the flow.
        params: written into the run's config, without local paths.
        name: shown in the dashboard, "frozen fold 1".
        fold: of the chain, where the stage runs once a chain.
    """
    mode = wanted_mode(params)
    if mode == "disabled" or os.environ.get("RANK", "0") != "0":
        return Run()
    cache, own = Paths.at().cache, run_id(key)
    if mode == "online" and any(part.waits for part in parts(cache, own)):
        say("W&B: an earlier part of this run is not uploaded yet, so this one is recorded offline: "
            "`medtune sync` uploads both in order")  # fmt: skip
        mode = "offline"
    if mode == "online" and time.monotonic() < _ask_again:
        say("W&B: its server failed a short while ago, so this run is recorded offline: `medtune sync` "
            "uploads it later")  # fmt: skip
        mode = "offline"
    config = {"key": key, "group": group, "fold": fold, "device": device_class(), "provenance": provenance()}
    for attempt in dict.fromkeys([mode, "offline"]):
        try:
            earlier = _last_step(cache, own, params)
            run = _init(stage, own, group[:64], params, name, config, attempt, cache)
            return Run(run, Journal(cache, own), run.starting_step if attempt == "online" else earlier + 1)
        except Exception as error:  # an outage must not stop training, whatever its type
            log.warning("W&B could not start (%s)", attempt, exc_info=True)
            instead = "recording offline instead" if attempt == "online" else "this stage is not recorded"
            say(f"W&B {attempt}: {first_line(error, with_type=True)}; {instead}")
            _leave_alone()
            with contextlib.suppress(Exception):
                _wandb().teardown()  # its process still holds the run that did not start, and would refuse it
    return Run()


def _leave_alone() -> None:
    global _ask_again
    _ask_again = time.monotonic() + AGAIN_S


def wanted_mode(params: Params) -> str:
    """online, offline or disabled: params first, then `$WANDB_MODE`, then whether `$WANDB_API_KEY` is set."""
    if params.tracking.mode != "auto":
        return params.tracking.mode
    if (mode := os.environ.get("WANDB_MODE", "")) in ("online", "offline", "disabled"):
        return mode
    return "online" if os.environ.get("WANDB_API_KEY") else "offline"


def _init(
    stage: str, own: str, group: str, params: Params, name: str, config: dict[str, Any], mode: str, cache: Path
) -> Any:
    redact.environment(cache)
    wandb = _wandb()
    return wandb.init(
        project=params.tracking.project,
        entity=params.tracking.entity,
        id=own,
        resume="allow",
        group=group,
        job_type=stage,
        name=name,
        mode=mode,
        dir=str(cache),
        config=redact.without_paths({**params.model_dump(mode="json"), **config}),
        settings=wandb.Settings(
            silent=True,
            console="off",
            init_timeout=INIT_TIMEOUT_S,
            finish_timeout=FINISH_TIMEOUT_S,
            finish_timeout_raises=True,
            **redact.SETTINGS,
        ),
    )


def _last_step(cache: Path, own: str, params: Params) -> int:
    """The last step that earlier processes have on record here; -1: none."""
    last, place = -1, (params.tracking.project, params.tracking.entity or "")
    for part in parts(cache, own):
        with contextlib.suppress(ValueError):  # a file that is damaged has nothing on record
            run = read_run(part.file)
            last = max(last, run.last_step if (run.project, run.entity) == place else -1)
    return last


def _mark_unsent(run: Any) -> None:
    """Leaves a mark for `medtune.tracking.sync` beside an online run that was not uploaded in time."""
    if not run.offline:
        Path(f"{run.settings.sync_file}.unsent").touch()
        say("W&B: this run is not uploaded; `medtune sync` does it later")


def _wandb() -> Any:
    import wandb

    return wandb
