"""One W&B run per stage, resumed by its id. W&B problems never fail a stage."""

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
BACKOFF_S = 600.0  # pause after an outage, so that not every stage waits for the server
_retry_time = 0.0  # time.monotonic() before which runs are recorded offline


def run_id(key: str) -> str:
    """Return the W&B run id of a cache key; a resumed stage has the same id and continues its run."""
    return key[:32]


class Run:
    """W&B run of a stage, or an object whose methods do nothing if tracking is disabled.

    No method raises. A W&B error, such as no network, an invalid key or a full disk, is reported once. The stage
    continues.

    Args:
        run: run of the wandb package; None if tracking is disabled.
        local_log: local log of the run; None for no log.
        first_step: first step that W&B has not recorded yet.
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
        """Log one point per curve.

        Args:
            values: values by curve name.
            step: number of the step, which must not decrease. Steps that an earlier process recorded are skipped.
        """
        if step < self._first_step:
            return
        if self._local_log is not None:
            self.safely(lambda run: self._local_log.add(step, values))  # type: ignore[union-attr]
        self.safely(lambda run: run.log(values, step=step))

    def image(self, name: str, path: Path) -> None:
        """Log an image file, which must be a plot and never an image of the dataset."""
        self.safely(lambda run: run.log({name: _wandb().Image(str(path))}))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Log a table for display, such as the metrics of all folds."""
        self.safely(lambda run: run.log({name: _wandb().Html(html_table(columns, rows), inject=False)}))

    def summary(self, values: dict[str, Any]) -> None:
        """Set the final values of the run."""
        self.safely(lambda run: run.summary.update(values))

    def finish(self, ok: bool) -> None:
        """Finish the run, as failed if `ok` is False; wait at most two minutes for the upload."""
        finished = self.safely(lambda run: run.finish(exit_code=0 if ok else 1))
        if self._run is not None and not finished:
            _back_off()
            self.safely(_mark_pending)
        if self._local_log is not None:
            with contextlib.suppress(OSError):
                self._local_log.close(recorded=finished)
        self._run = self._local_log = None

    def safely(self, call: Callable[[Any], Any]) -> bool:
        """Call `call` with the W&B run; return False if the call failed or there is no run."""
        if self._run is None:
            return False
        try:
            call(self._run)
        except Exception as error:  # W&B may raise anything, and the stage must continue
            log.warning("W&B call failed", exc_info=True)
            if not self._warned:
                self._warned = True
                message = first_line(error, with_type=True)
                info(f"W&B: {message}; the stage continues, but its recording may be incomplete")
            return False
        return True

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(ok=error is None)

    def _replay(self, first_step: int) -> None:
        """Log the points from `first_step` again, because W&B lost them when the process was killed."""
        assert self._local_log is not None
        self._first_step = first_step
        for step, values in self._local_log.open():
            if step >= first_step:
                self._run.log(values, step=step)
                self._first_step = step  # this step may get more values, earlier steps may not


def start_run(
    stage: str,
    key: str,
    group: str,
    params: Params,
    name: str,
    fold: int | None = None,
    tags: Sequence[str] = (),
) -> Run:
    """Start the W&B run of one stage.

    Args:
        stage: stage name, which becomes the W&B job type.
        key: cache key of the stage, which determines the run id.
        group: pipeline key, shared by all stages of one flow run.
        params: params, written into the run's config without local paths.
        name: display name, for example `frozen fold 1`.
        fold: fold, for stages that run once per fold.
        tags: tags of the run.

    Returns:
        The run, as a context manager. It does nothing if tracking is disabled or cannot start.
    """
    mode = resolve_mode(params)
    if mode == "disabled" or os.environ.get("RANK", "0") != "0":
        return Run()
    cache, wandb_id = RunPaths.from_env().cache, run_id(key)
    if mode == "online" and any(part.pending for part in list_run_files(cache, wandb_id)):
        info("W&B: an earlier part of this run is not uploaded yet, so this part is recorded offline. "
             "`medtune sync` uploads both in order")  # fmt: skip
        mode = "offline"
    if mode == "online" and time.monotonic() < _retry_time:
        info("W&B: the server failed recently, so this run is recorded offline. `medtune sync` "
             "uploads it later")  # fmt: skip
        mode = "offline"
    config = {"key": key, "group": group, "fold": fold, "device": device_class(), "provenance": provenance()}
    for attempt in dict.fromkeys([mode, "offline"]):
        try:
            last_step = _last_step(cache, wandb_id, params)
            run = _init(stage, wandb_id, group[:64], params, name, config, attempt, cache, tags)
            return Run(run, LocalLog(cache, wandb_id), run.starting_step if attempt == "online" else last_step + 1)
        except Exception as error:  # no W&B outage may stop training
            log.warning("W&B could not start (%s)", attempt, exc_info=True)
            consequence = "recording offline instead" if attempt == "online" else "this stage is not recorded"
            info(f"W&B {attempt}: {first_line(error, with_type=True)}; {consequence}")
            _back_off()
            with contextlib.suppress(Exception):
                _wandb().teardown()  # otherwise W&B's process rejects a second start of the same run
    return Run()


def _back_off() -> None:
    global _retry_time
    _retry_time = time.monotonic() + BACKOFF_S


def resolve_mode(params: Params) -> str:
    """Return `online`, `offline` or `disabled`.

    Args:
        params: all params. `tracking.mode` takes precedence over `$WANDB_MODE` unless it is `auto`.

    Returns:
        The mode. If neither sets a mode, it is `online` with `$WANDB_API_KEY` and `offline` without this variable.
    """
    if params.tracking.mode != "auto":
        return params.tracking.mode
    if (mode := os.environ.get("WANDB_MODE", "")) in ("online", "offline", "disabled"):
        return mode
    return "online" if os.environ.get("WANDB_API_KEY") else "offline"


def _init(
    stage: str,
    wandb_id: str,
    group: str,
    params: Params,
    name: str,
    config: dict[str, Any],
    mode: str,
    cache: Path,
    tags: Sequence[str],
) -> Any:
    """Start the run of the wandb package."""
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
        tags=list(tags) or None,
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
    """Return the last step that earlier processes recorded on this machine, or -1."""
    last, destination = -1, (params.tracking.project, params.tracking.entity or "")
    for part in list_run_files(cache, wandb_id):
        with contextlib.suppress(ValueError):  # skip damaged files
            run = read_run(part.file)
            last = max(last, run.last_step if (run.project, run.entity) == destination else -1)
    return last


def _mark_pending(run: Any) -> None:
    """Mark an online run whose upload did not finish, for `medtune.tracking.sync`."""
    if not run.offline:
        Path(f"{run.settings.sync_file}.unsent").touch()
        info("W&B: this run was not uploaded. `medtune sync` uploads it later")


def _wandb() -> Any:
    import wandb

    return wandb
