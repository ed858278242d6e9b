"""Checks of the CPU cores and the memory that this process may use. Limits of a container are considered."""

import os
from pathlib import Path

from medtune.doctor.check_result import CheckResult, Context, failure, format_size, ok, warning

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
MIN_BYTES, LOW_BYTES = 1.0e9, 2.5e9  # less free memory is a failure, or a warning
# Memory that plots, export and the parity check need in addition to a training step. Measured values are 0.3 to 0.9 GB.
OVERHEAD_BYTES = 1.0e9


def check_threads(context: Context) -> CheckResult:
    """Compare OMP_NUM_THREADS with the available cores."""
    cores, named = _cores(), os.environ.get("OMP_NUM_THREADS", "")
    if not named:
        return ok(f"{cores:g} cores, all used (OMP_NUM_THREADS is not set)")
    if not named.isdigit() or not int(named):
        return warning(f"OMP_NUM_THREADS={named}: not a positive integer", "set an integer of at least 1, or unset it")
    summary = f"{cores:g} cores, OMP_NUM_THREADS={named}"
    if int(named) > cores:
        return warning(f"{summary}: more threads than cores are slow", f"set OMP_NUM_THREADS={max(int(cores), 1)}")
    if int(named) < cores / 2:
        return warning(f"{summary}: most cores would idle in a CPU run", "unset OMP_NUM_THREADS")
    return ok(summary)


def check_memory(context: Context) -> CheckResult:
    """Compare the free memory with the peak memory of a training step, if it was measured."""
    free = _free_memory()
    if free is None:
        return warning("free memory is unknown on this system", "check the free memory yourself")
    required = context.facts.get("memory", 0)
    summary = f"{format_size(free)} free"
    if required:
        summary += f", a training process needs about {format_size(required)}"
        summary += f", with export up to {format_size(OVERHEAD_BYTES)} more (estimate)"
    if free < max(MIN_BYTES, required):
        fix = "end other programs, use a smaller batch_size with gradient_accumulation_steps, or set "
        return failure(summary, fix + "finetune.gradient_checkpointing=true")
    if free < max(LOW_BYTES, required + OVERHEAD_BYTES):
        return warning(summary, "end other programs")
    return ok(summary)


def _cores() -> float:
    """Return the number of CPU cores that this process may use. In a container, it may be a fraction."""
    cores: float = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = _words(CGROUP / "cpu.max")
    if len(limit) == 2 and limit[0] != "max":
        cores = min(cores, int(limit[0]) / int(limit[1]))
    return cores


def _free_memory() -> float | None:
    """Return the free memory in bytes, or None if the system does not state it."""
    if not MEMINFO.is_file():
        return None
    lines = dict(line.split(":", 1) for line in MEMINFO.read_text(encoding="utf-8").splitlines() if ":" in line)
    free = float(lines["MemAvailable"].split()[0]) * 1024
    limit, used = _words(CGROUP / "memory.max"), _words(CGROUP / "memory.current")
    if limit and used and limit[0] != "max":
        free = min(free, float(limit[0]) - float(used[0]) + _reclaimable())
    return free


def _reclaimable() -> float:
    """Return the bytes of cached files in a container, which the system frees if necessary."""
    stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text(encoding="utf-8").splitlines())
    return float(stat.get("inactive_file", 0))


def _words(path: Path) -> list[str]:
    """Return the words in a file, or [] if the file is not readable."""
    try:
        return path.read_text(encoding="utf-8").split()
    except OSError:
        return []
