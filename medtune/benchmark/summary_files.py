"""Results of a benchmark: results.csv, report.html and one W&B run."""

from collections.abc import Sequence
from pathlib import Path

from medtune.benchmark.grid import BenchmarkParams, TrialId
from medtune.benchmark.jobs import TrialJob
from medtune.benchmark.report.page import write_report
from medtune.benchmark.report.records import TrialRecord
from medtune.benchmark.report.results import write_results
from medtune.config.schema import Params
from medtune.runtime.artifact import Artifact, digest
from medtune.runtime.console import info
from medtune.runtime.paths import RunPaths
from medtune.tracking.run import start_run


def write_summary(
    grid: BenchmarkParams,
    jobs: Sequence[TrialJob],
    records: dict[TrialId, Artifact | None],
    errors: dict[TrialId, str],
    paths: RunPaths,
) -> list[str]:
    """Write results.csv and report.html, which cover all trials of the grid, including pending and failed ones.

    Args:
        grid: grid of the benchmark.
        jobs: jobs of all trials.
        records: record by trial; None if the trial is not finished.
        errors: error message of each failed trial.
        paths: paths of the run.

    Returns:
        The recommendations and warnings of the report.
    """
    folder = paths.stage("benchmark")
    folder.mkdir(parents=True, exist_ok=True)
    trials = [_trial(job.trial, records[job.trial], errors.get(job.trial)) for job in jobs]
    write_results(folder / "results.csv", trials)
    params = jobs[0].params
    page = folder / "report.html"
    findings = write_report(page, trials, grid.metric, params.evaluate.confidence)
    for finding in findings:
        info(f"benchmark: {finding}")
    pending = sum(trial.status == "pending" for trial in trials)
    info(f"benchmark: {page}" + (f" ({pending} of {len(trials)} trials pending)" if pending else ""))
    return findings


def log_summary(params: Params, records: dict[TrialId, Artifact | None], findings: Sequence[str], metric: str) -> None:
    """Log one W&B run for the grid, with a table of its trials and the findings of the report.

    Args:
        params: params from `summary_params`.
        records: record by trial; None if the trial is not finished.
        findings: recommendations and warnings of the report, from `write_summary`.
        metric: name of the compared metric.
    """
    done = {trial: record.result() for trial, record in records.items() if record}
    key = digest(sorted(record.key for record in records.values() if record))
    columns = ("data", "backbone", "method", "percent", "seed", "lr", metric, "lo", "hi", "trainable", "seconds")
    rows = []
    for trial, result in done.items():
        entry = result["metrics"][metric]
        lr = ", ".join(f"{rate:g}" for rate in result["lr"])
        identity = (trial.data, trial.backbone, trial.method, trial.percent, trial.seed, lr)
        rows.append((*identity, entry["value"], entry["lo"], entry["hi"], result["trainable"], result["seconds"]))
    with start_run("benchmark", key, key, params, "benchmark") as run:
        run.table("trials", columns, rows)
        run.summary({"trials": len(done), "findings": list(findings)})


def _trial(identity: TrialId, record: Artifact | None, error: str | None) -> TrialRecord:
    if record is None:
        return TrialRecord(identity, None, None, error)
    return TrialRecord(identity, Path(record.path), record.result(), None)
