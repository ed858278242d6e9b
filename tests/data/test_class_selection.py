import numpy as np

from medtune.data.class_selection import list_names, most_frequent, shorten


def test_most_frequent__is_in_class_order_and_takes_the_first_of_equals():
    assert most_frequent(np.array([1, 5, 5, 0, 9]), 2).tolist() == [1, 4]
    assert most_frequent(np.array([1, 2]), 30).tolist() == [0, 1]


def test_list_names__counts_the_other_names():
    assert list_names(["a", "b"], 2) == "a, b"
    assert list_names(["a", "b", "c"], 2) == "a, b, and 1 more"
    assert len(list_names([f"class {k}" for k in range(1000)])) < 400


def test_shorten__truncates_only_long_names():
    assert shorten("a" * 40) == "a" * 40
    assert len(shorten("a" * 41)) == 40
