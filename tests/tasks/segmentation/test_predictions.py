"""predictions.csv of a segmentation."""

import numpy as np
import pytest

from medtune.tasks.segmentation import evaluation
from medtune.tasks.segmentation.predictions import read_predictions
from tests.tasks.segmentation.degraded_volumes import LABELS


def test_read_predictions__refuses_other_columns(tmp_path):
    (tmp_path / "predictions.csv").write_text("path,patient,prob_a\nx,p,0.5\n")
    with pytest.raises(ValueError, match="are not metrics of labels"):
        read_predictions(tmp_path / "predictions.csv")


def test_read_predictions__restores_the_statistics_exactly(tmp_path, prepared, folds, params):
    pooled = evaluation.pool([fold.test for fold in folds])
    evaluation.write_predictions(tmp_path / "predictions.csv", prepared, pooled)
    stored, stats = evaluation.read_predictions(tmp_path / "predictions.csv"), pooled.stats(params.evaluate)
    for name in stats.sums:
        assert (stored.stats.sums[name] == stats.sums[name]).all(), name
        assert (stored.stats.counts[name] == stats.counts[name]).all(), name
    assert stored.stats.labels == tuple(LABELS)
    assert stored.support == {"upper organ": 12, "lower organ": 12, "lesion": 8}
    other = pooled.select(np.arange(11))
    evaluation.write_predictions(tmp_path / "fewer.csv", prepared, other)
    assert evaluation.read_predictions(tmp_path / "fewer.csv").images != stored.images
