import itertools

import numpy as np
from matplotlib import pyplot as plt

from medtune.benchmark.report.plots.labels import Label, place_labels
from medtune.benchmark.report.plots.pareto import steps


def test_place_labels__crowded_labels_do_not_overlap():
    draw = np.random.default_rng(0)
    points = [(float(x), float(y)) for x, y in draw.uniform(0.3, 0.7, (25, 2))]
    figure, axes = plt.subplots(figsize=(6, 5))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    place_labels(axes, [Label(str(n), x, y, 7, "black") for n, (x, y) in enumerate(points)], points, [(0, 0), (1, 0)])
    boxes = [text.get_window_extent() for text in axes.texts]
    apart = [
        not first.shrunk(0.8, 0.8).overlaps(second.shrunk(0.8, 0.8))
        for first, second in itertools.combinations(boxes, 2)
    ]
    plt.close(figure)
    assert len(boxes) == 25
    assert all(apart)


def test_steps__are_horizontal_then_vertical():
    assert steps([(5, 0.9), (1, 0.5)], 10) == [(1, 0.5), (5, 0.5), (5, 0.9), (10, 0.9)]
