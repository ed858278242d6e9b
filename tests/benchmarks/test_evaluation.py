"""Benchmark of the evaluation: a single pass for all folds, compared with a pass per fold."""

import pytest

from benchmarks import evaluation

TINY = ["data.image_size=32", "data.patients=20", "data.images_per_patient=1", "model.backbone_args={img_size: 32}",
        "model.weights=none", "model.head.kind=linear"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.nightly
def test_measure__returns_a_row_with_equal_logits():
    (row,) = evaluation.measure(sets=TINY, rounds=1)
    assert row.measurement == "logits of 5 folds"
    assert row.ratio == pytest.approx(row.reference_value / row.value)
    difference = float(row.note.split()[-1])
    assert "20 images" in row.note
    assert difference <= 1e-5
