import numpy as np
import pytest

from medtune.benchmark.report import formatting


@pytest.mark.parametrize(
    ("n", "shown"), [(0, "0"), (770, "770"), (12_345, "12.3 k"), (85_798_656, "85.8 M"), (np.nan, "–")]
)
def test_format_count__is_short(n, shown):
    assert formatting.format_count(n) == shown


def test_format_number__typographic_minus_and_dash():
    assert formatting.format_signed(-0.0312) == "−0.031"
    assert formatting.format_signed(0.0312) == "+0.031"
    assert formatting.format_number(np.nan) == formatting.format_number(None) == formatting.format_p(np.nan) == "–"
    assert formatting.format_p(0.0004) == "< 0.001"


def test_join_names__many_names_are_counted():
    assert formatting.join_names(list("abc")) == "a, b, c"
    assert formatting.join_names([str(n) for n in range(12)]).endswith("7 and 4 more")
