"""Multilabel baseline: one regression per finding that the training images show."""

import numpy as np

from medtune.tasks.multilabel import baseline


def test_fit_and_predict__findings_are_independent():
    draw = np.random.default_rng(0)
    targets = draw.integers(0, 2, (50, 3))
    targets[:, 2] = 0
    x = draw.normal(size=(50, 4)) + targets[:, :1]
    result = baseline.fit_and_predict(x, targets, x, 3)
    alone = baseline.fit_and_predict(x, targets[:, :1], x, 1)
    assert np.allclose(result[:, 0], alone[:, 0])
    assert not result[:, 2].any()


def test_document__accepted_by_serving():
    from medtune.serving.tasks.multilabel import decide, validate

    document = baseline.document(("mass", "edema"))
    assert validate(document) is None
    assert decide(np.array([[0.5, 0.49]]), document["decision"], document["classes"]).tolist() == [[True, False]]
