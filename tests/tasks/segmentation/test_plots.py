"""Plots of one volume and of all volumes, and the viewer of report.html."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from medtune.evaluation.plot_file import COLORS, plot_file
from medtune.tasks.segmentation.case_metrics import case_metrics
from medtune.tasks.segmentation.case_plot import PLANES, CaseVolumes, draw_case, draw_outlines, plane
from medtune.tasks.segmentation.plots import draw_dice, draw_sizes, summary_rows
from medtune.tasks.segmentation.viewer import MAX_BYTES, case_planes, outline, slice_fractions, viewer_section
from medtune.tasks.segmentation.volume_predictions import VolumePredictions

LABELS = {"liver": 1, "left kidney": 2}


@pytest.fixture
def case() -> CaseVolumes:
    """A cube in the half of larger x, z and smaller y, and a prediction one voxel to the patient's left."""
    draw = np.random.default_rng(0)
    truth = np.zeros((20, 24, 10), np.uint8)
    truth[12:16, 4:8, 6:9] = 1
    image = np.repeat(truth.astype(np.float32), 2, axis=2) + draw.normal(0, 0.1, (20, 24, 20)).astype(np.float32)
    return CaseVolumes(image, truth, np.roll(truth, -1, 0), (40.0, 48.0, 60.0), (0.0, 1.0))


def test_case_planes__show_colors(case, tmp_path):
    colors = np.zeros((20, 24, 1, 3), np.uint8)
    colors[..., 0] = 200
    image = replace(
        case,
        image=colors,
        truth=case.truth[:, :, 7:8],
        prediction=case.prediction[:, :, 7:8],
        window=(0.0, 255.0),
        is_image=True,
    )
    (shown,) = case_planes(image)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown["image"]))))
    assert (pixels == (200, 0, 0)).all()
    draw_case(tmp_path / "case.png", image, list(LABELS), "caption", [0.5, None])
    drawn = np.asarray(Image.open(tmp_path / "case.png").convert("RGB"))
    assert (drawn == (200, 0, 0)).all(axis=2).mean() > 0.1


@pytest.fixture
def predictions(case) -> VolumePredictions:
    """Five volumes with falling Dice, the last one without any label."""
    cases = np.empty((5, 2), object)
    for position in range(5):
        truth = case.truth if position < 4 else np.zeros_like(case.truth)
        cases[position] = case_metrics(truth, np.roll(truth, position, 0), (2, 2, 6), LABELS)
    doubt, unknown = np.full((5, 2), 0.1), np.full((5, 1), np.nan)
    nothing = np.empty(5, object)
    return VolumePredictions(np.arange(5), np.array(list("abcde")), cases, doubt, unknown, nothing, nothing, 1.0)


