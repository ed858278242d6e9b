"""From a finished training run to its artifact: weights, curve and record."""

import csv
import io
import shutil
from pathlib import Path
from typing import Any

from torch import Tensor

from medtune.config.schema import Params
from medtune.data.manifest import PreparedDataset
from medtune.evaluation.metric import nan_to_none
from medtune.runtime.artifact import Artifact, checkpoint_dir, commit, partial_dir, write_text
from medtune.runtime.provenance import provenance
from medtune.tasks import base
from medtune.training import checkpoint
from medtune.training.job import Job, Progress


def scratch(folder: Path) -> Path:
    """Where the checkpoints of an unfinished run lie, beside its finished place; cleared of half-written files."""
    work = checkpoint_dir(folder)
    work.mkdir(parents=True, exist_ok=True)
    for stray in work.glob(".*.tmp"):
        stray.unlink()
    return work


def keep(
    folder: Path,
    job: Job,
    done: Progress,
    weights: dict[str, Tensor],
    params: Params,
    prepared: PreparedDataset,
    holds: str,
    record: dict[str, Any],
) -> Artifact:
    """Publishes what `job` learned as the trained artifact `folder`, and clears its checkpoints.

    Args:
        folder: artifacts/<stage>/fold-<k>.
        job: the run.
        done: where it ended.
        weights: the best epoch's; they become model.safetensors.
        params: all params, written into result.json.
        prepared: the data it learned from.
        holds: `head`, `all` (a plain network), or `adapted` (with what a PEFT method added), in model.safetensors.
        record: what else result.json says.
    """
    assert done.best is not None
    work = partial_dir(folder)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    checkpoint.save(work / "model.safetensors", weights, {"key": job.key, "holds": holds, "epoch": done.best_epoch})
    write_text(work / "history.csv", _table(done.history))
    best = next(row for row in done.history if row["epoch"] == done.best_epoch)
    artifact = commit(
        folder,
        job.key,
        {
            "classes": list(prepared.classes),
            "n_outputs": base.training(params.task.kind).n_outputs(prepared),
            "image_size": params.data.image_size,
            "params": params.model_dump(mode="json"),
            "best": {
                "epoch": done.best_epoch,
                "select_by": job.params.select_by,
                "value": nan_to_none(best[f"val/{job.params.select_by}"]),
                "validation": {
                    k.removeprefix("val/"): None if v != v else v for k, v in best.items() if k.startswith("val/")
                },
            },
            "images": {"train": len(job.train), "val": len(job.val)},
            "data_digest": prepared.digest,
            "seconds": round(done.seconds, 1),
            "provenance": provenance(),
            **record,
        },
    )
    shutil.rmtree(job.work, ignore_errors=True)
    return artifact


def _table(history: list[dict[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[-1]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v != v else v for k, v in row.items()} for row in history)
    return text.getvalue()
