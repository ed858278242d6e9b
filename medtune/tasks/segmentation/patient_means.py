"""Averages of the volumes of each patient, so that every patient has the same weight."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def patient_means(values: Floats, patients: npt.NDArray[Any]) -> Floats:
    """Average values per patient.

    Args:
        values: (n, m) values of the volumes.
        patients: (n,) patient of each volume.

    Returns:
        (patients, m), sorted by patient.
    """
    names, member = np.unique(patients, return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, member, values)
    return np.asarray(sums / np.bincount(member, minlength=len(names))[:, None])
