import numpy as np
import pytest
from PIL import Image

from medtune.evaluation.tables import join_history
from medtune.tasks.classification import plots


@pytest.mark.parametrize("classes", [2, 9])
def test_confusion__deterministic(tmp_path, classes):
    counts = np.random.default_rng(0).integers(0, 40, (classes, classes))
    counts[0] = 0
    for name in ("a", "b"):
        plots.draw_confusion(tmp_path / f"{name}.png", counts, [f"class {k}" for k in range(classes)], "test")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert min(image.size) > 300


def test_plots__minimal_input(tmp_path):
    plots.draw_roc(tmp_path / "roc.png", {}, "one class")
    plots.draw_history(tmp_path / "history.png", [], "no history")
    plots.draw_samples(tmp_path / "samples.png", [], [], "no mistakes")
    patients = [{"patient": "a" * 80, "images": 3, "correct": 0.5, "label": 0}]
    plots.draw_patients(tmp_path / "patients.png", patients, ("a", "b"), "one patient")
    labels, certain = np.zeros(3, np.int64), np.eye(2)[np.zeros(3, np.int64)]
    plots.draw_reliability(tmp_path / "reliability.png", labels, certain, certain, 15, "certain")
    assert all(path.stat().st_size > 1000 for path in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == 5


def test_patients__hundreds_of_patients(tmp_path):
    draw = np.random.default_rng(0)
    patients = [{"patient": f"P{i}", "images": 9, "correct": draw.random(), "label": i % 3} for i in range(300)]
    plots.draw_patients(tmp_path / "patients.png", patients, ("a", "b", "c"), "many")
    with Image.open(tmp_path / "patients.png") as image:
        assert image.size[0] < 2000


def test_history__several_stages(tmp_path):
    rows = [{"epoch": e, "train/loss": 1 / e, "val/loss": 1.2 / e, "val/auroc": 1 - 0.5 / e} for e in (1, 2, 3)]
    joined = join_history([("frozen", [rows]), ("finetune", [rows])])
    plots.draw_history(tmp_path / "history.png", joined, "two stages")
    plots.draw_history(tmp_path / "one.png", joined[:3], "two stages")
    assert (tmp_path / "history.png").read_bytes() != (tmp_path / "one.png").read_bytes()
