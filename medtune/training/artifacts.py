"""Artifacts of training stages: weights, training curve and result.json."""

import csv
import io
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from medtune.config.errors import RunError
from medtune.config.schema import Params
from medtune.data.manifest import PreparedDataset
from medtune.evaluation.metric import nan_to_none
from medtune.runtime.artifact import Artifact, checkpoint_dir, commit, partial_dir, write_text
from medtune.runtime.provenance import provenance
from medtune.tasks import base
from medtune.training import checkpoint
from medtune.training.rate_search import SearchResult
from medtune.training.trainer_config import TrainerConfig

VALIDATION_OUTPUTS_FILE = "validation_outputs.npz"


def prepare_checkpoint_dir(folder: Path) -> Path:
    """Create the checkpoint directory of a run and delete partially written files in it.

    Args:
        folder: artifact folder of the run.

    Returns:
        The checkpoint directory next to `folder`.
    """
    directory = checkpoint_dir(folder)
    directory.mkdir(parents=True, exist_ok=True)
    for leftover in directory.glob(".*.tmp"):
        leftover.unlink()
    return directory


def save_stage_artifact(
    folder: Path,
    config: TrainerConfig,
    search: SearchResult,
    weights: dict[str, Tensor],
    params: Params,
    prepared: PreparedDataset,
    saved_part: str,
    record: dict[str, Any],
) -> Artifact:
    """Publish the trained artifact of a run and delete its checkpoints.

    Args:
        folder: artifacts/<stage>/fold-<k>.
        config: configuration of the run.
        search: result of the learning-rate search. The saved curve and scores are those of the selected candidate.
        weights: weights of the best epoch, saved as model.safetensors.
        params: all params, written into result.json.
        prepared: the training data.
        saved_part: content of model.safetensors: `head`, `all` (a plain network) or `adapted` (a network with a PEFT
            method that cannot be merged).
        record: additional entries of result.json.

    Returns:
        The published artifact.
    """
    state, tmp_dir = search.state, partial_dir(folder)
    shutil.rmtree(tmp_dir, ignore_errors=True)
    tmp_dir.mkdir(parents=True)
    checkpoint.save(
        tmp_dir / "model.safetensors", weights, {"key": config.key, "holds": saved_part, "epoch": state.best_epoch}
    )
    write_text(tmp_dir / "history.csv", _history_csv(state.history))
    if state.validation_outputs is not None:
        save_validation_outputs(tmp_dir, config.val, state.validation_outputs)
    best = state.best_row
    artifact = commit(
        folder,
        config.key,
        {
            "classes": list(prepared.classes),
            "layout": base.training(params.task.kind).layout(prepared),
            "image_size": params.data.image_size,
            "params": params.model_dump(mode="json"),
            "best": {
                "epoch": state.best_epoch,
                "monitor": config.params.monitor,
                "value": nan_to_none(best.get(f"val/{config.params.monitor}", math.nan)),
                "validation": {
                    k.removeprefix("val/"): None if v != v else v for k, v in best.items() if k.startswith("val/")
                },
            },
            "lr": search.lr,
            "trials": [trial.as_dict() for trial in search.trials],
            "images": {"train": len(config.train), "val": len(config.val)},
            "data_digest": prepared.digest,
            "seconds": round(state.seconds, 1),
            "provenance": provenance(),
            **record,
        },
    )
    shutil.rmtree(config.checkpoint_dir, ignore_errors=True)
    return artifact


def save_validation_outputs(folder: Path, rows: npt.NDArray[Any], outputs: npt.NDArray[Any]) -> None:
    """Write outputs (n, ...) for the validation images `rows` (n,), from weights not trained on these images."""
    with (folder / VALIDATION_OUTPUTS_FILE).open("wb") as stream:
        np.savez(stream, rows=rows, outputs=outputs)


def load_validation_outputs(artifact: Artifact, rows: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """Load stored outputs for the validation images.

    A stage stores these outputs if its saved weights were also trained on the validation images. The outputs come from
    weights that were trained without the validation images.

    Args:
        artifact: artifact of a training stage.
        rows: (n,) indices of the validation images.

    Returns:
        Outputs (n, ...); None if the stage stored none.

    Raises:
        RunError: the file has outputs for other images.
    """
    path = artifact.folder / VALIDATION_OUTPUTS_FILE
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as stored:
        if not np.array_equal(stored["rows"], rows):
            raise RunError(
                f"{path}: its images are not the validation images of this fold. Delete the folder and run again"
            )
        outputs: npt.NDArray[Any] = stored["outputs"]
        return outputs


def _history_csv(history: list[dict[str, float]]) -> str:
    """Return the training curve as CSV with an empty cell for NaN."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[-1]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v != v else v for k, v in row.items()} for row in history)
    return text.getvalue()
