import math
from itertools import pairwise

from medtune.config.training import TrainingParams
from medtune.tracking.candidate_curves import CandidateCurves


class Recorder:
    def __init__(self):
        self.points = []

    def log(self, values, step):
        self.points.append((step, values))


def test_curves__single_candidate_has_standard_names():
    run = Recorder()
    curves = CandidateCurves(run, "frozen", [0.1], TrainingParams(epochs=2, batch_size=4), 8)
    curves.step(0, 1, {"train/loss": 1.0})
    curves.epoch(0, 2, {"epoch": 1, "val/loss": 0.5})
    curves.chosen([{"epoch": 1, "step": 2, "val/loss": 0.5}])
    assert run.points == [(1, {"train/loss": 1.0}), (2, {"epoch": 1, "val/loss": 0.5, "frozen/epoch": 1})]


def test_curves__several_candidates_have_increasing_steps():
    run = Recorder()
    curves = CandidateCurves(run, "finetune", [0.01, 0.1], TrainingParams(epochs=2, batch_size=4), 8)
    for number in range(2):
        for step in range(5):
            curves.epoch(number, step, {"epoch": step // 2})
    curves.chosen([{"epoch": 0, "step": 0, "train/loss": math.nan}, {"epoch": 2, "step": 4, "train/loss": 1.0}])
    steps = [step for step, _ in run.points]
    assert all(a <= b for a, b in pairwise(steps))
    assert set(run.points[0][1]) == {"lr-0.01/epoch", "lr-0.01/finetune/epoch"}
    assert set(run.points[5][1]) == {"lr-0.1/epoch", "lr-0.1/finetune/epoch"}
    assert run.points[-2][1] == {"epoch": 0, "step": 0, "finetune/epoch": 0}
    assert run.points[-1][1] == {"epoch": 2, "step": 4, "train/loss": 1.0, "finetune/epoch": 2}
