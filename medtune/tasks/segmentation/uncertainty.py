"""Uncertainty of label maps: its correlation with the Dice of test volumes, and volumes that a person should check."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtune.tasks.segmentation.folds import SegmentationFold
from medtune.tasks.segmentation.volume_predictions import VolumePredictions

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

Floats = npt.NDArray[np.float64]
FLAG_PERCENTILE = 90  # of the validation volumes; test volumes above it are flagged
# Fewer patients give no usable interval of a rank correlation.
MIN_PATIENTS = 10


def volume_uncertainty(predictions: VolumePredictions) -> Floats:
    """Return the largest uncertainty (n,) over the predicted labels of each volume; 1 if no label is predicted."""
    nothing = np.isnan(predictions.uncertainty).all(axis=1)
    return np.where(nothing, 1.0, np.nan_to_num(predictions.uncertainty).max(axis=1, initial=0.0))


def _limit(validation: Sequence[VolumePredictions]) -> float | None:
    """Return the uncertainty above which a volume is flagged; None if no validation volume has a predicted label."""
    known = [volume_uncertainty(part)[~np.isnan(part.uncertainty).all(axis=1)] for part in validation]
    values = np.concatenate(known) if known else np.empty(0)
    return float(np.percentile(values, FLAG_PERCENTILE)) if len(values) else None


def uncertainty_facts(
    prepared: "PreparedDataset", folds: Sequence[SegmentationFold], pooled: VolumePredictions, confidence: float
) -> dict[str, Any]:
    """Compare the uncertainty of the test volumes with their Dice, and flag uncertain volumes.

    A volume is flagged if its uncertainty is above the 90th percentile of the validation volumes of all folds. Test
    volumes without a predicted label have the uncertainty 1. Validation volumes without a predicted label do not
    count, because many such volumes would raise the limit to 1.

    Args:
        prepared: prepared dataset.
        folds: results of the folds; empty for a bundle (an exported model), which has no validation volumes.
        pooled: predictions of the test volumes of these folds.
        confidence: confidence level of the intervals, 0..1.

    Returns:
        `uncertainty` for metrics.json, without names of patients, and `flagged` for the report. `uncertainty` has
        `labels`, one entry `{label, mean, correlation, lo, hi, n_patients}` per label. It also has `limit` (None for a
        bundle), `n_flagged`, and the mean Dice `dice_flagged` and `dice_others`, None for an empty group. `flagged` has
        one entry `{volume, patient, uncertainty, dice}` per flagged volume, highest uncertainty first.
    """
    labels = []
    for index, name in enumerate(prepared.classes):
        doubt = pooled.uncertainty[:, index]
        dice = np.array([volume[index].dice for volume in pooled.cases])
        entry: dict[str, Any] = {"label": name, "mean": float(np.nanmean(doubt)) if np.isfinite(doubt).any() else None}
        labels.append(entry | rank_correlation(doubt, dice, pooled.patient_ids, confidence))
    flagged, uncertainty = [], volume_uncertainty(pooled)
    limit = _limit([fold.val for fold in folds])
    is_flagged = uncertainty > (np.inf if limit is None else limit)
    for position in np.flatnonzero(is_flagged).tolist():
        flagged.append(
            {
                "volume": prepared.paths[pooled.rows[position]],
                "patient": str(pooled.patient_ids[position]),
                "uncertainty": float(uncertainty[position]),
                "dice": float(pooled.dice[position]),
            }
        )
    means = {
        name: float(pooled.dice[group].mean()) if group.any() else None
        for name, group in (("dice_flagged", is_flagged), ("dice_others", ~is_flagged))
    }
    return {
        "uncertainty": {"labels": labels, "limit": limit, "n_flagged": len(flagged), **means},
        "flagged": sorted(flagged, key=lambda entry: -entry["uncertainty"]),
    }


def rank_correlation(
    first: Floats, second: Floats, patients: npt.NDArray[Any], confidence: float
) -> dict[str, float | int | None]:
    """Compute Spearman's rank correlation of two quantities, averaged per patient.

    The interval is that of Bonett and Wright (Psychometrika 65:23, 2000): on Fisher's scale, the variance is
    (1 + r^2 / 2) / (n - 3).

    Args:
        first: (n,) values of the volumes, NaN where undefined.
        second: (n,) values of the volumes, NaN where undefined.
        patients: (n,) patient of each volume.
        confidence: confidence level, 0..1.

    Returns:
        `correlation`, the ends `lo` and `hi` of its interval, and `n_patients`. The correlation is None for fewer than
        3 patients or equal values. The ends are None for fewer than `MIN_PATIENTS`, or a correlation of 1 or -1.
    """
    from scipy.stats import norm, rankdata

    defined = np.isfinite(first) & np.isfinite(second)
    names, member = np.unique(patients[defined], return_inverse=True)
    count = np.bincount(member, minlength=len(names))
    ranks = [rankdata(np.bincount(member, values[defined], len(names)) / count) for values in (first, second)]
    result: dict[str, float | int | None] = dict.fromkeys(("correlation", "lo", "hi"))
    result["n_patients"] = n = len(names)
    if n < 3 or any(np.ptp(rank) == 0 for rank in ranks):
        return result
    value = float(np.corrcoef(*ranks)[0, 1])
    result["correlation"] = value
    if n >= MIN_PATIENTS and abs(value) < 1:
        width = float(norm.ppf(0.5 + confidence / 2)) * np.sqrt((1 + value**2 / 2) / (n - 3))
        result["lo"], result["hi"] = (float(np.tanh(np.arctanh(value) + sign * width)) for sign in (-1, 1))
    return result
