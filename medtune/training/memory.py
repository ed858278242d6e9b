"""Measurement of peak memory."""

import ctypes
import gc
from pathlib import Path

CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
RESET_PEAK = "5"  # see proc(5)


class PeakMemory:
    """Peak memory since creation: allocated GPU memory, or the increase of this process's resident memory on a CPU."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.available = True
        gc.collect()
        if device.startswith("cuda"):
            import torch

            torch.cuda.reset_peak_memory_stats()
            return
        try:
            ctypes.CDLL(None).malloc_trim(0)  # otherwise freed memory would still count
            CLEAR_REFS.write_text(RESET_PEAK)
            self.before = _resident_kib("VmRSS")
        except (OSError, AttributeError):
            self.available = False  # the system is not Linux, or the kernel does not allow a reset of the peak

    def megabytes(self) -> float | None:
        """Return the peak in MiB; None if the system does not report it."""
        if self.device.startswith("cuda"):
            import torch

            return round(torch.cuda.max_memory_allocated() / 2**20, 1)
        if not self.available:
            return None
        return round((_resident_kib("VmHWM") - self.before) / 2**10, 1)


def _resident_kib(field: str) -> int:
    """Return VmRSS (current) or VmHWM (peak) in KiB."""
    return int(next(line for line in STATUS.read_text().splitlines() if line.startswith(field)).split()[1])
