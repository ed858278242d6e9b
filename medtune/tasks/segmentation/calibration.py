"""Fit of the temperature, which calibrates probabilities, on validation volumes (Guo et al. 2017, arXiv 1706.04599)."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtune.evaluation.result import ImageArrays
from medtune.tasks.segmentation.outputs import SegmentedVolumes
from medtune.tasks.segmentation.patient_means import patient_means
from medtune.tasks.segmentation.slab_recorder import RecordedSegmentation
from medtune.tasks.segmentation.temperature_grid import HIGHEST, LOWEST, NODES, TEMPERATURES, at_temperature

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TemperatureEvidence(ImageArrays):
    """Negative log-likelihood of validation volumes at several temperatures.

    Attributes:
        rows: (n,) rows of the volumes in the manifest.
        patient_ids: (n,) patient of each volume.
        nll: (n, NODES) values at `TEMPERATURES` in nats: means over the voxel sample of each volume.
    """

    rows: npt.NDArray[np.int64]
    patient_ids: npt.NDArray[Any]
    nll: Floats


@dataclass(frozen=True)
class Temperature:
    """Temperature and the result of its fit.

    Attributes:
        value: divisor of the logarithms of the probabilities. 1 has no effect.
        nll_before: mean negative log-likelihood of the validation patients before scaling, in nats; None without them.
        nll_after: the same after scaling.
        at_bound: True if the fit ended at `LOWEST` or `HIGHEST`.
        patients: number of validation patients.
    """

    value: float = 1.0
    nll_before: float | None = None
    nll_after: float | None = None
    at_bound: bool = False
    patients: int = 0

    def document(self) -> dict[str, Any]:
        """Return the attributes as JSON values."""
        return asdict(self)


def temperature_evidence(
    prepared: "PreparedDataset", rows: npt.NDArray[np.int64], outputs: SegmentedVolumes
) -> TemperatureEvidence:
    """Compute the negative log-likelihood of validation volumes at `TEMPERATURES`.

    Args:
        prepared: prepared dataset.
        rows: (n,) rows of the volumes.
        outputs: segmented volumes, in the order of `rows`.

    Returns:
        The evidence. Volumes without a voxel sample are left out.
    """
    positions, values = [], []
    for position in range(len(rows)):
        segmentation = outputs[position]
        if isinstance(segmentation, RecordedSegmentation) and len(segmentation.voxels.truth):
            positions.append(position)
            values.append([segmentation.voxels.nll(temperature) for temperature in TEMPERATURES])
    sampled = rows[np.array(positions, np.int64)]
    return TemperatureEvidence(sampled, prepared.patient_ids[sampled], np.array(values, np.float64).reshape(-1, NODES))


def fit_temperature(evidence: TemperatureEvidence, kind: str) -> Temperature:
    """Fit the temperature by maximum likelihood. Each patient has the same weight.

    Args:
        evidence: validation volumes, possibly none.
        kind: the param `evaluate.calibration`: `temperature` to fit, or `none` for the temperature 1.

    Returns:
        The temperature; 1 without validation volumes.
    """
    from scipy.optimize import minimize_scalar

    if kind != "temperature" or not len(evidence.nll):
        return Temperature()
    per_patient = patient_means(evidence.nll, evidence.patient_ids)
    mean = per_patient.mean(axis=0)
    low, high = np.log(LOWEST), np.log(HIGHEST)
    best = minimize_scalar(
        lambda t: float(at_temperature(mean, float(np.clip(np.exp(t), LOWEST, HIGHEST)))),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-6},
    )
    value = float(np.clip(np.exp(best.x), LOWEST, HIGHEST))
    return Temperature(
        value,
        float(at_temperature(mean, 1.0)),
        float(at_temperature(mean, value)),
        bool(min(best.x - low, high - best.x) < 1e-3),
        len(per_patient),
    )
