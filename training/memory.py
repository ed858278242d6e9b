"""The most memory that a piece of work held."""

import ctypes
import gc
from pathlib import Path

CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
RESET_PEAK = "5"  # see proc(5)


class PeakMemory:
    """Peak since it was made: of the GPU where work runs there, else of this process."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.known = True
        gc.collect()
        if device.startswith("cuda"):
            import torch

            torch.cuda.reset_peak_memory_stats()
            return
        try:
            ctypes.CDLL(None).malloc_trim(0)  # else what earlier work freed still counts
            CLEAR.write_text(RESET_PEAK)
        except (OSError, AttributeError):
            self.known = False  # not Linux, or a kernel that does not let the peak be reset

    def megabytes(self) -> float | None:
        """MiB; None where the system does not say."""
        if self.device.startswith("cuda"):
            import torch

            return round(torch.cuda.max_memory_allocated() / 2**20, 1)
        if not self.known:
            return None
        peak = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return round(int(peak.split()[1]) / 2**10, 1)
