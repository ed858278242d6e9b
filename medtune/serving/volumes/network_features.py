"""Features of the networks for a volume, and their distance from the features of the training volumes.

The graph returns the features of each window. They are centered and scaled such that the features of the training
volumes have the mean 0 and about the covariance matrix of unit variances (whitening). The length of the mean over the
windows of a volume is then its Mahalanobis distance from the training volumes (Lee et al., NeurIPS 2018).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medtune.serving.field_error import FieldError

# Name of an output of the graph, float32 (N, M, F): whitened features of M networks. Older bundles do not have it.
FEATURES = "features"
# Entry of `volumes` in bundle.json, which a bundle with this output has.
KEY = "feature_limit"


class FeatureSums:
    """Sums of the features over the windows of a volume, so that the memory does not depend on their number."""

    def __init__(self) -> None:
        self._sum: Any = 0.0
        self._count = 0

    def __bool__(self) -> bool:
        """True if there are windows to average."""
        return self._count > 0

    def add(self, features: np.ndarray) -> None:
        """Add the features (B, M, F) of some windows."""
        self._sum = self._sum + features.sum(axis=0, dtype=np.float64)
        self._count += len(features)

    def take(self) -> np.ndarray:
        """Return the mean (M, F) over the windows, and start with the next volume."""
        mean = np.asarray(self._sum / self._count, np.float64)
        self._sum, self._count = 0.0, 0
        return mean


@dataclass(frozen=True)
class FeatureLimit:
    """Largest distance of volumes like the training volumes, measured on validation volumes.

    Attributes:
        limit: the distance.
        share: fraction of patients whose volumes are expected to have at most this distance, if they are from the
            population of the validation patients.
        patients: number of validation patients.
        width: number of features F of each network.
    """

    limit: float
    share: float
    patients: int
    width: int

    @classmethod
    def from_document(cls, values: Any) -> "FeatureLimit | None":
        """Parse the result of `document`.

        Args:
            values: entry `volumes.feature_limit` of bundle.json; None if the bundle lacks it.

        Returns:
            The limit, or None for None.

        Raises:
            FieldError: a field is missing or invalid.
        """
        if values is None:
            return None
        if not isinstance(values, Mapping):
            raise FieldError(KEY, values, "a mapping")
        for name in ("limit", "share"):
            value = values.get(name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
                raise FieldError(f"{KEY}.{name}", value, "a number above 0")
        for name in ("patients", "width"):
            value = values.get(name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise FieldError(f"{KEY}.{name}", value, "a number, 1 or more")
        return cls(**{name: values[name] for name in ("limit", "share", "patients", "width")})

    def document(self) -> dict[str, Any]:
        """Return the JSON values for bundle.json."""
        return asdict(self)

    def differences(self, features: np.ndarray) -> list[str]:
        """Describe how a volume differs from the training volumes.

        Args:
            features: (M, F) whitened features of M networks.

        Returns:
            One phrase if the distance is above the limit, else none.
        """
        return describe(distance(features), self.limit)


def distance(features: np.ndarray) -> float:
    """Return the mean distance over the networks.

    Args:
        features: (M, F) whitened features of M networks.

    Returns:
        The distance, 0 or more.
    """
    return float(np.sqrt((np.asarray(features, np.float64) ** 2).sum(axis=-1)).mean())


def describe(value: float, limit: float) -> list[str]:
    """Return one phrase if a distance is above the limit or NaN, else none."""
    return [] if value <= limit else [f"network features: distance {value:.4g} (limit {limit:.4g})"]
