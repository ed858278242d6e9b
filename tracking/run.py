"""One W&B run a stage: offline unless asked otherwise, and never in the way of training."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from config.cli import say
from config.schema import Params
from config.settings import Paths

log = logging.getLogger("medtune.tracking")

INIT_TIMEOUT_S = 30.0
FINISH_TIMEOUT_S = 120.0


def run_id(key: str) -> str:
    """The W&B run id that belongs to a cache key: a resumed stage continues its run, a cached one is found by it."""
    return key[:32]


class Run:
    """A W&B run, or nothing where tracking is off; every method returns at once and never raises.

    A W&B fault (no network, a refused key, a full disk) is said once, and the stage goes on.
    """

    def __init__(self, run: Any = None) -> None:
        self._run = run
        self._warned = False

    def __bool__(self) -> bool:
        return self._run is not None

    def log(self, values: dict[str, float], step: int) -> None:
        """Adds one point to each curve; `step` may not fall."""
        self._attempt(lambda run: run.log(values, step=step))

    def picture(self, name: str, path: Path) -> None:
        """Adds an image file."""
        self._attempt(lambda run: run.log({name: _wandb().Image(str(path))}))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Adds a table: a confusion matrix, sample predictions."""
        self._attempt(
            lambda run: run.log({name: _wandb().Table(columns=list(columns), data=[list(row) for row in rows])})
        )

    def summary(self, values: dict[str, Any]) -> None:
        """Sets the run's final figures."""
        self._attempt(lambda run: run.summary.update(values))

    def bundle(self, folder: Path, name: str, metadata: dict[str, Any]) -> None:
        """Logs `folder` as a versioned W&B artifact of type `model`."""

        def call(run: Any) -> None:
            artifact = _wandb().Artifact(name, type="model", metadata=metadata)
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                artifact.add_file(str(path), name=path.relative_to(folder).as_posix())
            run.log_artifact(artifact)

        self._attempt(call)

    def finish(self, ok: bool) -> None:
        """Ends the run, as failed where `ok` is False; waits at most two minutes for an upload."""
        self._attempt(lambda run: run.finish(exit_code=0 if ok else 1))
        self._run = None

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(ok=error is None)

    def _attempt(self, call: Callable[[Any], None]) -> None:
        if self._run is None:
            return
        try:
            call(self._run)
        except Exception as error:  # whatever W&B raises, the stage is worth more
            log.warning("W&B call failed", exc_info=True)
            if not self._warned:
                self._warned = True
                say(f"W&B: {_short(error)}; the stage goes on, this run's record may be incomplete")


def start(stage: str, key: str, group: str, params: Params, name: str) -> Run:
    """The W&B run of one stage, as a context manager; does nothing where tracking is off or cannot start.

    Args:
        stage: job type.
        key: the stage's cache key; fixes the run's id.
        group: pipeline key, the same for all stages of one run of the flow.
        params: written whole into the run's config.
        name: shown in the dashboard, "frozen fold 1".
    """
    mode = wanted_mode(params)
    if mode == "disabled" or os.environ.get("RANK", "0") != "0":
        return Run()
    for attempt in dict.fromkeys([mode, "offline"]):
        try:
            return Run(_init(stage, key, group, params, name, attempt))
        except Exception as error:  # an outage must not stop training, whatever its type
            log.warning("W&B could not start (%s)", attempt, exc_info=True)
            instead = "recording offline instead" if attempt == "online" else "this stage is not recorded"
            say(f"W&B {attempt}: {_short(error)}; {instead}")
    return Run()


def wanted_mode(params: Params) -> str:
    """online, offline or disabled: params first, then `$WANDB_MODE`, then whether `$WANDB_API_KEY` is set."""
    if params.tracking.mode != "auto":
        return params.tracking.mode
    if (mode := os.environ.get("WANDB_MODE", "")) in ("online", "offline", "disabled"):
        return mode
    return "online" if os.environ.get("WANDB_API_KEY") else "offline"


def _init(stage: str, key: str, group: str, params: Params, name: str, mode: str) -> Any:
    cache = Paths.at().cache
    (cache / "wandb").mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("WANDB_DATA_DIR", str(cache / "wandb" / "data"))
    os.environ.setdefault("WANDB_CACHE_DIR", str(cache / "wandb" / "cache"))
    wandb = _wandb()
    return wandb.init(
        project=params.tracking.project,
        entity=params.tracking.entity,
        id=run_id(key),
        resume="allow",
        group=group[:64],
        job_type=stage,
        name=name,
        mode=mode,
        dir=str(cache),
        config={**params.model_dump(mode="json"), "key": key, "group": group},
        settings=wandb.Settings(
            silent=True, console="off", init_timeout=INIT_TIMEOUT_S, finish_timeout=FINISH_TIMEOUT_S, save_code=False
        ),
    )


def _wandb() -> Any:
    import wandb

    return wandb


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
