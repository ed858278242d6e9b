"""Solution of the head `logistic` on any subset of the images, from stored features of the frozen backbone."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from medtune.config.load import load
from medtune.config.schema import Params
from medtune.data.manifest import PreparedDataset
from medtune.data.prepared import open_prepared
from medtune.runtime.device import device_name
from medtune.runtime.paths import RunPaths
from medtune.tasks import base
from medtune.training.frozen_features import FrozenFeatures, compute_frozen_features
from medtune.training.logistic import FeatureProblem


@dataclass(frozen=True)
class FrozenHeads:
    """A prepared data set, its params, and the features of its images from the frozen backbone."""

    params: Params
    prepared: PreparedDataset
    features: FrozenFeatures

    def solve(self, rows: np.ndarray, scored: np.ndarray, strength: float) -> torch.Tensor:
        """Solve the head on the images `rows` and return the logits for the images `scored`.

        Args:
            rows: (m,) rows of the training images.
            scored: (n,) rows of the images to predict.
            strength: inverse strength C of the penalty.

        Returns:
            Logits (n, classes).
        """
        objective = base.training("classification").objective(self.params, self.params.frozen, self.prepared, rows)
        classes = len(self.prepared.classes)
        problem = FeatureProblem(
            self.features.store, rows, self.prepared.labels, objective, classes, torch.device("cpu")
        )
        head = problem.solve(strength)
        return self.features.store.fetch(scored).float().flatten(1) @ head.weight.T + head.bias


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of the common arguments: the recipe, `--repeats`, `--set` and `--out`."""
    common = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_argument("recipe", type=Path)
    common.add_argument("--repeats", type=int, default=6)
    common.add_argument("--set", action="append", default=[], dest="sets")
    common.add_argument("--out", type=Path, default=None)
    return common


def open_features(arguments: argparse.Namespace) -> FrozenHeads:
    """Open the prepared data set of the recipe and compute the features of all its images."""
    params = load(arguments.recipe, arguments.sets)
    paths = RunPaths.from_env(arguments.out)
    prepared = open_prepared(paths)
    everything = np.arange(len(prepared.paths))
    return FrozenHeads(
        params, prepared, compute_frozen_features(params, prepared, everything, paths.cache, device_name())
    )
