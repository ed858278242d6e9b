"""PNG plots of an evaluation, with color-blind-safe colors and reproducible bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib
from cycler import cycler

matplotlib.use("Agg")  # works without a display
from matplotlib import pyplot as plt

# Okabe and Ito (2008) without yellow, which is invisible on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
GRAY = "#7F7F7F"
DPI = 120
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=COLORS),
    "figure.constrained_layout.use": True,
    "savefig.dpi": DPI,
    "savefig.bbox": "tight",
}


@contextmanager
def plot_file(path: Path | BinaryIO, size: tuple[float, float], **grid: Any) -> Iterator[Any]:
    """Yield the axes of a new figure of `size` inches; write it to `path` as PNG on exit."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=size, **grid)
        try:
            yield axes
            figure.savefig(path, metadata={"Software": None})  # version numbers would change the bytes
        finally:
            plt.close(figure)
