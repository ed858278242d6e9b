"""Return of freed memory to the operating system.

The C library of Linux (glibc) keeps freed blocks of up to 32 MB for later use. Pillow and libjpeg store images in such
blocks. After a JPEG file of 50 million pixels, up to 1 GB of freed memory may remain in the process.
"""

import ctypes
import functools
from collections.abc import Callable

LARGE_PIXELS = 4_000_000  # call `release_heap` after images of at least this size


def release_heap() -> None:
    """Return the freed blocks of this process to the operating system. Does nothing without glibc."""
    _malloc_trim()(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int]:
    try:
        function: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, TypeError, OSError):  # another C library, or Windows
        return lambda _: 0
    return function
