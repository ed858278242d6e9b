"""Limit above which the uncertainty of a volume is reported, and its correlation with Dice."""

from types import SimpleNamespace

import numpy as np
import pytest

from medtune.tasks.segmentation import evaluation
from medtune.tasks.segmentation.uncertainty import _limit, rank_correlation, uncertainty_facts, volume_uncertainty


def predictions(*uncertainty: float) -> SimpleNamespace:
    return SimpleNamespace(uncertainty=np.array(uncertainty)[:, None])


def test_limit__does_not_depend_on_volumes_without_a_prediction() -> None:
    known = [0.05] * 8
    assert _limit([predictions(*known, np.nan, np.nan)]) == _limit([predictions(*known)]) == 0.05
    assert _limit([predictions(np.nan)]) is None
    assert _limit([]) is None


def test_volume_uncertainty__is_1_without_a_prediction() -> None:
    assert volume_uncertainty(predictions(0.2, np.nan)).tolist() == [0.2, 1.0]


def test_rank_correlation__uses_patients_and_states_no_interval_for_few():
    patients = np.array(["a", "a", "b", "c"])
    found = rank_correlation(np.array([1.0, 3, 3, 4]), np.array([0.9, 0.7, 0.5, 0.1]), patients, 0.95)
    assert found == {"correlation": pytest.approx(-1), "lo": None, "hi": None, "n_patients": 3}
    assert rank_correlation(np.full(4, np.nan), np.ones(4), patients, 0.95)["correlation"] is None


def test_uncertainty_facts__a_doubtful_volume_has_a_lower_dice(prepared, folds):
    pooled = evaluation.pool([fold.test for fold in folds])
    found = uncertainty_facts(prepared, folds, pooled, 0.95)
    organ = found["uncertainty"]["labels"][0]
    assert (organ["label"], organ["n_patients"]) == ("upper organ", 12)
    assert organ["lo"] < organ["correlation"] < organ["hi"] < 0
    assert len(found["flagged"]) == found["uncertainty"]["n_flagged"]
    # Every volume is a validation volume of one fold and a test volume of another one.
    assert 1 <= len(found["flagged"]) <= 2
    assert all(entry["uncertainty"] > found["uncertainty"]["limit"] for entry in found["flagged"])
    without = uncertainty_facts(prepared, [], pooled, 0.95)
    assert (without["flagged"], without["uncertainty"]["limit"]) == ([], None)
