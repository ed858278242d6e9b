"""Benchmark of stage 1: both variants are timed and scored in the same way."""

import numpy as np
import pytest

from benchmarks import stage1

TINY = ["data.image_size=32", "data.patients=20", "data.images_per_patient=1", "model.backbone_args={img_size: 32}",
        "model.weights=none"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.nightly
def test_measure__one_fold_and_all_folds_per_head(capsys):
    rows = stage1.measure(sets=TINY, heads=["linear"], epochs=2, rounds=1)
    names = [f"stage 1, linear, 100 epochs, {folds}" for folds in ("one fold", "5 folds")]
    assert [row.measurement for row in rows] == names
    assert all(row.ratio == pytest.approx(row.reference_value / row.value) for row in rows)
    assert "x is possible by number of operations; 100 backbone passes against 1600;" in rows[0].note
    assert "x is possible by number of operations; 160 backbone passes against 8000;" in rows[1].note
    printed = capsys.readouterr().out
    first, second = (line.split("balanced accuracy")[1] for line in printed.splitlines() if line.startswith("linear, "))
    assert first == second  # the same views of the same images in the same order


def test_row__target_applies_to_the_backbone_it_was_set_for(capsys):
    times = stage1.VariantTimes([0.1, 0.1], [1.0], score=stage1.Interval(0.9, 0.8, 1.0, 0))
    overrides = stage1.backbone_overrides(stage1.TARGET_NETWORK[0])
    settings = {"model": {"head": {"kind": "cdtm"}}, "frozen": {"feature_views": 8}}
    params = stage1.benchmark_params(None, overrides, settings)

    class Prepared:
        def indices(self, fold):
            return {"train": np.arange(6), "val": np.arange(6, 8)}

    rows = stage1._rows("cdtm", params, Prepared(), times, times)
    assert {row.at_least for row in rows} == {3.5}
    assert "at most 5.1x is possible by number of operations; 50 backbone passes against 800" in rows[0].note
    assert times.total() == pytest.approx(1 + 10)
    assert times.total(5) == pytest.approx(5 * (1 + 10))
    times.other_setups = [0.5, 0.25]
    assert times.total(3) == pytest.approx(1.75 + 3 * 10)
