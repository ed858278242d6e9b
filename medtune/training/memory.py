"""The most memory that a piece of work held."""

import ctypes
import gc
from pathlib import Path

CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
RESET_PEAK = "5"  # see proc(5)


class PeakMemory:
    """Peak since it was made: allocated on the GPU where work runs there, else this process's above what it held."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.available = True
        gc.collect()
        if device.startswith("cuda"):
            import torch

            torch.cuda.reset_peak_memory_stats()
            return
        try:
            ctypes.CDLL(None).malloc_trim(0)  # else what earlier work freed still counts
            CLEAR_REFS.write_text(RESET_PEAK)
            self.before = _resident_kib("VmRSS")
        except (OSError, AttributeError):
            self.available = False  # not Linux, or a kernel that does not let the peak be reset

    def megabytes(self) -> float | None:
        """MiB; None where the system does not say."""
        if self.device.startswith("cuda"):
            import torch

            return round(torch.cuda.max_memory_allocated() / 2**20, 1)
        if not self.available:
            return None
        return round((_resident_kib("VmHWM") - self.before) / 2**10, 1)


def _resident_kib(which: str) -> int:
    """KiB of VmRSS (now) or VmHWM (peak)."""
    return int(next(line for line in STATUS.read_text().splitlines() if line.startswith(which)).split()[1])
