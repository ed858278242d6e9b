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
from medtune.runtime.console import info
from medtune.runtime.device import device_class
from medtune.runtime.paths import RunPaths
from medtune.runtime.provenance import provenance
from medtune.serving.one_line import first_line
from medtune.tracking import redact
from medtune.tracking.local_log import LocalLog
from medtune.tracking.read import read_run
from medtune.tracking.run_files import list_run_files
from medtune.tracking.table import html_table

log = logging.getLogger("medtune.tracking")

INIT_TIMEOUT_S = 30.0
FINISH_TIMEOUT_S = 120.0
BACKOFF_S = 600.0  # after an outage the server is left alone so long: else every stage would wait for it anew
_retry_time = 0.0  # by time.monotonic()


def run_id(key: str) -> str:
    """The W&B run id that belongs to a cache key: a resumed stage continues its run, a cached one is found by it."""
    return key[:32]


class Run:
    """A W&B run, or nothing where tracking is off; every method returns at once and never raises.

    A W&B fault (no network, a refused key, a full disk) is said once, and the stage goes on.
    """

    def __init__(self, run: Any = None, local_log: LocalLog | None = None, first_step: int = 0) -> None:
        self._run = run
        self._local_log = local_log
        self._first_step = 0
        self._warned = False
        if local_log is not None:
            self.safely(lambda _: self._replay(first_step))

    def __bool__(self) -> bool:
        return self._run is not None

    def log(self, values: dict[str, float], step: int) -> None:
        """Adds one point to each curve; `step` may not fall. What an earlier process has on record is not repeated."""
        if step < self._first_step:
            return
        if self._local_log is not None:
            self.safely(lambda run: self._local_log.add(step, values))  # type: ignore[union-attr]
        self.safely(lambda run: run.log(values, step=step))

    def image(self, name: str, path: Path) -> None:
        """Adds an image file: a figure, never an image of the data set."""
        self.safely(lambda run: run.log({name: _wandb().Image(str(path))}))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Adds a table to look at: a confusion matrix, the steps of a flow."""
        self.safely(lambda run: run.log({name: _wandb().Html(html_table(columns, rows), inject=False)}))

    def summary(self, values: dict[str, Any]) -> None:
        """Sets the run's final figures."""
        self.safely(lambda run: run.summary.update(values))

    def finish(self, ok: bool) -> None:
        """Ends the run, as failed where `ok` is False; waits at most two minutes for an upload."""
        ended = self.safely(lambda run: run.finish(exit_code=0 if ok else 1))
        if self._run is not None and not ended:
            _back_off()
            self.safely(_mark_pending)
        if self._local_log is not None:
            with contextlib.suppress(OSError):
                self._local_log.close(recorded=ended)
        self._run = self._local_log = None

    def safely(self, call: Callable[[Any], Any]) -> bool:
        """Calls `call` with W&B's own run, if there is one; False where that failed, or there is none."""
        if self._run is None:
            return False
        try:
            call(self._run)
        except Exception as error:  # whatever W&B raises, the stage is worth more
            log.warning("W&B call failed", exc_info=True)
            if not self._warned:
                self._warned = True
                info(
                    f"W&B: {first_line(error, with_type=True)}; the stage goes on, this run's record may be incomplete"
                )
            return False
        return True

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(ok=error is None)

    def _replay(self, first_step: int) -> None:
        """Logs again what was lost with a killed process, from step `first_step` on."""
        assert self._local_log is not None
        self._first_step = first_step
        for step, values in self._local_log.open():
            if step >= first_step:
                self._run.log(values, step=step)
                self._first_step = step  # the same step may still get more values, an earlier one not


