import numpy as np
import pytest

from medtune.export import latency

IMAGES = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1)


class Clock:
    """Clock that advances only while a model runs."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    stopped = Clock()
    monkeypatch.setattr(latency.time, "perf_counter", stopped)
    return stopped


def model(clock: Clock, seconds: list[float], calls: list):
    def run(images: np.ndarray) -> None:
        calls.append((len(images), images[:, 0, 0, 0].tolist()))
        clock.now += seconds[min(len(calls) - 1, len(seconds) - 1)]

    return run


def test_benchmark_interleaved__alternates_and_ignores_the_warm_up(clock):
    order: list[str] = []
    slow, fast = model(clock, [50, 4, 4, 90], calls := []), model(clock, [60, 2, 1, 2], [])

    def recording(name, run):
        return lambda images: (order.append(name), run(images))

    result = latency.benchmark_interleaved(
        {"slow": recording("slow", slow), "fast": recording("fast", fast)}, IMAGES, [7], rounds=3
    )
    assert order == ["slow", "fast"] * 4
    assert result == {7: {"slow": 4, "fast": 2}}
    assert calls[0] == (7, [0, 1, 2, 3, 4, 0, 1])
    assert latency.speedups(result, "slow", "fast") == {"7": 2.0}


def test_benchmark_interleaved__repeats_fast_networks_equally_often(clock):
    order: list[str] = []
    models = {"slow": model(clock, [0.03], slow := []), "fast": model(clock, [0.001], fast := [])}
    models_with_order = {
        name: (lambda images, key=name, run=run: (order.append(key), run(images))) for name, run in models.items()
    }
    latency.benchmark_interleaved(models_with_order, IMAGES, [1], rounds=2)
    assert order == ["slow", "fast", *(["slow"] * 3 + ["fast"] * 3) * 2]
    assert len(slow) == len(fast) == 7


def test_benchmark_interleaved__slow_networks_stop_after_three_rounds(clock):
    latency.benchmark_interleaved({"a": model(clock, [100], calls := [])}, IMAGES, [1])
    assert len(calls) == 1 + latency.MIN_ROUNDS
