"""A small prepared data set and trained networks, written without the stages that produce them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from medtune.config.load import validate
from medtune.config.schema import Params
from medtune.runtime.artifact import Artifact, commit, partial_dir
from medtune.runtime.cache_key import data_key
from medtune.runtime.paths import RunPaths

SIZE = 32
HISTORY = "epoch,step,lr,train/loss,val/loss,val/balanced_accuracy,val/auroc,seconds\n"


@dataclass(frozen=True)
class World:
    params: Params
    paths: RunPaths
    trained: list[Artifact]


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[..., World]:
    """Return a function that writes prepared data and a trained network per fold, which separates bright from dark."""

    def make(
        classes: int = 2,
        test_fold: int | str = "all",
        protocol: str = "patient",
        ruin: bool = False,
        columns: dict[str, list[str]] | None = None,
        head_only: bool = False,
        trained: bool = True,
    ) -> World:
        params = validate(
            {
                "schedule": "frozen",
                "data": {
                    "source": "synthetic",
                    "image_size": SIZE,
                    "split": {"folds": 3, "test_fold": test_fold, "protocol": protocol},
                },
                "model": {
                    "backbone": "test_vit",
                    "weights": "none",
                    "backbone_args": {"img_size": SIZE, "depth": 2},
                    "head": {"kind": "linear"},
                    "peft": {"method": "none"},
                },
                "evaluate": {"batch_size": 7},
                "tracking": {"mode": "disabled"},
            }
        )
        paths = RunPaths(tmp_path, tmp_path / "cache")
        images, labels = write_prepared(paths.prepared, params, classes, columns or {})
        folds = params.data.split.trained_folds if trained else ()
        networks = [write_trained(paths, params, fold, images, labels, ruin, head_only) for fold in folds]
        return World(params, paths, networks)

    return make


def write_prepared(
    folder: Path, params: Params, classes: int, columns: dict[str, list[str]]
) -> tuple[np.ndarray, np.ndarray]:
    """Write five images for each of nine patients, three patients per fold.

    Args:
        folder: folder of the prepared data.
        params: the params of the run.
        classes: number of classes. A patient has one class.
        columns: additional columns of the manifest with a cell per image.

    Returns:
        The images and their labels.
    """
    rng = np.random.default_rng(0)
    names, split = [f"class{k}" for k in range(classes)], params.data.split
    patients = np.repeat(np.arange(9), 5)
    labels = (patients // 3) % classes
    brightness = 60 + 120 * labels / (classes - 1) + rng.normal(0, 25, 9)[patients]
    noise = rng.normal(0, 20, (45, SIZE, SIZE, 3))
    images = np.clip(brightness[:, None, None, None] + noise, 0, 255).astype(np.uint8)
    folds = patients % 3 if split.protocol == "patient" else np.arange(45) % 3
    work = partial_dir(folder)
    work.mkdir(parents=True)
    np.save(work / "images.npy", images)
    roles = [["test" if f == k else "val" if f == split.val_fold_for(k) else "train" for k in range(3)] for f in folds]
    lines = [",".join(["path,label,patient,fold,split,sha256,width,height", *columns, "role_0,role_1,role_2"])]
    for i in range(45):
        cells = [column[i] for column in columns.values()]
        image_cells = f"img/{i}.png,{names[labels[i]]},P{patients[i]},{folds[i]},cv,{i:064x},32,32"
        lines.append(",".join([image_cells, *cells, *roles[i]]))
    (work / "manifest.csv").write_text("\n".join(lines) + "\n")
    leaked = [] if split.protocol == "patient" else [f"P{k}" for k in range(9)]
    info = {
        "name": "Bright & dark",
        "classes": names,
        **({"positive": names[1]} if classes == 2 else {}),
        "license": "CC0",
        "citation": "Nobody",
        "faults": ["drawn <by> code"],
        "notes": ["LEAK: all patients"] if leaked else [],
        "protocol": split.protocol,
        "n_images": 45,
        "n_patients": 9,
        "patients_known": True,
        "leaked_patients": leaked,
        "counts": {},
        "image_size": SIZE,
        "resize": "squash",
    }
    (work / "dataset.json").write_text(json.dumps(info))
    commit(folder, data_key(params), {"stage": "data"})
    return images, labels


def write_trained(
    paths: RunPaths,
    params: Params,
    fold: int,
    images: np.ndarray,
    labels: np.ndarray,
    ruin: bool,
    head_only: bool = False,
) -> Artifact:
    """Write a network with a random backbone and a head fitted by least squares; `head_only` stores no backbone."""
    import torch

    from medtune.data.manifest import load_prepared
    from medtune.models.classifier import build
    from medtune.models.weights import state_sha256
    from medtune.stages.step_keys import frozen_key
    from medtune.training import checkpoint

    prepared = load_prepared(paths.prepared)
    classes = len(prepared.classes)
    model = build(params, classes)
    train = prepared.indices(fold)["train"]
    with torch.inference_mode():
        features = model.features(model.preprocess(torch.from_numpy(images[train]))).flatten(1)
        inputs = torch.cat([features, torch.ones(len(features), 1)], 1).double()
        target = 4.0 * torch.eye(classes)[torch.from_numpy(labels[train])].double()
        solution = torch.linalg.solve(inputs.T @ inputs + 1e-2 * torch.eye(inputs.shape[1]), inputs.T @ target).float()
        weights = model.state_dict()
        weights["head.1.weight"], weights["head.1.bias"] = solution[:-1].T, solution[-1]
        if ruin:
            weights["head.1.bias"] = torch.full_like(solution[-1], torch.nan)
    folder, key = paths.stage("frozen", fold), frozen_key(params, prepared, fold)
    work = partial_dir(folder)
    work.mkdir(parents=True)
    stored = checkpoint.strip_prefix("head", weights) if head_only else weights
    holds = "head" if head_only else "all"
    checkpoint.save(work / "model.safetensors", stored, {"key": key, "holds": holds, "epoch": 2})
    (work / "history.csv").write_text(HISTORY + "1,3,0.1,0.7,0.6,0.5,0.6,1\n2,6,0.1,0.5,0.55,0.7,,1\n")
    result = {
        "stage": "frozen",
        "fold": fold,
        "kept": "frozen",
        "classes": list(prepared.classes),
        "layout": len(prepared.classes),
        "image_size": SIZE,
        "params": params.model_dump(mode="json"),
        "data_digest": prepared.digest,
        **({"backbone_sha256": state_sha256(model.backbone)} if head_only else {}),
    }
    return commit(folder, key, result)
