"""Temperature of a fold: the optimum of the likelihood, with equal weights of the patients."""

import numpy as np
import pytest

from medtune.serving.volumes.pipeline import Segmentation
from medtune.tasks.segmentation import Params
from medtune.tasks.segmentation.calibration import (
    Temperature,
    TemperatureEvidence,
    fit_temperature,
    temperature_evidence,
)
from medtune.tasks.segmentation.outputs import SegmentedVolumes
from medtune.tasks.segmentation.temperature_grid import HIGHEST, TEMPERATURES
from medtune.tasks.segmentation.voxel_samples import VoxelSample


def sample(seed: int, temperature: float, voxels: int = 4000) -> VoxelSample:
    """Draw voxels whose logits are `temperature` times too large."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 2, (voxels, 3))
    exponents = np.exp(logits)
    truth = (draw.random((voxels, 1)) > np.cumsum(exponents / exponents.sum(axis=1, keepdims=True), axis=1)).sum(axis=1)
    confident = np.exp(temperature * (logits - logits.max(axis=1, keepdims=True)))
    probabilities = confident / confident.sum(axis=1, keepdims=True)
    return VoxelSample(truth.astype(np.uint8), probabilities.astype(np.float32))


def evidence(samples, patients):
    rows = np.arange(len(samples))
    return TemperatureEvidence(
        rows, np.array(patients), np.array([[one.nll(t) for t in TEMPERATURES] for one in samples])
    )


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.0])
def test_fit__finds_the_temperature(temperature):
    from scipy.optimize import minimize_scalar

    samples = [sample(seed, temperature) for seed in range(3)]
    found = fit_temperature(evidence(samples, ["a", "b", "c"]), "temperature")
    assert found.value == pytest.approx(temperature, rel=0.05)
    exact = minimize_scalar(lambda t: np.mean([one.nll(t) for one in samples]), bounds=(0.3, 3.9), method="bounded")
    assert found.value == pytest.approx(exact.x, rel=1e-3)
    assert found.nll_after <= found.nll_before
    assert (found.patients, found.at_bound) == (3, False)


def test_fit__patients_have_the_same_weight():
    samples = [sample(seed, 2.0) for seed in range(5)] + [sample(9, 0.5)]
    many, few = (fit_temperature(evidence(samples[k:], [*"aaaaa", "b"][k:]), "temperature").value for k in (0, 4))
    assert many == pytest.approx(few, rel=0.05)
    single = fit_temperature(evidence(samples, [*"abcde", "f"]), "temperature").value
    assert single > 1.2 * many


def test_fit__without_volumes_or_calibration_is_1():
    none = evidence([sample(0, 2.0)], ["a"]).select(np.zeros(1, bool))
    assert fit_temperature(none, "temperature") == Temperature()
    assert fit_temperature(evidence([sample(0, 2.0)], ["a"]), "none").value == 1


def test_fit__names_an_optimum_at_the_bound():
    right = VoxelSample(np.zeros(100, np.uint8), np.tile(np.array([[0.1, 0.9]], np.float32), (100, 1)))
    found = fit_temperature(evidence([right], ["a"]), "temperature")
    assert found.at_bound
    assert found.value == pytest.approx(HIGHEST, rel=1e-2)


def test_evidence__skips_volumes_without_a_sample():
    class Prepared:
        patient_ids = np.array(["a", "b"])

    plain = Segmentation(np.zeros((2, 2, 2), np.uint8), (0.1,))
    outputs = SegmentedVolumes([lambda: plain, lambda: plain], Params())
    found = temperature_evidence(Prepared(), np.array([0, 1]), outputs)
    assert found.nll.shape == (0, len(TEMPERATURES))
    assert fit_temperature(TemperatureEvidence.pool([found, found]), "temperature").value == 1
