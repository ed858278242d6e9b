"""Tuning of the C heap for training."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # see mallopt(3)
THRESHOLD_BYTES = 1 << 30  # 1 GiB


def retain_freed_memory() -> None:
    """Keep memory that a training step frees in this process, because the next step needs as much.

    By default, glibc returns arrays of more than 32 MiB to the system, such as the gradient of CDTM (46 MB).
    In workers of Dask, glibc returns all memory. Without this function, a step spends up to a third of its time in page
    faults. The function has no effect if the C library is not glibc.
    """
    try:
        library = ctypes.CDLL(None)
        for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            library.mallopt(option, THRESHOLD_BYTES)
    except (AttributeError, OSError, TypeError):
        return
