import numpy as np

from medtune.evaluation.bootstrap import resamples


def test_resamples__draw_as_many_patients_as_there_are():
    weights = np.concatenate(list(resamples(7, 1000, seed=3, width=500_000)))
    assert weights.shape == (1000, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.mean() == 1
    assert np.array_equal(weights, np.concatenate(list(resamples(7, 1000, seed=3))))
