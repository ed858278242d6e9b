"""Check that the masks of every split contain every label."""

from collections.abc import Sequence

import numpy as np

from medtune.config.data import SplitParams
from medtune.config.errors import InputError, pluralize
from medtune.data.class_selection import list_names
from medtune.data.split_checks import SPLITS
from medtune.data.volume_inspection import VolumeFacts

_SHOWN = 5


def check_labels(
    facts: Sequence[VolumeFacts], splits: np.ndarray, labels: Sequence[str], params: SplitParams, unit: str = "volume"
) -> list[str]:
    """Find labels that are absent from a split of a fold.

    Args:
        facts: properties of each volume.
        splits: (n, folds) split of each volume, for each test fold.
        labels: label names without the background.
        params: section `data.split` of params.yaml.
        unit: singular word for a volume in messages.

    Returns:
        One sentence per label that is absent from train, validation or test of a fold.

    Raises:
        InputError: a label is in no mask, or it is in no training mask of a fold and `allow_missing_classes` is false.
    """
    present = np.array([fact.voxels for fact in facts]) > 0
    if unused := [name for name, volumes in zip(labels, present.sum(0).tolist(), strict=True) if not volumes]:
        raise InputError(
            f"no mask contains the label {list_names(unused)}. Add {unit}s with it, or remove it from the labels"
        )
    notes = []
    for column, name in enumerate(labels):
        absent = [
            (split, fold)
            for fold in params.trained_folds
            for split in SPLITS
            if not present[splits[:, fold] == split, column].any()
        ]
        n_volumes = int(present[:, column].sum())
        if any(split == "train" for split, _ in absent) and not params.allow_missing_classes:
            fold = next(fold for split, fold in absent if split == "train")
            raise InputError(
                f"data.split.protocol={params.protocol}: test fold {fold}: no training {unit} has the label {name} "
                f"(label in {pluralize(n_volumes, unit)}). Add {unit}s with it, use another split, or accept it with "
                "data.split.allow_missing_classes=true"
            )
        if absent:
            shown = ", ".join(f"{split} of test fold {fold}" for split, fold in absent[:_SHOWN])
            more = f" and {len(absent) - _SHOWN:,} more" if len(absent) > _SHOWN else ""
            notes.append(f"Label {name} ({pluralize(n_volumes, unit)}) is absent from {shown}{more}.")
    return notes
