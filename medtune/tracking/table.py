"""A table as a small HTML page: a wandb.Table would be an artifact, and carry the path of W&B's own files with it."""

import html
from collections.abc import Sequence
from typing import Any

STYLE = "<style>table{border-collapse:collapse;font:13px sans-serif}th,td{padding:3px 9px;text-align:left}</style>"


def html_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """The page; floats have four digits, None is empty."""
    lines = [_line("th", columns), *(_line("td", row) for row in rows)]
    return "\n".join([STYLE, "<table>", *lines, "</table>"])


def _line(tag: str, cells: Sequence[Any]) -> str:
    shown = ("" if cell is None else f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells)
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in shown) + "</tr>"
