"""Stage 1's benchmark times both sides and scores them alike."""

import pytest

from benchmarks import stage1

TINY = ["data.image_size=32", "data.patients=20", "data.images_per_patient=1", "model.backbone_args={img_size: 32}",
        "model.weights=none", "evaluate.bootstrap=100"]  # fmt: skip


@pytest.mark.slow
def test_measure__one_chain_and_all_folds_a_head(capsys):
    rows = stage1.measure(sets=TINY, heads=["linear"], epochs=2, rounds=1)
    assert [row.what for row in rows] == [f"stage 1, linear, 100 epochs, {part}" for part in ("one chain", "5 folds")]
    assert all(row.ratio == pytest.approx(row.reference_value / row.value) for row in rows)
    assert "limit 10.0x: 1600 against 160 backbone passes" in rows[0].note
    printed = capsys.readouterr().out
    one, two = (line.split("balanced accuracy")[1] for line in printed.splitlines() if line.startswith("linear, "))
    assert one == two  # the same views of the same images in the same order


def test_row__target_is_for_the_backbone_it_was_set_for(capsys):
    side = stage1.Side([0.1, 0.1], [1.0], stage1.Interval(0.9, 0.8, 1.0, 0))
    params = stage1.chosen(None, stage1.of(stage1.OF_TARGETS[0]), {})

    class Prepared:
        labels = range(10)

        def indices(self, fold):
            return {"train": range(6), "val": range(2)}

    rows = stage1._rows("cdtm", params, Prepared(), side, side)
    assert {row.at_least for row in rows} == {3.5}
    assert side.reckoned() == pytest.approx(11)
    assert side.reckoned(5) == pytest.approx(51)
