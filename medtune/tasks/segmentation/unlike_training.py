"""Test volumes that differ from the training volumes in spacing, field of view, intensity or network features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtune.data.wording import wording
from medtune.evaluation.out_of_fold import without_tested_patients
from medtune.serving.members import REFIT
from medtune.serving.volumes import network_features
from medtune.serving.volumes.network_features import FeatureLimit
from medtune.serving.volumes.pipeline import Preparation
from medtune.serving.volumes.training_range import TrainingRange
from medtune.tasks.segmentation.feature_space import (
    TRAIN,
    FeatureSpace,
    Rows,
    feature_limit,
    stack,
    training_rows,
)
from medtune.tasks.segmentation.outputs import SegmentedVolumes

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset
    from medtune.evaluation.outputs import OutputsRequest

Flags = npt.NDArray[np.object_]
KINDS = ("spacing", "field of view", "intensity", "network features")


@dataclass(frozen=True, eq=False)
class TrainingVolumes:
    """Training volumes of one network, and the distance of its validation volumes from them.

    Attributes:
        range: range of spacing, field of view and intensity.
        space: map of the features of the network; None if they are unknown.
        val: (n,) rows of the validation volumes.
        distances: (n,) distance of the features of each validation volume; empty without `space`.
    """

    range: TrainingRange
    space: FeatureSpace | None
    val: Rows
    distances: npt.NDArray[np.float64]

    @classmethod
    def measure(
        cls, prepared: "PreparedDataset", request: "OutputsRequest", outputs: Mapping[str, SegmentedVolumes]
    ) -> "TrainingVolumes":
        """Measure the training and validation volumes of a fold.

        Args:
            prepared: prepared dataset.
            request: the network.
            outputs: its segmented volumes by split. Features are compared if there are training volumes with features.

        Returns:
            The result.
        """
        limits = measure_range(prepared, prepared.indices(request.fold)["train"])
        train, val = (_features(outputs[split]) if split in outputs else None for split in (TRAIN, "val"))
        if train is None or val is None or len(train) < 2:
            return cls(limits, None, np.empty(0, np.int64), np.empty(0))
        space = FeatureSpace.fit(train[:, 0])
        return cls(limits, space, request.indices["val"], _distances(space, val))

    def flags(
        self, prepared: "PreparedDataset", rows: Rows, outputs: SegmentedVolumes, limit: FeatureLimit | None
    ) -> Flags:
        """Describe how volumes differ from the training volumes.

        Args:
            prepared: prepared dataset.
            rows: (n,) rows of the volumes.
            outputs: the segmented volumes.
            limit: limit of the distance of features; None to leave the features out.

        Returns:
            (n,) tuples of phrases.
        """
        info, entries = prepared.info["volumes"], prepared.volumes.entries
        rules, unit = Preparation.from_document(info).intensity, wording(prepared.info).length
        found = _features(outputs) if limit and self.space else None
        distances = np.zeros(len(rows)) if found is None or self.space is None else _distances(self.space, found)
        flags = np.empty(len(rows), object)
        for position, (row, distance) in enumerate(zip(rows.tolist(), distances.tolist(), strict=True)):
            entry = entries[row]
            differences = self.range.differences(
                entry.original_shape, entry.spacing, entry.quantiles, info["channels"], rules, unit
            )
            if limit:
                differences += network_features.describe(distance, limit.limit)
            flags[position] = tuple(differences)
        return flags


def extend_request(request: "OutputsRequest", prepared: "PreparedDataset") -> "OutputsRequest":
    """Add training volumes to the request of a fold. Unlike volumes are found by their distance from them."""
    if request.fold == REFIT:
        return request
    rows = np.array(training_rows(prepared, request.fold), np.int64)
    return replace(request, indices={**request.indices, TRAIN: rows})


def measure_range(prepared: "PreparedDataset", rows: Rows) -> TrainingRange:
    """Return the range of the volumes `rows`."""
    entries = [prepared.volumes.entries[row] for row in rows.tolist()]
    return TrainingRange.measure(
        [entry.original_shape for entry in entries],
        [entry.spacing for entry in entries],
        [entry.quantiles for entry in entries],
    )


def choose_limit(
    networks: Sequence[TrainingVolumes], prepared: "PreparedDataset", tested: Rows | None = None
) -> FeatureLimit | None:
    """Choose the limit of the distance on the validation volumes of all networks.

    Args:
        networks: training volumes of each network.
        prepared: prepared dataset.
        tested: rows whose patients must not be used.

    Returns:
        The limit; None if the features are unknown or there are too few validation patients.
    """
    known = [network for network in networks if network.space is not None]
    if not known or known[0].space is None:
        return None
    rows = np.concatenate([network.val for network in known])
    distances = np.concatenate([network.distances for network in known])
    used = np.ones(len(rows), bool) if tested is None else without_tested_patients(prepared, rows, tested)
    return feature_limit(distances[used], prepared.patient_ids[rows[used]], len(known[0].space.center))


def unlike_facts(
    names: Sequence[str], flags: Sequence[Sequence[str]], limits: Sequence[FeatureLimit | None]
) -> dict[str, Any]:
    """Describe the flagged test volumes.

    Args:
        names: (n,) name of each test volume.
        flags: (n,) phrases of each volume.
        limits: limits of the distance of features, one per fold or of a bundle.

    Returns:
        `unlike_training` for metrics.json, which names no volume, and `unlike` for the report. `unlike_training` has
        the number of volumes, `n_flagged`, the number of flagged volumes by kind of difference, and `feature_limits`.
        `unlike` has one entry `{volume, differences}` per flagged volume.
    """
    unlike = [
        {"volume": name, "differences": list(phrases)} for name, phrases in zip(names, flags, strict=True) if phrases
    ]
    kinds = {kind: sum(any(_is_of(phrase, kind) for phrase in row["differences"]) for row in unlike) for kind in KINDS}
    known = [limit.document() for limit in limits if limit is not None]
    summary = {"n_volumes": len(names), "n_flagged": len(unlike), "by_difference": kinds, "feature_limits": known}
    return {"unlike_training": summary, "unlike": unlike}


def _is_of(phrase: str, kind: str) -> bool:
    return phrase.removeprefix("relative ").startswith(kind)


def _features(outputs: SegmentedVolumes) -> npt.NDArray[np.float64] | None:
    return stack([outputs[position].features for position in range(len(outputs))])


def _distances(space: FeatureSpace, features: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.array([network_features.distance(space.whiten(values)) for values in features])
