"""The picture: for each optimizer the validation curves and the difference to torch.optim."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .compare import Comparison
from .panels import (
    INK,
    curve_handles,
    difference_handles,
    draw_curves,
    draw_differences,
    share_differences,
    share_losses,
    zero_level,
)
from .verdict import broken

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "axes.grid": True,
    "grid.color": "#E8E8E8",
    "axes.axisbelow": True,
    "legend.frameon": False,
}
COLUMNS = 3
WIDTH, HEIGHT = 4.3, 5.2  # inches of an optimizer's two panels
HEAD, FOOT, SIDE = 2.3, 0.6, 0.35  # inches above, below and left of all panels
DPI = 150


def picture(comparisons: Sequence[Comparison], *, dtype: str, seed: int) -> bytes:
    """Draw all optimizers, three to a row, as a PNG."""
    columns = min(COLUMNS, len(comparisons))
    rows = -(-len(comparisons) // columns)
    size = COLUMNS * WIDTH, rows * HEIGHT + HEAD + FOOT
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, dpi=DPI)
        FigureCanvasAgg(figure)
        _draw_panels(figure, comparisons, rows, columns)
        _draw_head(figure, _title(comparisons), comparisons[0].steps, dtype, seed)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw_panels(
    figure: Figure, comparisons: Sequence[Comparison], rows: int, columns: int
) -> None:
    width, height = figure.get_size_inches()
    grid = figure.add_gridspec(
        rows,
        columns,
        left=1.05 / width,
        right=1 - 0.25 / width,
        top=1 - HEAD / height,
        bottom=FOOT / height,
        wspace=0.17,
        hspace=0.22,
    )
    floor = zero_level(comparisons)
    upper, lower = [], []
    for i, comparison in enumerate(comparisons):
        cell = grid[divmod(i, columns)].subgridspec(2, 1, hspace=0.1)
        curves = figure.add_subplot(cell[0])
        differences = figure.add_subplot(cell[1], sharex=curves)
        draw_curves(curves, comparison)
        draw_differences(differences, comparison, floor)
        upper.append(curves)
        lower.append(differences)
        if i % columns == 0:
            curves.set_ylabel("validation loss (nats)")
            differences.set_ylabel("max |Δp| from torch.optim\n(units of p)")
    share_losses(upper)
    share_differences(lower, floor)


def _title(comparisons: Sequence[Comparison]) -> str:
    failed = [comparison.algorithm.name for comparison in comparisons if broken(comparison)]
    if failed:
        return f"Parity of JAX and PyTorch is broken: {', '.join(failed)}"
    return "One definition of every Adam, the same numbers in JAX and in PyTorch"


def _draw_head(figure: Figure, title: str, steps: int, dtype: str, seed: int) -> None:
    width, height = figure.get_size_inches()

    def write(inches: float, text: str, size: float, weight: str = "normal") -> None:
        x, y = SIDE / width, 1 - inches / height
        figure.text(x, y, text, fontsize=size, fontweight=weight, va="center")

    write(0.45, title, 20, "bold")
    write(
        0.88,
        f"The same network, weights and batches, trained three ways: scikit-learn's digits, MLP "
        f"64-64-64-10, {dtype}, {steps:,} steps, seed {seed}, CPU",
        12,
    )
    for inches, name, handles in (
        (1.38, "Validation loss", curve_handles()),
        (1.72, "Max |Δp|", difference_handles()),
    ):
        write(inches, name, 11, "bold")
        figure.legend(
            handles=handles,
            loc="center left",
            bbox_to_anchor=((SIDE + 1.4) / width, 1 - inches / height),
            ncols=len(handles),
            columnspacing=1.3,
            handlelength=1.9,
            fontsize=10.2,
        )
