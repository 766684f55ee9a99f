"""The two panels of an optimizer: validation curves, and the difference to torch over steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from .compare import Comparison
from .ways import BRIDGE, JAX, TORCH, YARDSTICK

# Okabe and Ito's palette, told apart by readers with any colour vision, and by width as well.
ORANGE, GREEN, BLUE, SKY = "#E69F00", "#009E73", "#0072B2", "#56B4E9"
INK, GREY = "#1A1A1A", "#8C8C8C"

CURVES: Mapping[str, dict[str, Any]] = {
    TORCH: dict(color=ORANGE, linewidth=8, alpha=0.55),
    BRIDGE: dict(color=GREEN, linewidth=3.4),
    JAX: dict(color="black", linewidth=1.2, dashes=(6, 3)),
}
DIFFERENCES: Mapping[str, dict[str, Any]] = {
    YARDSTICK: dict(color=GREY, linewidth=1.1),
    JAX: dict(color=SKY, linewidth=1.4),
    "same": dict(color=BLUE, linewidth=2),
    BRIDGE: dict(color=GREEN, linewidth=5),
    "ulp": dict(color=INK, linewidth=1.3, dashes=(1.5, 1.5)),
}


def draw_curves(axes: Axes, comparison: Comparison) -> None:
    """Validation losses of the three ways, lying on each other."""
    for way, style in CURVES.items():
        axes.plot(comparison.marks, comparison.curves[way], **style)
    distance = max(comparison.own[way].validation_loss or 0 for way in (BRIDGE, JAX))
    axes.set_yscale("log")
    axes.set_xlim(-0.02 * comparison.steps, 1.02 * comparison.steps)
    axes.tick_params(labelbottom=False)
    axes.set_title(comparison.algorithm.name, loc="left", fontsize=14, fontweight="bold")
    axes.set_title(f"curves within {_power(distance)} nats", loc="right", fontsize=10.5)


def draw_differences(axes: Axes, comparison: Comparison, floor: float) -> None:
    """Largest difference of any parameter from torch.optim; zero is drawn at `floor`."""
    steps = np.arange(1, comparison.steps + 1)
    lines = {
        YARDSTICK: comparison.own[YARDSTICK].differences,
        JAX: comparison.own[JAX].differences,
        BRIDGE: np.maximum(comparison.own[BRIDGE].differences, comparison.same[BRIDGE].differences),
        "same": comparison.same[JAX].differences,
        "ulp": comparison.ulps,
    }
    for name, values in lines.items():
        shown = np.where(values == 0, floor, np.maximum(values, 2 * floor))
        axes.plot(steps, shown, **DIFFERENCES[name])
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.text(
        0.98,
        0.95,
        f"JAX, torch's gradients: {_ulps(comparison.same[JAX].ulp)}",
        transform=axes.transAxes,
        ha="right",
        va="top",
        color=BLUE,
        fontweight="bold",
    )


def share_losses(axes: Sequence[Axes]) -> None:
    """Give the panels of losses one scale."""
    low, high = zip(*(each.get_ylim() for each in axes), strict=True)
    for each in axes:
        each.set_ylim(min(low), max(high))
        each.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        each.yaxis.set_minor_locator(NullLocator())
        each.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))


def share_differences(axes: Sequence[Axes], floor: float) -> None:
    """Give the panels of differences one scale, with a tick for zero below the powers of ten."""
    top = max(high for _, high in (each.get_ylim() for each in axes))
    powers = range(math.ceil(math.log10(4 * floor)), math.ceil(math.log10(top)) + 1)
    ticks = [floor, *(10.0**power for power in powers)]
    for each in axes:
        each.set_ylim(floor / 2, 10.0 ** powers[-1] * 3)
        each.yaxis.set_major_locator(FixedLocator(ticks))
        each.yaxis.set_minor_locator(NullLocator())
        each.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _tick(y, floor)))
        each.yaxis.set_minor_formatter(NullFormatter())


def zero_level(comparisons: Sequence[Comparison]) -> float:
    """Where zero is drawn on the logarithmic scale: well below one ulp."""
    smallest = min(float(comparison.ulps.min()) for comparison in comparisons)
    return 10.0 ** (math.floor(math.log10(smallest)) - 1)


def curve_handles() -> list[Line2D]:
    """Legend of the upper panels."""
    names = {
        TORCH: "torch.optim itself",
        BRIDGE: "functional_adam in PyTorch",
        JAX: "functional_adam in JAX",
    }
    return [Line2D([], [], label=label, **CURVES[way]) for way, label in names.items()]


def difference_handles() -> list[Line2D]:
    """Legend of the lower panels."""
    names = {
        BRIDGE: "in PyTorch",
        "same": "in JAX, torch's gradients",
        JAX: "in JAX, own gradients",
        YARDSTICK: "torch.optim, start 1 ulp away",
        "ulp": "1 ulp of max |p|",
    }
    return [Line2D([], [], label=label, **DIFFERENCES[way]) for way, label in names.items()]


def _tick(y: float, floor: float) -> str:
    if y < 2 * floor:
        return "0"
    return f"$10^{{{round(math.log10(y))}}}$"


def _power(x: float) -> str:
    digits, _, exponent = f"{x:.0e}".partition("e")
    return f"${digits} \\times 10^{{{int(exponent)}}}$" if exponent and x else f"{x:g}"


def _ulps(ulps: float) -> str:
    return "bit-equal" if ulps == 0 else f"{ulps:.3g} ulp"
