"""Probabilities per patient, combined from the probabilities of the patient's images."""

from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
PatientScore = Literal["mean", "max", "noisy_or"]
SCORE_TEXTS: dict[PatientScore, str] = {
    "mean": "the mean probability of the patient's images",
    "max": "the highest probability of the patient's images",
    "noisy_or": "1 - prod(1 - p) over the patient's images",
}


def combine_images(probabilities: Floats, member: npt.NDArray[np.int64], n_patients: int, how: PatientScore) -> Floats:
    """Combine the probabilities of each patient's images.

    Args:
        probabilities: (n, classes) probabilities that sum to 1 per row. `max` and `noisy_or` need two classes.
        member: (n,) patient index of each image, 0 to n_patients - 1. Every patient has an image.
        n_patients: number of patients.
        how: `mean` averages all classes. `max` takes the maximum for the second class. `noisy_or` is 1 - prod(1 - p),
            the probability that at least one of several independent images shows the second class.

    Returns:
        (n_patients, classes) probabilities that sum to 1 per row.

    Raises:
        ValueError: `max` or `noisy_or` is used with more or fewer than two classes.
    """
    if how == "mean":
        sums = np.zeros((n_patients, probabilities.shape[1]))
        np.add.at(sums, member, probabilities)
        return sums / np.bincount(member, minlength=n_patients)[:, None]
    if probabilities.shape[1] != 2:
        raise ValueError(f"{how} needs two classes, not {probabilities.shape[1]}")
    if how == "max":
        positive = np.full(n_patients, -np.inf)
        np.maximum.at(positive, member, probabilities[:, 1])
    else:
        with np.errstate(divide="ignore"):  # a probability of 1 gives log 0
            positive = -np.expm1(np.bincount(member, np.log1p(-probabilities[:, 1]), minlength=n_patients))
    return np.stack([1 - positive, positive], axis=1)
