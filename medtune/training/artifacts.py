"""From a finished training run to its artifact: weights, curve and record."""

import csv
import io
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
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
    """Where the checkpoints of an unfinished run lie, beside its finished place; cleared of half-written files."""
    directory = checkpoint_dir(folder)
    directory.mkdir(parents=True, exist_ok=True)
    for leftover in directory.glob(".*.tmp"):
        leftover.unlink()
    return directory


def save_stage_artifact(
    folder: Path,
    config: TrainerConfig,
    found: SearchResult,
    weights: dict[str, Tensor],
    params: Params,
    prepared: PreparedDataset,
    saved_part: str,
    record: dict[str, Any],
) -> Artifact:
    """Publishes what `config` learned as the trained artifact `folder`, and clears its checkpoints.

    Args:
        folder: artifacts/<stage>/fold-<k>.
        config: the run.
        found: its candidates for the learning rate; the curve and scores are those of the chosen one.
        weights: what is kept of the best epoch; they become model.safetensors.
        params: all params, written into result.json.
        prepared: the data it learned from.
        saved_part: `head`, `all` (a plain network), or `adapted` (with what a PEFT method added), in model.safetensors.
        record: what else result.json says.
    """
    state, tmp_dir = found.state, partial_dir(folder)
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
            "n_outputs": base.training(params.task.kind).n_outputs(prepared),
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
            "lr": found.lr,
            "trials": [trial.as_dict() for trial in found.trials],
            "images": {"train": len(config.train), "val": len(config.val)},
            "data_digest": prepared.digest,
            "seconds": round(state.seconds, 1),
            "provenance": provenance(),
            **record,
        },
    )
    shutil.rmtree(config.checkpoint_dir, ignore_errors=True)
    return artifact


def save_validation_outputs(folder: Path, rows: np.ndarray, outputs: np.ndarray) -> None:
    """Write outputs (n, ...) of the validation images `rows` (n,) by weights that never saw them."""
    with (folder / VALIDATION_OUTPUTS_FILE).open("wb") as stream:
        np.savez(stream, rows=rows, outputs=outputs)


def load_validation_outputs(artifact: Artifact, rows: np.ndarray) -> np.ndarray | None:
    """Outputs (n, ...) for the validation images `rows` (n,); None where the kept weights never saw these images.

    Raises:
        RunError: the file holds other rows.
    """
    path = artifact.folder / VALIDATION_OUTPUTS_FILE
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as stored:
        if not np.array_equal(stored["rows"], rows):
            raise RunError(f"{path}: does not hold the validation images of this fold")
        return stored["outputs"]


def _history_csv(history: list[dict[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[-1]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v != v else v for k, v in row.items()} for row in history)
    return text.getvalue()
