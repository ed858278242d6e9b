import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from medtune.benchmark.report.pareto import pareto_front

FEW = st.sampled_from([0.0, 1.0, 2.0, 5.0, float("nan")])  # few values: many ties


@settings(max_examples=150)
@given(st.lists(st.tuples(FEW, FEW), min_size=1, max_size=12))
def test_front__contains_exactly_the_points_without_a_dominating_point(points):
    cost, score = np.array(points).T
    on = pareto_front(cost, score)

    def beats(i, j):
        return cost[i] <= cost[j] and score[i] >= score[j] and (cost[i] < cost[j] or score[i] > score[j])

    known = ~np.isnan(cost) & ~np.isnan(score)
    assert not (on & ~known).any()
    assert on.any() == known.any()
    for j in np.flatnonzero(known):
        beaten = any(beats(i, j) for i in np.flatnonzero(known))
        assert on[j] == (not beaten)
        assert on[j] or any(beats(i, j) for i in np.flatnonzero(on))


def test_front__contains_all_equal_points():
    assert pareto_front(np.array([1.0, 1.0, 2.0]), np.array([0.5, 0.5, 0.5])).tolist() == [True, True, False]
