"""Number of faults per test: small in `make test`, complete in `make torture`.

`make torture` selects the hypothesis profile `torture`. Both forms use the same examples in every run.
"""

from typing import TypeVar

from hypothesis import HealthCheck, settings

TORTURE = "torture"
T = TypeVar("T")


def is_full() -> bool:
    """Return whether the complete number of faults is requested."""
    return settings.get_current_profile_name() == TORTURE


def scale(small: T, full: T) -> T:
    """Return `full` in `make torture`, otherwise `small`."""
    return full if is_full() else small


def examples(small: int, full: int) -> settings:
    """Return the settings of a property test that draws this many examples and uses fixtures like `faults`."""
    ignored = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=scale(small, full), suppress_health_check=ignored, database=None)
