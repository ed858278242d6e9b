"""Page faults with and without retained memory."""

import os
import platform
import subprocess
import sys

import pytest

from medtune.config.project import PROJECT

SCRIPT = """
import resource, sys
import numpy as np
from medtune.training.malloc import retain_freed_memory
if sys.argv[1] == "retain":
    retain_freed_memory()
np.ones(2_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(2_000_000)  # 16 MB, 3,900 pages
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's heap is tuned")
def test_retain_freed_memory__avoids_page_faults():
    def faults(mode):
        environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536", "PYTHONPATH": str(PROJECT)}
        command = [sys.executable, "-c", SCRIPT, mode]
        return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)

    assert faults("retain") < faults("default") / 10
