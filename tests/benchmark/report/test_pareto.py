import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from medtune.benchmark.report.pareto import pareto_front

VALUES = st.sampled_from([0.0, 1.0, 2.0, 5.0, float("nan")])  # few values: many ties


@settings(max_examples=150)
@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=12))
def test_front__contains_exactly_the_points_without_a_dominating_point(points):
    cost, score = np.array(points).T
    is_on_front = pareto_front(cost, score)

    def dominates(i, j):
        return cost[i] <= cost[j] and score[i] >= score[j] and (cost[i] < cost[j] or score[i] > score[j])

    known = ~np.isnan(cost) & ~np.isnan(score)
    assert not (is_on_front & ~known).any()
    assert is_on_front.any() == known.any()
    for j in np.flatnonzero(known):
        dominated = any(dominates(i, j) for i in np.flatnonzero(known))
        assert is_on_front[j] == (not dominated)
        assert is_on_front[j] or any(dominates(i, j) for i in np.flatnonzero(is_on_front))


def test_front__contains_all_equal_points():
    assert pareto_front(np.array([1.0, 1.0, 2.0]), np.array([0.5, 0.5, 0.5])).tolist() == [True, True, False]
