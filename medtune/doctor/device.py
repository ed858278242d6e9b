"""Check of the device (CPU or GPU) and its driver."""

import os
import subprocess
import sys
from pathlib import Path

from medtune.doctor.check_result import CheckResult, Context, failure, ok
from medtune.runtime.device import device_class
from medtune.serving.one_line import first_line

DRIVER = Path("/proc/driver/nvidia/version")
QUERY = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,memory.used", "--format=csv,noheader"]
TORCH_TIMEOUT_S = 120.0
TORCH_QUERY = (
    "import torch; print(torch.__version__, 'for CUDA', torch.version.cuda, 'sees', "
    "torch.cuda.device_count() if torch.cuda.is_available() else 0)"
)


def check_device(context: Context) -> CheckResult:
    """Check the device. For a GPU, also check its driver and, in a subprocess, that torch finds the GPU."""
    named = os.environ.get("MEDTUNE_DEVICE")
    kind = device_class()
    chosen = f"MEDTUNE_DEVICE={named}" if named else "chosen automatically"
    if kind not in ("cpu", "cuda", "mps"):
        return failure(f"MEDTUNE_DEVICE={named}: unknown device", "set cpu, cuda, cuda:1 or mps, or unset it")
    if kind != "cuda":
        return ok(f"{kind} ({chosen})")
    driver = _query_driver()
    if driver is None:
        return failure(
            f"cuda ({chosen}), but no NVIDIA driver responds", "install the driver, or set MEDTUNE_DEVICE=cpu"
        )
    if context.quick:
        return ok(f"cuda ({chosen}): {driver}")
    seen = _query_torch()
    if seen.endswith(" 0"):
        return failure(
            f"cuda ({chosen}): {driver}; torch {seen} GPUs",
            "install a driver for the CUDA version of torch, check CUDA_VISIBLE_DEVICES, or set MEDTUNE_DEVICE=cpu",
        )
    return ok(f"cuda ({chosen}): {driver}; torch {seen} GPUs")


def _query_driver() -> str | None:
    """Return the names and drivers of up to four GPUs, or None if no NVIDIA driver responds."""
    try:
        completed = subprocess.run(QUERY, capture_output=True, text=True, timeout=20, check=True)
        if lines := completed.stdout.strip().splitlines():
            return "; ".join(lines[:4])
    except (OSError, subprocess.SubprocessError):
        pass
    return DRIVER.read_text(encoding="utf-8").splitlines()[0] if DRIVER.is_file() else None


def _query_torch() -> str:
    """Return a phrase with the version of torch. It ends with the number of GPUs that torch finds."""
    try:
        completed = subprocess.run(
            [sys.executable, "-c", TORCH_QUERY], capture_output=True, text=True, timeout=TORCH_TIMEOUT_S, check=True
        )
    except subprocess.TimeoutExpired:
        return f"did not respond within {TORCH_TIMEOUT_S:.0f} s: 0"
    except (OSError, subprocess.SubprocessError) as error:
        return f"failed ({first_line(error)}): 0"
    return completed.stdout.strip().splitlines()[-1]
