import subprocess
import sys

import pytest

from medtune.serving.heap import release_heap

# The first large block is mapped separately. After it is freed, glibc allocates blocks of this size on the heap.
PROGRAM = """
import ctypes
from medtune.serving.heap import release_heap

def resident():
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * 4096

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
SIZE = 16 << 20
libc.free(libc.malloc(SIZE))
start = resident()
blocks = [libc.malloc(SIZE) for _ in range(10)]
for block in blocks:
    ctypes.memset(block, 1, SIZE)
last = libc.malloc(4 << 20)  # still in use, above the blocks
for block in blocks:
    libc.free(block)
kept = resident() - start
release_heap()
print(kept, resident() - start)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="tests the heap of glibc")
def test_release_heap__freed_blocks_below_a_used_one():
    output = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    kept, left = map(int, output.split())
    assert kept > 100e6
    assert left < 20e6


def test_release_heap__repeated_calls():
    release_heap()
    release_heap()
