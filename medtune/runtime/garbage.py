"""Settings of Python's garbage collector for the processes of MedTune."""

import gc

# Python's default is 700.
ALLOCATIONS_PER_COLLECTION = 50_000


def collect_rarely() -> None:
    """Search for garbage less often.

    The imports create millions of objects that stay. With Python's default, the repeated searches take an eighth of the
    time of the imports.
    """
    gc.set_threshold(ALLOCATIONS_PER_COLLECTION)
