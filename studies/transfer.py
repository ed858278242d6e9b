"""`python -m studies.transfer`: bundled weights compared with random weights on the synthetic data set.

A logistic regression is trained on the mean token of the frozen backbone and cross-validated by patient. It is also
cross-validated by image. Images of a patient are then in several splits, which makes the result too good.
"""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
import typer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medtune.cli.program import run
from medtune.config.errors import InputError
from medtune.config.project import PACKAGE
from medtune.data.sources import synthetic
from medtune.runtime.console import info

BUNDLED = PACKAGE / "models" / "bundled"


def network(backbone: str, seed: int | None) -> tuple[Any, dict[str, Any]]:
    """Return the backbone and its model card (JSON). The weights are bundled, or random if `seed` is not None."""
    import timm
    from safetensors.torch import load_file

    card = json.loads((BUNDLED / f"{backbone}.json").read_text(encoding="utf-8"))
    torch.manual_seed(seed or 0)
    model = timm.create_model(backbone, pretrained=False, num_classes=0, **card["backbone_args"])
    if seed is None:
        model.load_state_dict(load_file(BUNDLED / f"{backbone}.safetensors"), strict=True)
    return model.eval(), card


@torch.inference_mode()
def mean_tokens(model: Any, card: dict[str, Any], images: np.ndarray) -> np.ndarray:
    """Return the mean of the final tokens (n, C) of `images` (n, H, W, 3) uint8."""
    mean, std = (torch.tensor(card[name]).view(3, 1, 1) for name in ("mean", "std"))
    parts = []
    for start in range(0, len(images), 64):
        batch = torch.from_numpy(images[start : start + 64]).permute(0, 3, 1, 2).float() / 255
        features = model.forward_features((batch - mean) / std)
        parts.append(features.mean((2, 3)) if features.ndim == 4 else features[:, model.num_prefix_tokens :].mean(1))
    return torch.cat(parts).numpy()


def scores(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, folds: int = 5) -> tuple[float, float]:
    """Return the balanced accuracies of logistic regression, cross-validated by patient (`groups`) and by image."""
    reader = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    by_patient = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    by_image = StratifiedKFold(folds, shuffle=True, random_state=0)
    patient = cross_val_predict(reader, features, labels, groups=groups, cv=by_patient)
    image = cross_val_predict(reader, features, labels, cv=by_image)
    return float(balanced_accuracy_score(labels, patient)), float(balanced_accuracy_score(labels, image))


def drawn(params: synthetic.Params) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the images (n, H, W, 3) uint8, labels and patients of the synthetic data set."""
    records = synthetic.list_samples(None, params)
    images = np.stack([record.read() for record in records if record.read])
    return images, np.array([r.label for r in records]), np.array([r.patient_id for r in records])


def compare(
    backbone: str, images: np.ndarray, labels: np.ndarray, groups: np.ndarray, seeds: Sequence[int]
) -> dict[str, tuple[float, ...]]:
    """Return the balanced accuracies (by patient, by image) of bundled weights and, on average, of random weights."""
    shipped = scores(mean_tokens(*network(backbone, None), images), labels, groups)
    of_seeds = [scores(mean_tokens(*network(backbone, seed), images), labels, groups) for seed in seeds]
    return {"shipped": shipped, "random": tuple(np.mean(of_seeds, axis=0).tolist())}


def transfer(
    backbones: Annotated[list[str] | None, typer.Argument(help="Names in models/bundled; all by default.")] = None,
    seeds: Annotated[int, typer.Option(help="Random initializations to average.")] = 3,
) -> None:
    """Print the balanced accuracies of bundled and random weights on the synthetic data set."""
    known = sorted(path.stem for path in BUNDLED.glob("*.safetensors"))
    for name in backbones or []:
        if name not in known:
            raise InputError(f"no bundled weights for {name!r}; choose from: {', '.join(known)}")
    images, labels, groups = drawn(synthetic.Params())
    info(f"{len(images)} images, {len(set(groups))} patients, 4 tissues; balanced accuracy")
    info(f"{'':34}by patient   by image")
    pixels = images.reshape(len(images), -1, 3) / 255
    color = scores(np.concatenate([pixels.mean(1), pixels.std(1)], axis=1), labels, groups)
    info(f"{'color alone (mean, deviation)':34}{color[0]:10.3f}{color[1]:11.3f}")
    for name in backbones or known:
        found = compare(name, images, labels, groups, range(1, seeds + 1))
        for weights in ("random", "shipped"):
            info(f"{name + ', ' + weights + ' weights':34}{found[weights][0]:10.3f}{found[weights][1]:11.3f}")
        info(f"{name + ', margin':34}{found['shipped'][0] - found['random'][0]:+10.3f}")


if __name__ == "__main__":
    run(transfer)
