"""The C heap of a process that trains."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # see mallopt(3)
THRESHOLD_BYTES = 1 << 30  # bytes


def retain_freed_memory() -> None:
    """Lets this process keep what a training step frees for the next one, which wants as much.

    As it comes, the heap gives arrays of more than 32 MiB back at once (CDTM's gradient has 46 MB), and Dask starts
    its workers with one that gives everything back: a step then spends up to a third of its time in page faults.
    Does nothing where the C library is not glibc.
    """
    try:
        library = ctypes.CDLL(None)
        for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            library.mallopt(option, THRESHOLD_BYTES)
    except (AttributeError, OSError, TypeError):
        return
