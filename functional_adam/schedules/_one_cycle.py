"""The one-cycle policy: one rise, one long fall, and the mirror image for momentum."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp

from ._arguments import (
    Scalar,
    Schedule,
    are_numbers,
    choice,
    fraction,
    nonnegative,
    positive,
    real,
    schedule_of,
    steps,
)
from ._shapes import cosine, linear, since

Anneal = Literal["cos", "linear"]


def one_cycle_lr(
    max_lr: Scalar,
    *,
    total_steps: Scalar,
    pct_start: Scalar = 0.3,
    anneal_strategy: Anneal = "cos",
    div_factor: Scalar = 25.0,
    final_div_factor: Scalar = 1e4,
    three_phase: bool = False,
) -> Schedule:
    """Rise to `max_lr`, then fall far below where it began, within `total_steps` updates.

    With ``initial = max_lr / div_factor``, ``final = initial / final_div_factor``, N steps and
    ``p = pct_start * N``: initial at count 0, `max_lr` at ``p - 1``, final at ``N - 1``; in three
    phases back at initial at ``2 * p - 2``. Between them half a cosine, or a line. From ``N - 1``
    on final is held; torch refuses counts beyond N, and at N itself extrapolates (along a line
    below zero).

    Args:
        max_lr: value at the peak, >= 0.
        total_steps: N, updates of the whole cycle, >= 1.
        pct_start: fraction of the cycle that rises, in [0, 1].
        anneal_strategy: "cos" or "linear".
        div_factor: peak over initial, > 0.
        final_div_factor: initial over final, > 0.
        three_phase: fall as fast as it rose, then from initial to final.

    Raises:
        ValueError: a Python number outside its range, a strategy of another name, or
            ``pct_start * total_steps`` equal to 1 (a rise of no length, where torch divides by 0).

    Reference: torch.optim.lr_scheduler.OneCycleLR,
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.OneCycleLR.html;
    L. N. Smith and N. Topin, Super-Convergence, 2018, https://arxiv.org/abs/1708.07120

    Examples:
        >>> f = fa.schedules.one_cycle_lr(1.0, total_steps=10)
        >>> round(float(f(0)), 3), round(float(f(2)), 3)
        (0.04, 1.0)
    """
    peak = nonnegative("max_lr", max_lr)
    initial = peak / positive("div_factor", div_factor)
    final = initial / positive("final_div_factor", final_div_factor)
    levels = [initial, peak, initial, final] if three_phase else [initial, peak, final]
    return _phases(levels, total_steps, pct_start, anneal_strategy)


def one_cycle_momentum(
    base_momentum: Scalar = 0.85,
    max_momentum: Scalar = 0.95,
    *,
    total_steps: Scalar,
    pct_start: Scalar = 0.3,
    anneal_strategy: Anneal = "cos",
    three_phase: bool = False,
) -> Schedule:
    """Momentum, or b1 of Adam, that falls where `one_cycle_lr` rises: torch's ``cycle_momentum``.

    `max_momentum` at both ends, `base_momentum` at the peak of the learning rate; in three phases
    `max_momentum` all through the third. The other arguments must equal those of `one_cycle_lr`.

    Args:
        base_momentum: value at the peak of the learning rate, >= 0.
        max_momentum: value at the ends, >= 0.
        total_steps: see `one_cycle_lr`.
        pct_start: see there.
        anneal_strategy: see there.
        three_phase: see there.

    Raises:
        ValueError: as `one_cycle_lr`.

    Reference: as for `one_cycle_lr`.

    Examples:
        >>> f = fa.schedules.one_cycle_momentum(total_steps=10)
        >>> round(float(f(0)), 3), round(float(f(2)), 3)
        (0.95, 0.85)
    """
    low = nonnegative("base_momentum", base_momentum)
    high = nonnegative("max_momentum", max_momentum)
    levels = [high, low, high, high] if three_phase else [high, low, high]
    return _phases(levels, total_steps, pct_start, anneal_strategy)


def _phases(levels: list[Any], total_steps: Any, pct_start: Any, anneal_strategy: str) -> Schedule:
    """Anneal from level to level; the phases end where torch's do."""
    total = steps("total_steps", total_steps, 1)
    rise = fraction("pct_start", pct_start) * (total if isinstance(total, int) else real(total))
    if are_numbers(rise) and rise == 1:
        raise ValueError(
            f"pct_start * total_steps must not be 1, got {pct_start} * {total_steps}: "
            "the rise would have no length"
        )
    anneal = {"cos": cosine, "linear": linear}[
        choice("anneal_strategy", anneal_strategy, ("cos", "linear"))
    ]
    last = total - 1
    ends = [0.0, rise - 1, last] if len(levels) == 3 else [0.0, rise - 1, 2 * rise - 2, last]

    def formula(t: jax.Array) -> jax.Array:
        t = jnp.minimum(t, last)

        def phase(i: int) -> jax.Array:
            span = real(ends[i + 1] - ends[i])
            empty = span == 0
            span = jnp.where(empty, 1, span)
            elapsed = jnp.where(empty, 1, since(ends[i], t) / span)
            remaining = jnp.where(empty, 0, -since(ends[i + 1], t) / span)
            return anneal(levels[i], levels[i + 1], remaining, elapsed)

        value = phase(len(levels) - 2)
        for i in reversed(range(len(levels) - 2)):
            value = jnp.where(since(ends[i + 1], t) <= 0, phase(i), value)
        return value

    return schedule_of(formula)
