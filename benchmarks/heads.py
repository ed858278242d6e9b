"""Heads on a frozen backbone, compared by repeated cross-validation over patients: how the default was chosen.

    python -m benchmarks.heads RECIPE [--repeats 6] [--set key=value ...]

The data must be prepared (`medtune data --params RECIPE`). In each repeat the patients are assigned to five new folds,
and each fold is predicted by heads that were solved on the other four. Within a repeat nothing is chosen: the table
compares fixed settings. It prints means over the repeats: pooled AUROC, mean AUROC over folds, balanced accuracy of
the most probable class, and the negative log-likelihood.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold

from medtune.config.load import load
from medtune.data.prepared import open_prepared
from medtune.runtime.device import device_name
from medtune.runtime.paths import RunPaths
from medtune.tasks import base
from medtune.tasks.classification import baseline
from medtune.tasks.classification.metrics import compute_all
from medtune.training.frozen_features import compute_frozen_features
from medtune.training.logistic import FeatureProblem

STRENGTHS = (0.5, 1.0, 2.0, 5.0, 10.0)
FOLDS = 5
Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--set", action="append", default=[], dest="sets")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    params = load(arguments.recipe, arguments.sets)
    paths = RunPaths.from_env(arguments.out)
    prepared = open_prepared(paths)
    everything = np.arange(len(prepared.paths))
    features = compute_frozen_features(params, prepared, everything, paths.cache, device_name())
    labels, classes = prepared.labels, len(prepared.classes)

    def regression(name: str) -> Predict:
        return lambda rows, test: baseline.fit_and_predict(
            features.fetch(name, rows), labels[rows], features.fetch(name, test), classes
        )

    def solved(strength: float) -> Predict:
        def predict(rows: np.ndarray, test: np.ndarray) -> np.ndarray:
            objective = base.training("classification").objective(params, params.frozen, prepared, rows)
            problem = FeatureProblem(features.store, rows, labels, objective, classes, torch.device("cpu"))
            found = problem.solve(strength)
            x = features.store.fetch(test).float().flatten(1)
            return (x @ found.weight.T + found.bias).softmax(1).double().numpy()

        return predict

    settings = {f"baseline: {name}": regression(name) for name in features.names}
    settings |= {f"logistic, C {strength:g}": solved(strength) for strength in STRENGTHS}
    print("| setting | AUROC, pooled | AUROC, mean of folds | balanced accuracy | NLL |\n|-|-|-|-|-|")
    for name, predict in settings.items():
        rows = [_repeat(predict, labels, prepared.patient_ids, classes, seed) for seed in range(arguments.repeats)]
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in np.mean(rows, axis=0)) + " |", flush=True)


def _repeat(predict: Predict, labels: np.ndarray, patients: np.ndarray, classes: int, seed: int) -> list[float]:
    found, by_fold = np.zeros((len(labels), classes)), []
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for rows, test in splitter.split(labels, labels, patients):
        found[test] = predict(rows, test)
        own = compute_all(labels[test], found[test], found[test].argmax(1), patients[test])["auroc"]
        by_fold.append(np.nan if own is None else own)
    whole = compute_all(labels, found, found.argmax(1), patients)
    likelihood = -np.log(np.maximum(found[np.arange(len(labels)), labels], 1e-12)).mean()
    values = [whole["auroc"], float(np.nanmean(by_fold)), whole["balanced_accuracy"], float(likelihood)]
    return [np.nan if value is None else value for value in values]


if __name__ == "__main__":
    main()
