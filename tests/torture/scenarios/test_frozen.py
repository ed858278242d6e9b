"""What is frozen, audited, and that a tensor that moves would be seen."""

import pytest

from medtune.models import classifier, weights
from medtune.training.inputs import FrozenBackboneModel

pytestmark = pytest.mark.xdist_group("frozen")


def test_frozen__nothing_frozen_moves(small):
    outcome = small("frozen")
    assert outcome.lost == []
    assert outcome.injected == outcome.survived == 6  # a head in two views, a method; two settings of batchnorm each
    assert outcome.figures["number of tensors compared"] > 400


def test_frozen__moving_statistics_are_seen(small, monkeypatch):
    real = FrozenBackboneModel.forward

    def forward(self, images):
        self.model.backbone.train()
        return real(self, images)

    monkeypatch.setattr(FrozenBackboneModel, "forward", forward)
    stopped = small("frozen", "one").lost
    assert len(stopped) == 2  # stored views never run the backbone while they train
    assert "training changed the frozen backbone" in stopped[0]
    monkeypatch.setattr(weights, "state_sha256", lambda module: "the same")
    passed = small("frozen", "one").lost
    assert len(passed) == 2
    assert "running_mean" in passed[0]


def test_frozen__statistics_that_move_in_stage_two_are_seen(small, monkeypatch):
    monkeypatch.setattr(classifier, "freeze_batchnorm", lambda module: None)
    (lost,) = small("frozen", "two").lost
    assert lost.startswith("tinytl on mobilenet, batchnorm frozen: ")
    assert "running_mean" in lost
