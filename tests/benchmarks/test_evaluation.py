"""The evaluation's benchmark compares one pass for all folds with one per fold."""

import pytest

from benchmarks import evaluation

TINY = ["data.image_size=32", "data.patients=20", "data.images_per_patient=1", "model.backbone_args={img_size: 32}",
        "model.weights=none", "model.head.kind=linear"]  # fmt: skip


@pytest.mark.slow
def test_measure__one_row_with_equal_logits():
    (row,) = evaluation.measure(sets=TINY, rounds=1)
    assert row.what == "outputs of 5 folds"
    assert row.ratio == pytest.approx(row.reference_value / row.value)
    words = row.note.split()
    assert "20 images" in row.note
    assert float(words[-1]) <= 1e-5
