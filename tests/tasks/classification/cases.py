"""Random predictions of a classifier, as a hypothesis strategy."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st


@dataclass
class Case:
    """Labels (n,), probabilities (n, classes), predictions (n,) and patients (n,)."""

    labels: np.ndarray
    probabilities: np.ndarray
    predictions: np.ndarray
    patients: np.ndarray


@st.composite
def cases(draw):
    """Draw a small set: some classes are absent from the labels, some are never predicted, and ties are frequent."""
    n_classes, n = draw(st.integers(2, 6)), draw(st.integers(1, 59))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    present = random.permutation(n_classes)[: draw(st.integers(1, n_classes))]
    probabilities = random.dirichlet(np.full(n_classes, draw(st.sampled_from([0.2, 1.0, 5.0]))), n)
    if draw(st.booleans()):  # many ties; the rows no longer sum to 1
        probabilities = np.round(probabilities, 1)
    predictions = probabilities.argmax(axis=1) if draw(st.booleans()) else random.integers(0, n_classes, n)
    patients = random.integers(0, max(n // 4, 1), n).astype(str)
    return Case(random.choice(present, n), probabilities, predictions, patients)
