"""What a benchmark leaves: results.csv, report.html, and one W&B run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtune.benchmark.grid import BenchmarkParams, CellId
from medtune.benchmark.jobs import CellJob
from medtune.benchmark.report.page import write_report
from medtune.benchmark.report.records import CellRecord
from medtune.benchmark.report.results import write_results
from medtune.config.load import validate
from medtune.runtime.artifact import Artifact, digest
from medtune.runtime.console import info
from medtune.runtime.paths import RunPaths
from medtune.tracking.run import start_run


def write_summary(
    grid: BenchmarkParams,
    jobs: Sequence[CellJob],
    records: dict[CellId, Artifact | None],
    errors: dict[CellId, str],
    paths: RunPaths,
) -> list[str]:
    """Writes both files over every cell of the grid, pending and failed ones too; gives what follows from them."""
    folder = paths.stage("benchmark")
    folder.mkdir(parents=True, exist_ok=True)
    cells = [_cell(work.cell, records[work.cell], errors.get(work.cell)) for work in jobs]
    write_results(folder / "results.csv", cells)
    params = jobs[0].params
    page = folder / "report.html"
    lines = write_report(page, cells, grid.metric, params.evaluate.confidence)
    for line in lines:
        info(f"benchmark: {line}")
    pending = sum(cell.status == "pending" for cell in cells)
    info(f"benchmark: {page}" + (f" ({pending} cells are still to be computed)" if pending else ""))
    return lines


def log_summary(
    tree: dict[str, Any], records: dict[CellId, Artifact | None], lines: Sequence[str], metric: str
) -> None:
    """One W&B run of the whole grid: a table of its cells, and the findings."""
    params = validate(tree)
    done = {cell: record.result() for cell, record in records.items() if record}
    key = digest(sorted(record.key for record in records.values() if record))
    columns = ("data", "backbone", "method", "percent", "seed", "lr", metric, "lo", "hi", "trainable", "seconds")
    rows = []
    for cell, result in done.items():
        figure = result["metrics"][metric]
        lr = ", ".join(f"{rate:g}" for rate in result["lr"])
        named = (cell.data, cell.backbone, cell.method, cell.percent, cell.seed, lr)
        rows.append((*named, figure["value"], figure["lo"], figure["hi"], result["trainable"], result["seconds"]))
    with start_run("benchmark", key, key, params, "benchmark") as run:
        run.table("cells", columns, rows)
        run.summary({"cells": len(done), "findings": list(lines)})


def _cell(identity: CellId, record: Artifact | None, error: str | None) -> CellRecord:
    if record is None:
        return CellRecord(identity, None, None, error)
    return CellRecord(identity, Path(record.path), record.result(), None)
