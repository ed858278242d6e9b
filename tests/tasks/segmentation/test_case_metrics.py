"""Metrics of one volume, compared with their definitions and with MONAI."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings

from medtune.tasks.segmentation.case_metrics import case_metrics
from tests.tasks.segmentation import brute_force

NAMES = ("dice", "nsd", "hd95", "sensitivity", "precision", "truth_ml", "prediction_ml", "volume_error")
ONE = {"organ": 1}


def computed(truth, prediction, spacing, tolerance):
    (result,) = case_metrics(truth, prediction, spacing, ONE, tolerance)
    return {name: getattr(result, name) for name in (*NAMES, "volume_error_percent")}


@settings(max_examples=1000)
@given(masks=brute_force.mask_pairs(), spacing=brute_force.SPACING, tolerance=brute_force.TOLERANCE)
def test_case_metrics__agree_with_brute_force(masks, spacing, tolerance):
    expected = brute_force.metrics(*masks, spacing, tolerance)
    assert computed(*masks, spacing, tolerance) == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_case_metrics__agree_with_brute_force_for_every_pair_of_tiny_masks():
    spacing = (0.5, 1.0, 3.0)
    masks = list(brute_force.all_masks((2, 1, 2)))
    for truth in masks:
        for prediction in masks:
            expected = brute_force.metrics(truth, prediction, spacing, 1.0)
            assert computed(truth, prediction, spacing, 1.0) == pytest.approx(expected, abs=1e-6, nan_ok=True)


@given(masks=brute_force.mask_pairs(), spacing=brute_force.SPACING, tolerance=brute_force.TOLERANCE)
def test_case_metrics__symmetric(masks, spacing, tolerance):
    this, other = computed(*masks, spacing, tolerance), computed(*masks[::-1], spacing, tolerance)
    for name in ("dice", "nsd", "hd95"):
        assert this[name] == pytest.approx(other[name], abs=1e-12, nan_ok=True)
    assert this["sensitivity"] == pytest.approx(other["precision"], nan_ok=True)
    assert this["volume_error"] == -other["volume_error"]


@given(masks=brute_force.mask_pairs(), spacing=brute_force.SPACING)
def test_case_metrics__do_not_depend_on_the_orientation(masks, spacing):
    turned = [mask.transpose(2, 0, 1)[:, ::-1] for mask in masks]
    expected = computed(*masks, spacing, 1.0)
    assert computed(*turned, (spacing[2], *spacing[:2]), 1.0) == pytest.approx(expected, nan_ok=True)


def monai_metrics(truth, prediction, spacing, tolerance, ignore_empty=False, subvoxels=False):
    """Return MONAI's metrics of two masks (X, Y, Z) or (X, Y)."""
    import torch
    from monai import metrics

    y, y_pred = (torch.tensor(mask, dtype=torch.float32)[None, None] for mask in (truth, prediction))
    counts = metrics.ConfusionMatrixMetric(True, ["sensitivity", "precision"], compute_sample=True, reduction="none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # empty masks
        counts(y_pred, y)
        sensitivity, precision = (float(value) for value in counts.aggregate())
        return {
            "dice": float(metrics.DiceMetric(ignore_empty=ignore_empty)(y_pred, y)),
            "nsd": float(
                metrics.SurfaceDiceMetric([tolerance], True, use_subvoxels=subvoxels)(y_pred, y, spacing=list(spacing))
            ),
            "hd95": float(metrics.HausdorffDistanceMetric(True, percentile=95)(y_pred, y, spacing=list(spacing))),
            "sensitivity": sensitivity,
            "precision": precision,
        }


@pytest.mark.parametrize("seed", range(40))
def test_case_metrics__agree_with_monai(seed):
    draw = np.random.default_rng(seed)
    shape, spacing = draw.integers(2, 12, 3), tuple(draw.uniform(0.4, 4, 3).tolist())
    truth, prediction = (draw.random((2, *shape)) < draw.uniform(0.1, 0.9)).astype(np.uint8)
    truth[0, 0, 0] = prediction[-1, -1, -1] = 1
    tolerance = float(draw.uniform(0, 4))
    result = computed(truth, prediction, spacing, tolerance)
    for name, value in monai_metrics(truth, prediction, spacing, tolerance).items():
        assert result[name] == pytest.approx(value, rel=1e-5), name


def test_case_metrics__slice_agrees_with_monai_in_two_dimensions():
    truth, prediction = np.zeros((2, 12, 12, 1), np.uint8)
    truth[2:9, 2:9], prediction[3:11, 2:9] = 1, 1
    result = computed(truth, prediction, (1.0, 1.0, 5.0), 0.5)
    plane = monai_metrics(truth[..., 0], prediction[..., 0], (1.0, 1.0), 0.5)
    assert {name: result[name] for name in plane} == pytest.approx(plane, rel=1e-5)
    # MONAI treats each voxel of a volume with one slice as a surface voxel.
    assert monai_metrics(truth, prediction, (1.0, 1.0, 5.0), 0.5)["nsd"] > result["nsd"] + 0.3


@pytest.mark.parametrize(
    ("outcome", "expected", "monai"),
    [
        ("both empty", (1, 1, math.nan, math.nan, math.nan), (1, math.nan, math.nan, math.nan, math.nan)),
        ("spurious", (0, 0, 13, math.nan, 0), (0, 0, math.nan, math.nan, 0)),
        ("missed", (0, 0, 13, 0, math.nan), (0, 0, math.nan, 0, math.nan)),
    ],
)
def test_case_metrics__of_empty_masks_in_the_table(outcome, expected, monai):
    empty = np.zeros((3, 4, 6), np.uint8)
    full = empty.copy()
    full[1, 1:3, 2:4] = 1
    truth, prediction = (full if outcome == "missed" else empty), (full if outcome == "spurious" else empty)
    (result,) = case_metrics(truth, prediction, (1.0, 1.0, 2.0), ONE)
    assert result.outcome == outcome
    names = ("dice", "nsd", "hd95", "sensitivity", "precision")
    assert [getattr(result, name) for name in names] == pytest.approx(expected, nan_ok=True)
    values = monai_metrics(truth, prediction, (1.0, 1.0, 2.0), 1.0)
    assert [values[name] for name in names] == pytest.approx(monai, nan_ok=True)
    by_default = monai_metrics(truth, prediction, (1.0, 1.0, 2.0), 1.0, ignore_empty=True)["dice"]
    assert by_default == pytest.approx(0 if outcome == "missed" else math.nan, nan_ok=True)


def test_case_metrics__differ_from_surface_areas():
    radius = np.linalg.norm(np.indices((24, 24, 12)).T - (12, 12, 6), axis=-1).T
    truth, prediction = (radius < 5).astype(np.uint8), (np.roll(radius, 1, axis=0) < 5.5).astype(np.uint8)
    nsd = computed(truth, prediction, (1.0, 1.0, 1.0), 1.0)["nsd"]
    areas = monai_metrics(truth, prediction, (1.0, 1.0, 1.0), 1.0, subvoxels=True)["nsd"]
    assert (nsd, areas) == pytest.approx((0.758, 0.876), abs=5e-4)


def test_case_metrics__of_several_labels_with_a_tolerance_per_label():
    truth, prediction = np.zeros((2, 8, 8, 8), np.uint8)
    truth[1:4], prediction[2:5] = 3, 3
    truth[5:7], prediction[6:8] = 7, 7
    labels = {"liver": 7, "tumor": 3, "other": 1}
    liver, tumor, other = case_metrics(truth, prediction, (1, 1, 1), labels, {"liver": 1.0, "tumor": 0.5, "other": 0})
    assert [liver.label, tumor.label, other.label] == list(labels)
    assert [liver.dice, tumor.dice, other.outcome] == [0.5, pytest.approx(2 / 3), "both empty"]
    alone = computed(1 * (truth == 3), 1 * (prediction == 3), (1, 1, 1), 0.5)
    assert (liver.nsd, tumor.nsd) == (1.0, alone["nsd"])
    assert tumor.nsd < 1


def test_case_metrics__tolerance_includes_spacing_with_rounding_errors():
    truth, prediction = np.zeros((2, 6, 6, 6), np.uint8)
    truth[2], prediction[3] = 1, 1
    assert computed(truth, prediction, (1.0000001, 1.0, 1.0), 1.0)["nsd"] == 1
    assert computed(truth, prediction, (1.001, 1.0, 1.0), 1.0)["nsd"] == 0


def test_case_metrics__without_distances():
    truth, prediction = np.zeros((2, 3, 3, 3), np.uint8)
    truth[1] = 1
    for masks in ((truth, prediction), (prediction, prediction), (truth, truth)):
        (result,) = case_metrics(*masks, (1, 1, 1), ONE, distances=False)
        assert math.isnan(result.nsd)
        assert math.isnan(result.hd95)
        assert result.dice == case_metrics(*masks, (1, 1, 1), ONE)[0].dice


GOOD = np.zeros((2, 2, 2), np.uint8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": np.zeros((2, 2, 3), np.uint8)}, "one shape"),
        ({"truth": GOOD[0], "prediction": GOOD[0]}, "one shape"),
        ({"truth": GOOD[:0], "prediction": GOOD[:0]}, "no voxels"),
        ({"truth": GOOD.astype(float)}, "true mask of type float64"),
        ({"prediction": GOOD > 0}, "predicted mask of type bool"),
        ({"prediction": GOOD + 2}, "predicted mask: unknown label 2"),
        ({"labels": {}}, "different values"),
        ({"labels": {"a": 0}}, "different values"),
        ({"labels": {"a": 1, "b": 1}}, "different values"),
        ({"spacing": (1, 1)}, "three positive numbers"),
        ({"spacing": (1, 0, 1)}, "three positive numbers"),
        ({"spacing": (1, math.nan, 1)}, "three positive numbers"),
        ({"tolerance": -1.0}, "tolerance -1.0 of label organ"),
        ({"tolerance": math.nan}, "tolerance nan of label organ"),
        ({"tolerance": {"liver": 1.0}}, "tolerance nan of label organ"),
    ],
)
def test_case_metrics__invalid_input(change, message):
    arguments = {"truth": GOOD, "prediction": GOOD, "spacing": (1, 1, 1), "labels": ONE, "tolerance": 1.0}
    with pytest.raises(ValueError, match=message):
        case_metrics(**(arguments | change))
