"""Benchmark of stage 1: both sides are timed and scored in the same way."""

import numpy as np
import pytest

from benchmarks import stage1

TINY = ["data.image_size=32", "data.patients=20", "data.images_per_patient=1", "model.backbone_args={img_size: 32}",
        "model.weights=none"]  # fmt: skip


@pytest.mark.slow
def test_measure__one_fold_and_all_folds_per_head(capsys):
    rows = stage1.measure(sets=TINY, heads=["linear"], epochs=2, rounds=1)
    assert [row.what for row in rows] == [f"stage 1, linear, 100 epochs, {part}" for part in ("one fold", "5 folds")]
    assert all(row.ratio == pytest.approx(row.reference_value / row.value) for row in rows)
    assert "x by operations; 1600 backbone passes against 100;" in rows[0].note
    assert "x by operations; 8000 backbone passes against 160;" in rows[1].note
    printed = capsys.readouterr().out
    first, second = (line.split("balanced accuracy")[1] for line in printed.splitlines() if line.startswith("linear, "))
    assert first == second  # the same views of the same images in the same order


def test_row__target_applies_to_the_backbone_it_was_set_for(capsys):
    side = stage1.Side([0.1, 0.1], [1.0], score=stage1.Interval(0.9, 0.8, 1.0, 0))
    params = stage1.chosen(
        None, stage1.of(stage1.OF_TARGETS[0]), {"model": {"head": {"kind": "cdtm"}}, "frozen": {"feature_views": 8}}
    )

    class Prepared:
        def indices(self, fold):
            return {"train": np.arange(6), "val": np.arange(6, 8)}

    rows = stage1._rows("cdtm", params, Prepared(), side, side)
    assert {row.at_least for row in rows} == {3.5}
    assert "limit 5.1x by operations; 800 backbone passes against 50" in rows[0].note
    assert side.total() == pytest.approx(1 + 10)
    assert side.total(5) == pytest.approx(5 * (1 + 10))
    side.others = [0.5, 0.25]
    assert side.total(3) == pytest.approx(1.75 + 3 * 10)