def start_run(stage: str, key: str, group: str, params: Params, name: str, fold: int | None = None) -> Run:
    """The W&B run of one stage, as a context manager; does nothing where tracking is off or cannot start.

    Args:
        stage: job type.
        key: the stage's cache key; fixes the run's id.
        group: pipeline key, the same for all stages of one run of the flow.
        params: written into the run's config, without local paths.
        name: shown in the dashboard, "frozen fold 1".
        fold: of the chain, where the stage runs once a chain.
    """
    mode = resolve_mode(params)
    if mode == "disabled" or os.environ.get("RANK", "0") != "0":
        return Run()
    cache, wandb_id = RunPaths.from_env().cache, run_id(key)
    if mode == "online" and any(part.pending for part in list_run_files(cache, wandb_id)):
        info("W&B: an earlier part of this run is not uploaded yet, so this one is recorded offline: "
            "`medtune sync` uploads both in order")  # fmt: skip
        mode = "offline"
    if mode == "online" and time.monotonic() < _retry_time:
        info("W&B: its server failed a short while ago, so this run is recorded offline: `medtune sync` "
            "uploads it later")  # fmt: skip
        mode = "offline"
    config = {"key": key, "group": group, "fold": fold, "device": device_class(), "provenance": provenance()}
    for attempt in dict.fromkeys([mode, "offline"]):
        try:
            earlier = _last_step(cache, wandb_id, params)
            run = _init(stage, wandb_id, group[:64], params, name, config, attempt, cache)
            return Run(run, LocalLog(cache, wandb_id), run.starting_step if attempt == "online" else earlier + 1)
        except Exception as error:  # an outage must not stop training, whatever its type
            log.warning("W&B could not start (%s)", attempt, exc_info=True)
            consequence = "recording offline instead" if attempt == "online" else "this stage is not recorded"
            info(f"W&B {attempt}: {first_line(error, with_type=True)}; {consequence}")
            _back_off()
            with contextlib.suppress(Exception):
                _wandb().teardown()  # its process still holds the run that did not start, and would refuse it
    return Run()


def _back_off() -> None:
    global _retry_time
    _retry_time = time.monotonic() + BACKOFF_S


def resolve_mode(params: Params) -> str:
    """online, offline or disabled: params first, then `$WANDB_MODE`, then whether `$WANDB_API_KEY` is set."""
    if params.tracking.mode != "auto":
        return params.tracking.mode
    if (mode := os.environ.get("WANDB_MODE", "")) in ("online", "offline", "disabled"):
        return mode
    return "online" if os.environ.get("WANDB_API_KEY") else "offline"


def _init(
    stage: str, wandb_id: str, group: str, params: Params, name: str, config: dict[str, Any], mode: str, cache: Path
) -> Any:
    redact.set_environment(cache)
    wandb = _wandb()
    return wandb.init(
        project=params.tracking.project,
        entity=params.tracking.entity,
        id=wandb_id,
        resume="allow",
        group=group,
        job_type=stage,
        name=name,
        mode=mode,
        dir=str(cache),
        config=redact.redact_paths({**params.model_dump(mode="json"), **config}),
        settings=wandb.Settings(
            silent=True,
            console="off",
            init_timeout=INIT_TIMEOUT_S,
            finish_timeout=FINISH_TIMEOUT_S,
            finish_timeout_raises=True,
            **redact.SETTINGS,
        ),
    )


def _last_step(cache: Path, wandb_id: str, params: Params) -> int:
    """The last step that earlier processes have on record here; -1: none."""
    last, destination = -1, (params.tracking.project, params.tracking.entity or "")
    for part in list_run_files(cache, wandb_id):
        with contextlib.suppress(ValueError):  # a file that is damaged has nothing on record
            run = read_run(part.file)
            last = max(last, run.last_step if (run.project, run.entity) == destination else -1)
    return last


def _mark_pending(run: Any) -> None:
    """Leaves a mark for `medtune.tracking.sync` beside an online run that was not uploaded in time."""
    if not run.offline:
        Path(f"{run.settings.sync_file}.unsent").touch()
        info("W&B: this run is not uploaded; `medtune sync` does it later")


def _wandb() -> Any:
    import wandb

    return wandb
