"""Look at a schedule before training with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from ._arguments import Schedule
from ._arguments import steps as number_of_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot(schedule: Schedule, steps: int) -> tuple[Figure, Axes]:
    """Draw the values of a schedule at counts 0, 1, ..., ``steps - 1``.

    Args:
        schedule: a function of the count, ours or any other.
        steps: how many, >= 1.

    Returns:
        The figure and its axes; nothing is shown and no global state is touched:
        ``figure.savefig(path)``.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: `steps` outside its range.

    Examples:
        >>> figure, axes = fa.schedules.plot(fa.schedules.constant(0.5), 3)
        >>> axes.lines[0].get_ydata().tolist()
        [0.5, 0.5, 0.5]
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plot needs matplotlib: pip install 'functional_adam[cli]'") from error
    counts = jnp.arange(number_of_steps("steps", steps, 1))
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    axes.plot(counts, jax.vmap(schedule)(counts))
    axes.set(xlabel="updates made", ylabel="value", xlim=(0, max(steps - 1, 1)))
    return figure, axes