def decode(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_summary_rows__are_the_worst_the_median_and_the_best_volume(predictions):
    rows = summary_rows(predictions, [f"scan{k}" for k in range(5)])
    assert [(row["name"], row["volume"], row["whose"]) for row in rows] == [
        ("worst", "scan3", "patient d"), ("median", "scan1", "patient b"), ("best", "scan4", "patient e"),
    ]  # fmt: skip
    assert [row["dice"] for row in rows] == pytest.approx([0.25, 0.75, 1])
    (only,) = summary_rows(predictions.select(np.array([1])), ["scan0", "scan1"], patients_known=False)
    assert (only["name"], only["dice"], only["whose"]) == ("worst", pytest.approx(0.75), "patient unknown")


def test_draw_dice_and_sizes__write_plots(tmp_path, predictions):
    draw_dice(tmp_path / "dice.png", predictions, list(LABELS), "test")
    draw_sizes(tmp_path / "sizes.png", predictions, list(LABELS), "test")
    for name in ("dice", "sizes"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert min(image.size) > 200
            assert len(set(image.convert("L").get_flattened_data())) > 5


def test_draw_dice_and_sizes__accept_no_label_at_all(tmp_path, predictions):
    empty = predictions.select(np.array([4]))
    draw_dice(tmp_path / "dice.png", empty, list(LABELS), "test")
    draw_sizes(tmp_path / "sizes.png", empty, list(LABELS), "test")
    assert (tmp_path / "dice.png").stat().st_size > 1000
    assert (tmp_path / "sizes.png").stat().st_size > 1000


def test_plane__has_the_vertical_axis_first(case):
    fractions = dict(zip("xyz", case.center(), strict=True))
    for axes in PLANES.values():
        normal, horizontal, vertical = axes
        found = plane(case.truth, axes, fractions["xyz"[normal]])
        assert found.shape == (case.truth.shape[vertical], case.truth.shape[horizontal])
        assert found.sum() > 0


def test_center__is_in_the_labels_or_in_the_middle(case):
    x, y, z = case.center()
    assert case.truth[int(x * 20), int(y * 24), int(z * 10)] == 1
    nothing = replace(case, truth=np.zeros_like(case.truth), prediction=np.zeros_like(case.truth))
    assert nothing.center() == (10.5 / 20, 12.5 / 24, 5.5 / 10)


def test_field__is_the_truth_with_a_margin(case):
    assert case.field() == ((4.0, 40.0), (0.0, 36.0), (16.0, 60.0))
    nothing = replace(case, truth=np.zeros_like(case.truth))
    assert nothing.field() == ((2.0, 40.0), (0.0, 36.0), (16.0, 60.0))
    empty = replace(nothing, prediction=nothing.truth)
    assert empty.field() == ((0, 40), (0, 48), (0, 60))


def test_draw_outlines__are_closed_at_the_border_and_in_mm():
    mask = np.zeros((4, 6), np.uint8)
    mask[:, 3:] = 2
    with plot_file(io.BytesIO(), (2, 2)) as axes:
        draw_outlines(axes, mask, (0, 60, 0, 8), "solid")
        (path,) = axes.collections[0].get_paths()
        assert path.vertices.min(axis=0) == pytest.approx([30, 0])
        assert path.vertices.max(axis=0) == pytest.approx([60, 8])
        assert axes.collections[0].get_edgecolor()[0][:3] == pytest.approx(
            [int(COLORS[1][start : start + 2], 16) / 255 for start in (1, 3, 5)]
        )


def test_draw_case__shows_the_volume_in_its_proportions(tmp_path, case):
    draw_case(tmp_path / "case.png", case, list(LABELS), "worst: scan, patient a", [0.75, None])
    with Image.open(tmp_path / "case.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    black = (pixels.sum(axis=2) < 60).sum(axis=0)
    # The axial slice is 48 mm high, the others are 60 mm high, with the same scale.
    assert image.size[0] > image.size[1]
    assert black.max() > 100
    blue = np.abs(pixels - [0, 0x72, 0xB2]).sum(axis=2) < 60
    assert blue.sum() > 100


def test_slice_fractions__cover_the_labels_with_a_margin(case):
    fractions = np.array(slice_fractions(case, 2, 100))
    assert (fractions * 10).tolist() == pytest.approx([5.5, 6.5, 7.5, 8.5, 9.5])
    assert len(slice_fractions(case, 1, 3)) == 3
    nothing = replace(case, truth=np.zeros_like(case.truth), prediction=np.zeros_like(case.truth))
    assert len(slice_fractions(nothing, 2, 100)) == 10


def test_outline__is_the_border_of_each_label():
    mask = np.zeros((5, 6), np.uint8)
    mask[1:4, 1:4], mask[1:4, 4] = 1, 2
    expected = mask.copy()
    expected[2, 2] = 0
    assert (outline(mask) == expected).all()


def test_case_planes__show_the_first_slice_with_the_right_side_on_the_left(case):
    axial = next(entry for entry in case_planes(case) if entry["name"] == "axial")
    assert (axial["rows"], axial["columns"]) == (2, 3)
    assert (axial["width"], axial["height"]) == (290, 290)
    assert axial["positions"][axial["start"]] == pytest.approx(39)  # the first of the slices with the most labels
    sheet = np.asarray(decode(axial["prediction"]))
    height, width = sheet.shape[0] // axial["rows"], sheet.shape[1] // axial["columns"]
    y, x = axial["start"] // 3 * height, axial["start"] % 3 * width
    tile = sheet[y : y + height, x : x + width]
    rows, columns = np.nonzero(tile)
    # Larger x is on the left, and smaller y is at the bottom.
    assert columns.mean() < width / 2
    assert rows.mean() > height / 2
    assert decode(axial["prediction"]).convert("RGBA").getpixel((0, 0))[3] == 0


def test_case_planes__are_limited_in_size():
    noise = np.random.default_rng(0).random((64, 64, 64)).astype(np.float32)
    mask = (noise > 0.5).astype(np.uint8)
    planes = case_planes(CaseVolumes(noise, mask, mask, (64.0, 64.0, 64.0), (0.0, 1.0)))
    size = sum(len(entry[name]) for entry in planes for name in ("image", "truth", "prediction"))
    assert 10_000 < size <= MAX_BYTES


def test_viewer_section__is_offline_and_escapes_names(case):
    row = {"name": "worst", "volume": "<scan>", "whose": "patient a", "dice": 0.75,
           "labels": [("liver", 0.75, "both"), ("left kidney", None, "both empty")]}  # fmt: skip
    page = viewer_section([(row, case)], list(LABELS))
    assert "&lt;scan&gt;" in page
    assert page.count('type="range"') == 3
    assert page.count("data:image/png;base64,") == 9
    assert not re.search(r"(src|href|url)[=(]\"?(?!data:)\w+:", page)
    assert "left kidney: absent in both." in page
