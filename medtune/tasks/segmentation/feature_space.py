"""Space of network features in which the length of a vector is its distance from the training volumes of a network.

The distance is the Mahalanobis distance. The covariance matrix is that of Ledoit and Wolf (J. Multivariate Analysis
88:365, 2004), which can be inverted although there are often fewer volumes than features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medtune.evaluation.conformal import lowest_probability, min_patients
from medtune.serving.volumes.network_features import FeatureLimit

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
# File of stage evaluate with the spaces, which the export reads.
FEATURES_FILE = "features.npz"
# Split of the training volumes in the outputs of a network.
TRAIN = "train"
# Training volumes whose features are computed, because the prediction of a large volume takes minutes.
MAX_VOLUMES = 50
# Smallest standard deviation of a feature as a fraction of the median. Rounding errors are larger than smaller ones.
MIN_SPREAD = 0.01
TINY = float(np.finfo(np.float32).tiny)
# Fraction of patients whose volumes should not be flagged. Few validation patients only allow a smaller fraction, but
# not below `MIN_SHARE`.
SHARE, MIN_SHARE = 0.95, 0.85


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """Linear map of the features of one network.

    Attributes:
        center: (F,) mean of the training volumes.
        whitening: (F, F) matrix by which centered features are multiplied.
    """

    center: Floats
    whitening: Floats

    @classmethod
    def fit(cls, features: npt.ArrayLike) -> "FeatureSpace":
        """Fit the map to the features (n, F) of at least two training volumes."""
        from sklearn.covariance import ledoit_wolf

        values = np.asarray(features, np.float64)
        center, spread = values.mean(axis=0), values.std(axis=0)
        spread = np.maximum(spread, max(MIN_SPREAD * float(np.median(spread)), TINY))
        covariance, _ = ledoit_wolf((values - center) / spread)
        variances, axes = np.linalg.eigh(covariance)
        smallest = max(variances.max(), 1.0) * 1e-6  # for volumes that are all equal
        whitening = (axes / np.sqrt(np.maximum(variances, smallest))) @ axes.T
        return cls(center, whitening / spread[:, None])

    def whiten(self, features: npt.ArrayLike) -> Floats:
        """Map features (..., F) to the space (..., F)."""
        return np.asarray((np.asarray(features, np.float64) - self.center) @ self.whitening)


def write_spaces(path: Path, spaces: Mapping[int, FeatureSpace | None]) -> None:
    """Write the known spaces of the networks by fold to an npz file. No file is written if none is known."""
    arrays = {}
    for fold, space in spaces.items():
        if space is not None:
            arrays[f"fold{fold}_center"] = space.center.astype(np.float32)
            arrays[f"fold{fold}_whitening"] = space.whitening.astype(np.float32)
    if arrays:
        with path.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]


def read_space(path: Path, fold: int) -> FeatureSpace | None:
    """Read the space of a fold; None if the file does not contain it."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        if f"fold{fold}_center" not in stored:
            return None
        return FeatureSpace(stored[f"fold{fold}_center"], stored[f"fold{fold}_whitening"])


def training_rows(prepared: "PreparedDataset", fold: int) -> list[int]:
    """Return at most `MAX_VOLUMES` training volumes of a fold, at equal distances in the manifest."""
    rows = np.sort(prepared.indices(fold)["train"])
    positions = np.linspace(0, len(rows) - 1, min(len(rows), MAX_VOLUMES)).round().astype(np.int64)
    return [int(row) for row in rows[positions]]


def feature_limit(distances: Floats, patients: npt.NDArray[np.generic], width: int) -> FeatureLimit | None:
    """Determine the largest distance of volumes like the training volumes.

    The limit is that of conformal prediction over patients (see `medtune.evaluation.conformal`). It holds for a new
    patient from the population of the validation patients: at most the fraction 1 - share of such volumes is flagged.

    Args:
        distances: (n,) distance of each validation volume, from a network not trained on it.
        patients: (n,) patient of each volume.
        width: number of features of a network.

    Returns:
        The limit; None if there are too few patients.
    """
    count = len(np.unique(patients))
    if count < min_patients(MIN_SHARE):
        return None
    share = min(SHARE, count / (count + 1))
    lowest = lowest_probability(-distances, patients, share)
    assert lowest is not None  # `share` was chosen such that the number of patients is sufficient
    # A limit of 0 would be invalid. It occurs if the features of all volumes are equal.
    return FeatureLimit(max(-lowest, TINY), share, count, width)


def stack(features: Sequence[np.ndarray | None]) -> Floats | None:
    """Return the features (n, M, F) of n volumes, or None if a volume has none."""
    known = [values for values in features if values is not None]
    return np.stack(known) if known and len(known) == len(features) else None
