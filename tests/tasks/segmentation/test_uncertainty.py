"""Limit above which the uncertainty of a volume is reported."""

from types import SimpleNamespace

import numpy as np

from medtune.tasks.segmentation.uncertainty import _limit, volume_uncertainty


def predictions(*uncertainty: float) -> SimpleNamespace:
    return SimpleNamespace(uncertainty=np.array(uncertainty)[:, None])


def test_limit__does_not_depend_on_volumes_without_a_prediction() -> None:
    known = [0.05] * 8
    assert _limit([predictions(*known, np.nan, np.nan)]) == _limit([predictions(*known)]) == 0.05
    assert _limit([predictions(np.nan)]) is None
    assert _limit([]) is None


def test_volume_uncertainty__is_1_without_a_prediction() -> None:
    assert volume_uncertainty(predictions(0.2, np.nan)).tolist() == [0.2, 1.0]
