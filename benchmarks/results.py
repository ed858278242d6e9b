"""One measured figure beside its reference and its target: as a line on the screen and as a row of a csv file."""

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
COLUMNS = ("what", "reference", "value", "reference_value", "unit", "ratio", "target", "met", "note", "machine",
           "cores", "threads", *PACKAGES, "git", "date")  # fmt: skip

VERDICTS = {True: ": met", False: ": MISSED", None: ""}

Save = Annotated[bool, typer.Option("--save", help="Also write benchmarks/results/NAME.csv.")]


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        what: what was measured.
        value: of it, in `unit`; None: it could not be measured, and `note` says why.
        unit: of both values.
        reference: what it is set against; empty where the figure stands alone.
        reference_value: of that, from the same run.
        ratio: of the two, in the sense that the target is meant; None: the target is for `value` itself.
        at_least, at_most: the target.
        note: what the figure cannot exceed, or what it leaves out.
    """

    what: str
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
        """As it is written in docs/performance.md; empty where there is none."""
        unit = "x" if self.ratio is not None else f" {self.unit}"
        bounds = ((">=", self.at_least), ("<=", self.at_most))
        return " and ".join(f"{sign} {bound:g}{unit}" for sign, bound in bounds if bound is not None)

    @property
    def met(self) -> bool | None:
        """Whether the target was reached; None where there is none, or nothing was measured."""
        figure = self.value if self.ratio is None else self.ratio
        if not self.target or figure is None:
            return None
        return (self.at_least is None or figure >= self.at_least) and (self.at_most is None or figure <= self.at_most)


def line(row: Row) -> str:
    """`what: 1.2 s, against reference 12 s: 10.0x, target >= 8x: met (note)`."""
    text = f"{row.what}: " + ("not measured" if row.value is None else f"{number(row.value)} {row.unit}")
    if row.reference_value is not None:
        text += f", against {row.reference} {number(row.reference_value)} {row.unit}"
    if row.ratio is not None:
        text += f": {row.ratio:.3g}x"
    if row.target:
        text += f", target {row.target}{VERDICTS[row.met]}"
    return text + (f" ({row.note})" if row.note else "")


def finish(name: str, rows: Sequence[Row], save: bool, told: bool = True) -> None:
    """Ends a benchmark's command: says its rows, unless it did so itself, and saves them where asked."""
    for row in rows if told else ():
        info(line(row))
    if save:
        write_text(RESULTS / f"{name}.csv", table(rows))


def table(rows: Sequence[Row]) -> str:
    """The rows as csv, each with the machine, the versions and the revision that it was measured on."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    here = circumstances()
    for row in rows:
        figures = {"value": row.value, "reference_value": row.reference_value, "ratio": row.ratio}
        writer.writerow(
            {
                "what": row.what,
                "reference": row.reference,
                "unit": row.unit,
                "target": row.target,
                "met": "" if row.met is None else "yes" if row.met else "no",
                "note": row.note,
                **{name: "" if value is None else f"{value:.6g}" for name, value in figures.items()},
                **here,
            }
        )
    return text.getvalue()


def circumstances() -> dict[str, str | int]:
    """Machine, threads, versions, git revision and date."""
    found = package_versions(*PACKAGES, "onnxruntime-gpu")
    found["onnxruntime"] = found.get("onnxruntime") or found.get("onnxruntime-gpu", "")
    return {
        "machine": _machine(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": threads(),
        **{name: found.get(name, "") for name in PACKAGES},
        "git": f"{provenance()['git']}{' with changes' if _changed() else ''}",
        "date": time.strftime("%Y-%m-%d"),
    }


def threads() -> int:
    """CPU threads that torch uses here; without importing it, those that it would."""
    if torch := sys.modules.get("torch"):
        return int(torch.get_num_threads())
    return int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))


def number(value: float) -> str:
    """Three digits, or the whole number where it has more."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _machine() -> str:
    """The processor, and the GPU where one was used."""
    torch = sys.modules.get("torch")
    used = torch is not None and torch.cuda.is_initialized()
    return f"{_processor()}, {torch.cuda.get_device_name()}" if torch and used else _processor()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _changed() -> bool:
    """Whether the checkout is another than its revision; figures that were just written do not count."""
    words = ["git", "diff", "--quiet", "HEAD", "--", ".", ":(exclude)benchmarks/results"]
    try:
        return subprocess.run(words, cwd=PROJECT, capture_output=True, timeout=10).returncode == 1
    except (OSError, subprocess.SubprocessError):
        return False
