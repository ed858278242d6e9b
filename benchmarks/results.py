"""Results of the benchmarks: measurements with reference and target, as printed lines and as rows of a CSV file."""

import csv
import io
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from medtune.config.project import PROJECT
from medtune.runtime.artifact import write_text
from medtune.runtime.console import info
from medtune.runtime.provenance import package_versions, provenance

RESULTS = PROJECT / "benchmarks" / "results"
PACKAGES = ("torch", "timm", "onnxruntime", "prefect", "dvc")
COLUMNS = ("measurement", "reference", "value", "reference_value", "unit", "ratio", "target", "met", "note", "machine",
           "cores", "threads", *PACKAGES, "git", "date")  # fmt: skip

VERDICTS = {True: ": met", False: ": MISSED", None: ""}

Save = Annotated[bool, typer.Option("--save", help="Also write benchmarks/results/NAME.csv.")]


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        measurement: name of the measurement.
        value: result in `unit`; None if it could not be measured. The reason is then in `note`.
        unit: unit of both values.
        reference: name of the reference; empty if there is none.
        reference_value: result of the reference in the same run.
        ratio: ratio of the two values, to which the target refers; None if the target refers to `value`.
        at_least, at_most: bounds of the target; None if there is no such bound.
        note: limits and conditions.
    """

    measurement: str
    value: float | None
    unit: str
    reference: str = ""
    reference_value: float | None = None
    ratio: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def target(self) -> str:
        """Target as in docs/performance.md; empty if there is none."""
        unit = "x" if self.ratio is not None else f" {self.unit}"
        bounds = ((">=", self.at_least), ("<=", self.at_most))
        return " and ".join(f"{sign} {bound:g}{unit}" for sign, bound in bounds if bound is not None)

    @property
    def met(self) -> bool | None:
        """True if the target was reached; None without a target or a measurement."""
        result = self.value if self.ratio is None else self.ratio
        if not self.target or result is None:
            return None
        return (self.at_least is None or result >= self.at_least) and (self.at_most is None or result <= self.at_most)


def format_row(row: Row) -> str:
    """Format a row, for example `measurement: 1.2 s, against reference 12 s: 10x, target >= 8x: met (note)`."""
    text = f"{row.measurement}: " + ("not measured" if row.value is None else f"{number(row.value)} {row.unit}")
    if row.reference_value is not None:
        text += f", against {row.reference} {number(row.reference_value)} {row.unit}"
    if row.ratio is not None:
        text += f": {row.ratio:.3g}x"
    if row.target:
        text += f", target {row.target}{VERDICTS[row.met]}"
    return text + (f" ({row.note})" if row.note else "")


def finish(name: str, rows: Sequence[Row], save: bool, show: bool = True) -> None:
    """Print the rows of a benchmark unless `show` is false, and write the CSV file if `save` is true."""
    for row in rows if show else ():
        info(format_row(row))
    if save:
        write_text(RESULTS / f"{name}.csv", to_csv(rows))


def to_csv(rows: Sequence[Row]) -> str:
    """Format the rows as CSV, each with machine, package versions and git revision."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    environment = environment_columns()
    for row in rows:
        values = {"value": row.value, "reference_value": row.reference_value, "ratio": row.ratio}
        writer.writerow(
            {
                "measurement": row.measurement,
                "reference": row.reference,
                "unit": row.unit,
                "target": row.target,
                "met": "" if row.met is None else "yes" if row.met else "no",
                "note": row.note,
                **{name: "" if value is None else f"{value:.6g}" for name, value in values.items()},
                **environment,
            }
        )
    return text.getvalue()


def environment_columns() -> dict[str, str | int]:
    """Return the columns that are equal for all rows: machine, threads, package versions, git revision and date."""
    versions = package_versions(*PACKAGES, "onnxruntime-gpu")
    versions["onnxruntime"] = versions.get("onnxruntime") or versions.get("onnxruntime-gpu", "")
    return {
        "machine": _machine(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": threads(),
        **{name: versions.get(name, "") for name in PACKAGES},
        "git": f"{provenance()['git']}{' with changes' if _has_changes() else ''}",
        "date": time.strftime("%Y-%m-%d"),
    }


def threads() -> int:
    """Return the number of CPU threads of torch, without importing it."""
    if torch := sys.modules.get("torch"):
        return int(torch.get_num_threads())
    return int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))


def number(value: float) -> str:
    """Format a number with three digits, or as a whole number from 100 on."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _machine() -> str:
    """Return the names of the processor and, if used, of the GPU."""
    torch = sys.modules.get("torch")
    uses_gpu = torch is not None and torch.cuda.is_initialized()
    return f"{_processor()}, {torch.cuda.get_device_name()}" if torch and uses_gpu else _processor()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _has_changes() -> bool:
    """Return True if the checkout differs from its revision, apart from new results."""
    command = ["git", "diff", "--quiet", "HEAD", "--", ".", ":(exclude)benchmarks/results"]
    try:
        return subprocess.run(command, cwd=PROJECT, capture_output=True, timeout=10).returncode == 1
    except (OSError, subprocess.SubprocessError):
        return False
