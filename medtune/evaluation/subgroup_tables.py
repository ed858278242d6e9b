"""Tables of subgroups for the terminal, CSV, W&B and the model card.

`documents` is always the value of `subgroups` in metrics.json: one `Subgroups.as_dict` per
metadata column that divides the images into subgroups, such as sex.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medtune.evaluation.metric import Metric
from medtune.evaluation.tables import write_csv

Document = Mapping[str, Any]
COLUMNS = ("column", "subgroup", "against", "n_images", "n_patients", "metric", "value", "lo", "hi", "reason")
_NONE = "–"


def format_entry(entry: Document | None) -> str:
    """Format a metric as `0.812 (0.700 to 0.900)`, without an interval as `0.812`, without a value as a dash."""
    if entry is None or entry["value"] is None:
        return _NONE
    between = "" if entry["lo"] is None else f" ({entry['lo']:.3f} to {entry['hi']:.3f})"
    return f"{entry['value']:.3f}{between}"


def format_gap(gap: Document | None) -> str:
    """Format a gap as `F - M: +0.100 (+0.010 to +0.190)`, with the simultaneous interval if there is one."""
    if gap is None:
        return _NONE
    lo, hi = gap.get("simultaneous") or (gap["lo"], gap["hi"])
    between = "" if lo is None else f" ({lo:+.3f} to {hi:+.3f})"
    return f"{gap['first']} - {gap['second']}: {gap['value']:+.3f}{between}"


def largest_gap(document: Document, metric: str) -> Document | None:
    """Return the entry of the largest gap in a metric; None if no gap is defined."""
    return next((gap for gap in document["largest_gaps"] if gap["metric"] == metric), None)


def reasons(document: Document) -> list[str]:
    """Return one sentence per limitation of a subgroup and per reason for a missing value or interval."""
    sentences = []
    for subgroup in document["subgroups"]:
        by_reason: dict[str, list[str]] = {}
        for name, entry in subgroup["metrics"].items():
            if entry.get("reason") and subgroup["n_images"]:
                by_reason.setdefault(entry["reason"], []).append(name.replace("_", " "))
        n_metrics = len(subgroup["metrics"])
        causes = [
            reason if len(names) == n_metrics else f"{', '.join(names)}: {reason}"
            for reason, names in by_reason.items()
        ]
        sentences += [f"{subgroup['value']}: {text}." for text in (*subgroup["notes"], *causes)]
    return sentences


def table_lines(
    documents: Sequence[Document], metrics: Sequence[Metric], patients_known: bool = True, unit: str = "images"
) -> Iterator[str]:
    """Yield the lines of one table per column: headline metrics (`Metric.headline`) and the largest gap of each metric.

    Args:
        documents: one document per column.
        metrics: metrics of the task.
        patients_known: True if patients are known. Otherwise every image counts as one patient.
        unit: images, slides or volumes.

    Yields:
        Lines of text.
    """
    patients = "patients" if patients_known else f"patients ({unit})"
    for document in documents:
        shown = [metric for metric in metrics if metric.headline and metric.name in _names(document)]
        header = [f"by {document['column']}", unit, patients, *(metric.title for metric in shown)]
        rows = [
            [
                subgroup["value"],
                f"{subgroup['n_images']:,}",
                f"{subgroup['n_patients']:,}",
                *(format_entry(subgroup["metrics"].get(metric.name)) for metric in shown),
            ]
            for subgroup in document["subgroups"]
        ]
        widths = [max(map(len, cells)) for cells in zip(header, *rows, strict=True)]
        for row in (header, *rows):
            cells = (
                c.rjust(w) if k in (1, 2) else c.ljust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))
            )
            yield "  ".join(cells).rstrip()
        for metric in shown:
            if gap := largest_gap(document, metric.name):
                yield f"largest gap in {metric.title}: {format_gap(gap)}"
        yield from reasons(document)


def table_rows(documents: Sequence[Document]) -> Iterator[list[object]]:
    """Yield rows with the columns `COLUMNS`: for each document one row per metric and subgroup, then one row per gap.

    In the row of a gap, the value is that of `subgroup` minus that of `against`. The counts are those of `subgroup`.

    Args:
        documents: one document per column.

    Yields:
        Cells of a row.
    """
    for document in documents:
        by_value = {subgroup["value"]: subgroup for subgroup in document["subgroups"]}
        for value, subgroup in by_value.items():
            for name, entry in subgroup["metrics"].items():
                yield [document["column"], value, None, *_counts(subgroup), name, *_value_cells(entry)]
        for gap in document["gaps"]:
            counts = _counts(by_value[gap["first"]])
            yield [document["column"], gap["first"], gap["second"], *counts, gap["metric"], *_value_cells(gap)]


def write_subgroups(path: Path, documents: Sequence[Document]) -> None:
    """Write subgroups.csv."""
    write_csv(path, COLUMNS, table_rows(documents))


def markdown_lines(documents: Sequence[Document], metrics: Sequence[Metric]) -> Iterator[str]:
    """Yield the lines of one Markdown table per column, similar to that of `table_lines`."""
    for document in documents:
        shown = [metric for metric in metrics if metric.headline and metric.name in _names(document)]
        yield f"By {_escape(document['column'])}:"
        yield ""
        yield f"| subgroup | images | patients | {' | '.join(metric.title for metric in shown)} |"
        yield "|-" * (3 + len(shown)) + "|"
        for subgroup in document["subgroups"]:
            cells = [format_entry(subgroup["metrics"].get(metric.name)) for metric in shown]
            counts = f"{subgroup['n_images']} | {subgroup['n_patients']}"
            yield f"| {_escape(subgroup['value'])} | {counts} | {' | '.join(cells)} |"
        gaps = [_escape(format_gap(largest_gap(document, metric.name))) for metric in shown]
        yield f"| largest gap | | | {' | '.join(gaps)} |"
        yield ""
        yield from (f"- {_escape(text)}" for text in reasons(document))
        yield ""


def _names(document: Document) -> set[str]:
    return {name for subgroup in document["subgroups"] for name in subgroup["metrics"]}


def _counts(subgroup: Document) -> tuple[int, int]:
    return subgroup["n_images"], subgroup["n_patients"]


def _value_cells(entry: Document) -> tuple[object, ...]:
    return entry["value"], entry["lo"], entry["hi"], entry.get("reason")


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
