"""Bound buffers on the CPU, where only the memory differs from a GPU."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from medtune.serving.bound_session import MAX_BUFFERS, BoundSession
from medtune.serving.session import open_session


@pytest.fixture
def bound_session(by_hand) -> BoundSession:
    session = open_session(by_hand.model(), "model.onnx", "cpu", "fp32", threads=1)
    return BoundSession(session, "images", "probabilities", device="cpu", max_batch=8)


def images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize("n", [1, 2, 8, 9, 20])
def test_call__equals_the_session_for_any_batch_size(bound_session, by_hand, n):
    np.testing.assert_allclose(bound_session(images(n)), by_hand.probability(images(n)), atol=1e-6)


def test_call__reuses_buffers_and_returns_copies(bound_session, by_hand):
    first = bound_session(images(4, seed=1))
    bound = bound_session.buffers[4]
    bound_session(images(4, seed=2))
    assert bound_session.buffers[4] == bound  # the same objects
    np.testing.assert_allclose(first, by_hand.probability(images(4, seed=1)), atol=1e-6)


def test_call__keeps_buffers_of_few_batch_sizes(bound_session):
    for n in (1, 2, 3, 4, 1, 5, 6):
        bound_session(images(n))
    assert len(bound_session.buffers) == MAX_BUFFERS
    assert list(bound_session.buffers) == [4, 1, 5, 6]


def test_call__accepts_views_and_several_threads(bound_session, by_hand):
    view = images(8)[::2]
    np.testing.assert_allclose(bound_session(view), by_hand.probability(view), atol=1e-6)
    with ThreadPoolExecutor(4) as pool:
        for seed, result in enumerate(pool.map(lambda seed: bound_session(images(3, seed)), range(40))):
            np.testing.assert_allclose(result, by_hand.probability(images(3, seed)), atol=1e-6)
