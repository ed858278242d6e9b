"""One training stage from network to artifact: job, watched run, kept result."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from medtune.config.schema import Params
from medtune.data.manifest import PreparedDataset
from medtune.runtime import distributed
from medtune.runtime.artifact import Artifact, find_artifact
from medtune.runtime.device import device_name
from medtune.tasks import base
from medtune.tracking import lineage
from medtune.tracking.run import start_run
from medtune.training import artifacts as outcome
from medtune.training.inputs import Feed
from medtune.training.job import Job
from medtune.training.loop import Trainer
from medtune.training.schedule import stream_seed


@dataclass
class Setup:
    """What differs between the two stages.

    Attributes:
        stage: params section and artifact folder.
        network: maps what `feed` gives to the task's output.
        saved: the part whose weights are kept.
        holds: `head` or `all`, what `saved` is.
        set_modes: puts every module in its training mode.
        start: network that training starts from, a candidate for the best; None: it is none.
        uses: trained artifacts it begins from, for the record.
        penalty, after_step, compile: as in `Job`.
        record: called at the end with the best epoch; what else result.json says.
        finish: called before it with the best epoch and its weights; gives what is kept, and what `holds` it is.
    """

    stage: Literal["frozen", "finetune"]
    network: nn.Module
    saved: nn.Module
    holds: Literal["head", "all"]
    feed: Feed
    set_modes: Callable[[], None]
    record: Callable[[int], dict[str, Any]]
    start: nn.Module | None = None
    uses: tuple[Artifact, ...] = ()
    penalty: Callable[[], Tensor] | None = None
    after_step: Callable[[int, int], None] | None = None
    compile: bool = False
    finish: Callable[[int, dict[str, Tensor]], tuple[dict[str, Tensor], str]] | None = None


def fit(
    setup: Setup, params: Params, prepared: PreparedDataset, folder: Path, fold: int, key: str, group: str
) -> Artifact:
    """Trains to the end, from a checkpoint of the same key where there is one, and publishes `folder`."""
    section = getattr(params, setup.stage)
    rows = prepared.indices(fold)
    name = f"{setup.stage} fold {fold}"
    task = base.training(params.task.kind)
    metrics = base.metrics(params.task.kind)
    with start_run(setup.stage, key, group, params, name, fold) as run:
        lineage.log_inputs(run, prepared, setup.uses)
        job = Job(
            name=name,
            network=setup.network,
            saved=setup.saved,
            set_modes=setup.set_modes,
            feed=setup.feed,
            targets=prepared.targets,
            objective=task.objective(params, section, prepared, rows["train"]),
            train=rows["train"],
            val=rows["val"],
            params=section,
            seed=stream_seed(params.seed, setup.stage),
            key=key,
            work=outcome.scratch(folder),
            signs={"loss": -1, **{metric.name: metric.sign for metric in metrics}},
            start=setup.start,
            penalty=setup.penalty,
            after_step=setup.after_step,
            compile=setup.compile,
            on_step=lambda step, values: run.log(values, step),
            # A chart over `frozen/epoch` shows the runs that have it: those of stage 1.
            on_epoch=lambda step, values: run.log({**values, f"{setup.stage}/epoch": values["epoch"]}, step),
        )
        done, best = Trainer(job, device_name()).run()
        with distributed.main_process_first():
            if distributed.rank() > 0:
                return _published(folder, key)
            holds: str = setup.holds
            if setup.finish:
                best, holds = setup.finish(done.best_epoch, best)
            record = {"stage": setup.stage, "fold": fold, **setup.record(done.best_epoch)}
            artifact = outcome.keep(folder, job, done, best, params, prepared, holds, record)
        validation = artifact.result()["best"]["validation"]
        best_scores = {f"best/{name}": value for name, value in validation.items()}
        run.summary({"kept": record["kept"], "best_epoch": done.best_epoch, **best_scores})
        lineage.log_model(run, artifact)
    return artifact


def _published(folder: Path, key: str) -> Artifact:
    """What the first process published."""
    artifact = find_artifact(folder, key)
    if artifact is None:
        raise RuntimeError(f"{folder} is not there: the output folder must be one for all processes")
    return artifact
