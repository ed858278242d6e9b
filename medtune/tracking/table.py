"""HTML tables for W&B. A wandb.Table would be an artifact that contains a local path."""

import html
from collections.abc import Sequence
from typing import Any

STYLE = "<style>table{border-collapse:collapse;font:13px sans-serif}th,td{padding:3px 9px;text-align:left}</style>"


def html_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return the table as an HTML page, with floats to four significant digits and None as an empty cell."""
    lines = [_line("th", columns), *(_line("td", row) for row in rows)]
    return "\n".join([STYLE, "<table>", *lines, "</table>"])


def _line(tag: str, cells: Sequence[Any]) -> str:
    texts = ("" if cell is None else f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells)
    return "<tr>" + "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts) + "</tr>"
