"""Baseline of a segmentation: the mean mask of the training volumes."""

import numpy as np

from medtune.evaluation.baselines import verdict, verdict_metric
from medtune.tasks.segmentation import evaluation, prior_map
from tests.tasks.segmentation.degraded_volumes import METRICS


def test_fit_scores__equal_masks_are_predicted_exactly():
    mask = np.zeros((6, 6, 6), np.uint8)
    mask[1:3, 1:3, 1:3], mask[4, 4, 4] = 1, 2
    scores = prior_map.fit_scores([mask, mask], [mask], 3)
    assert (scores.argmax(axis=0) == mask).all()


def test_best_threshold__maximizes_the_mean_dice():
    frequency = np.array([[[0.9, 0.6, 0.3, 0.0]]])
    wide, narrow = np.array([[[True, True, True, False]]]), np.array([[[True, False, False, False]]])
    assert prior_map.best_threshold(frequency, [wide]) < 0.3
    assert 0.6 <= prior_map.best_threshold(frequency, [narrow]) < 0.9
    assert prior_map.best_threshold(frequency, [np.zeros_like(wide)]) == prior_map.THRESHOLDS[-1]


def test_compare_baselines__a_prediction_without_the_image_is_worse(prepared, requests, outputs, folds, params):
    pooled = evaluation.pool([fold.test for fold in folds])
    (entry,) = evaluation.compare_baselines(requests, outputs, prepared, pooled, METRICS, params.evaluate)
    assert entry["name"] == prior_map.NAME
    assert (
        0 < entry["test"]["dice"]["value"] < pooled.stats(params.evaluate).weighted(np.ones((1, 12))).macro("dice")[0]
    )
    difference = entry["difference"]["dice"]
    assert difference["lo"] < difference["value"] < difference["hi"]
    assert verdict([entry], verdict_metric(METRICS)) is None
