"""Cores and memory, as this process may use them: a container may have fewer than the machine."""

import os
from pathlib import Path

from medtune.doctor.check_result import CheckResult, Context, failure, format_size, ok, warning

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
MIN_BYTES, LOW_BYTES = 1.0e9, 2.5e9
OVERHEAD_BYTES = (
    1.0e9  # the whole command peaked 0.3 to 0.9 GB above what the measured step took: figures, export, its parity
)


def check_threads(context: Context) -> CheckResult:
    """Cores this process may use, and what OMP_NUM_THREADS makes of them."""
    cores, named = _cores(), os.environ.get("OMP_NUM_THREADS", "")
    if not named:
        return ok(f"{cores:g} cores, OMP_NUM_THREADS not set: all of them")
    if not named.isdigit() or not int(named):
        return warning(f"OMP_NUM_THREADS is {named!r}", "set a number from 1, or unset it")
    found = f"{cores:g} cores, OMP_NUM_THREADS={named}"
    if int(named) > cores:
        return warning(
            f"{found}: more threads than cores slow each other down", f"OMP_NUM_THREADS={max(int(cores), 1)}"
        )
    if int(named) < cores / 2:
        return warning(f"{found}: most cores would idle on a CPU run", "unset OMP_NUM_THREADS")
    return ok(found)


def check_memory(context: Context) -> CheckResult:
    """Free memory against what a measured training step took, where one was measured."""
    free = _free_memory()
    if free is None:
        return warning("this system does not tell its free memory", "look yourself")
    wanted = context.facts.get("memory", 0)
    found = f"{format_size(free)} free"
    if wanted:
        found += f", a training process needs about {format_size(wanted)}"
        found += f", with export up to {format_size(OVERHEAD_BYTES)} more (estimate)"
    if free < max(MIN_BYTES, wanted):
        fix = "end other programs, or a smaller batch_size (accumulate keeps the steps), or "
        return failure(found, fix + "finetune.gradient_checkpointing=true")
    return warning(found, "end other programs") if free < max(LOW_BYTES, wanted + OVERHEAD_BYTES) else ok(found)


def _cores() -> float:
    cores: float = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = _words(CGROUP / "cpu.max")
    if len(limit) == 2 and limit[0] != "max":
        cores = min(cores, int(limit[0]) / int(limit[1]))
    return cores


def _free_memory() -> float | None:
    if not MEMINFO.is_file():
        return None
    lines = dict(line.split(":", 1) for line in MEMINFO.read_text(encoding="utf-8").splitlines() if ":" in line)
    free = float(lines["MemAvailable"].split()[0]) * 1024
    limit, used = _words(CGROUP / "memory.max"), _words(CGROUP / "memory.current")
    if limit and used and limit[0] != "max":
        free = min(free, float(limit[0]) - float(used[0]) + _reclaimable())
    return free


def _reclaimable() -> float:
    stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text(encoding="utf-8").splitlines())
    return float(stat.get("inactive_file", 0))


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except OSError:
        return []
