"""Titles and directions of metrics for the data of a report."""

import pytest

from medtune.evaluation.metric_notes import lower_is_better, retitle
from medtune.evaluation.result import count_samples
from medtune.tasks import base

IMAGES = {"volumes": {"images": {"pixel_mm": [1.0, 1.0]}}}


def test_retitle__names_pixels_and_areas_for_images_only():
    titles = {metric.name: metric.title for metric in base.metrics("segmentation", IMAGES)}
    assert titles["hd95"] == "mean HD95 (pixels)"
    assert titles["volume_error"] == "mean area error (1,000 pixels)"
    metrics = base.metrics("segmentation")
    assert retitle(metrics, {"volumes": {}}) == metrics
    assert retitle(base.metrics("classification"), {}) == base.metrics("classification")


@pytest.mark.parametrize("kind", ["classification", "multilabel", "segmentation"])
def test_lower_is_better__names_every_such_metric_of_the_table(kind):
    metrics = base.metrics(kind)
    found = lower_is_better(metrics, [metric.name for metric in metrics])
    assert found
    for metric in metrics:
        assert (metric.title in found) == (metric.direction == "min")
    assert lower_is_better(metrics, ()) == ""


def test_count_samples__states_unknown_patients():
    counts = {"n_images": 10, "n_patients": 4}
    assert count_samples(counts, {"patients_known": True, "unit": "volumes"}) == "10 volumes of 4 patients"
    assert count_samples(counts, {"patients_known": False, "unit": "volumes"}) == "10 volumes, patients unknown"
