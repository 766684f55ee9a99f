"""Cyclical learning rates: a triangle wave, and its mirror image for momentum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ._arguments import Scalar, Schedule, choice, nonnegative, positive, real, schedule_of, steps
from ._shapes import power, ratio
from ._tables import called

Mode = Literal["triangular", "triangular2", "exp_range"]
ScaleMode = Literal["cycle", "iterations"]
ScaleFn = Callable[[jax.Array], ArrayLike]


def cyclic_lr(
    base_lr: Scalar,
    max_lr: Scalar,
    *,
    step_size_up: Scalar = 2000,
    step_size_down: Scalar | None = None,
    mode: Mode = "triangular",
    gamma: Scalar = 1.0,
    scale_fn: ScaleFn | None = None,
    scale_mode: ScaleMode = "cycle",
) -> Schedule:
    """Rise from `base_lr` to `max_lr` and fall back, in cycles of changing height.

    ``f(t) = base_lr + (max_lr - base_lr) * triangle(t) * scale``, where the triangle rises from 0
    to 1 in `step_size_up` steps and falls to 0 in `step_size_down`, and the scale is 1
    (triangular), ``2**(1 - cycle)`` (triangular2) or ``gamma**t`` (exp_range); cycles count from 1.

    Args:
        base_lr: value between cycles, >= 0.
        max_lr: value at the peak where the scale is 1, >= 0.
        step_size_up: steps of the rise, >= 1.
        step_size_down: steps of the fall, >= 1; None: as many as of the rise.
        mode: the scale, see above.
        gamma: base of exp_range, > 0.
        scale_fn: a scale of one's own in place of `mode`, which JAX can trace: given the cycle or
            the count as an integer array, it returns one of the same shape.
        scale_mode: what `scale_fn` is given: the cycle, or (iterations) the count.

    Raises:
        ValueError: a Python number outside its range, or a mode of another name.
        TypeError: `scale_fn` cannot be called.

    Reference: torch.optim.lr_scheduler.CyclicLR,
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CyclicLR.html;
    L. N. Smith, Cyclical Learning Rates for Training Neural Networks, 2017,
    https://arxiv.org/abs/1506.01186

    Examples:
        >>> f = fa.schedules.cyclic_lr(0.0, 1.0, step_size_up=2)
        >>> [float(f(t)) for t in range(5)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    low, high = nonnegative("base_lr", base_lr), nonnegative("max_lr", max_lr)
    scale = _scale(mode, gamma, scale_fn, scale_mode)
    return _triangle_wave(low, high, step_size_up, step_size_down, scale)


def cyclic_momentum(
    base_momentum: Scalar = 0.8,
    max_momentum: Scalar = 0.9,
    *,
    step_size_up: Scalar = 2000,
    step_size_down: Scalar | None = None,
    mode: Mode = "triangular",
    gamma: Scalar = 1.0,
    scale_fn: ScaleFn | None = None,
    scale_mode: ScaleMode = "cycle",
) -> Schedule:
    """Momentum, or b1 of Adam, that falls where `cyclic_lr` rises: torch's ``cycle_momentum``.

    ``f(t) = max_momentum - (max_momentum - base_momentum) * triangle(t) * scale``; the other
    arguments are those of `cyclic_lr` and must equal them.

    Args:
        base_momentum: value at the peak of the learning rate, >= 0.
        max_momentum: value between cycles, >= 0.
        step_size_up: see `cyclic_lr`.
        step_size_down: see there.
        mode: see there.
        gamma: see there.
        scale_fn: see there.
        scale_mode: see there.

    Raises:
        ValueError: a Python number outside its range, or a mode of another name.
        TypeError: `scale_fn` cannot be called.

    Reference: as for `cyclic_lr`.

    Examples:
        >>> f = fa.schedules.cyclic_momentum(0.5, 1.0, step_size_up=2)
        >>> [float(f(t)) for t in range(5)]
        [1.0, 0.75, 0.5, 0.75, 1.0]
    """
    low = nonnegative("base_momentum", base_momentum)
    high = nonnegative("max_momentum", max_momentum)
    scale = _scale(mode, gamma, scale_fn, scale_mode)
    return _triangle_wave(high, low, step_size_up, step_size_down, scale)


def _triangle_wave(
    start: Any, peak: Any, up: Any, down: Any, scale: Callable[[jax.Array, jax.Array], Any]
) -> Schedule:
    up = steps("step_size_up", up, 1)
    down = up if down is None else steps("step_size_down", down, 1)
    period = up + down

    def formula(t: jax.Array) -> jax.Array:
        cycle, position = t // period + 1, t % period
        rise, fall = ratio(position, up), ratio(period - position, down)
        height = jnp.where(position <= up, rise, fall)
        return start + (peak - start) * height * scale(cycle, t)

    return schedule_of(formula)


def _scale(
    mode: str, gamma: Any, scale_fn: ScaleFn | None, scale_mode: str
) -> Callable[[jax.Array, jax.Array], Any]:
    """Return the height of a peak as a function of (cycle, count)."""
    choice("mode", mode, ("triangular", "triangular2", "exp_range"))
    choice("scale_mode", scale_mode, ("cycle", "iterations"))
    gamma = positive("gamma", gamma)
    if scale_fn is not None:
        function = called("scale_fn", scale_fn)
        by_cycle = scale_mode == "cycle"
        return lambda cycle, t: real(function(cycle if by_cycle else t))
    return {
        "triangular": lambda cycle, t: 1.0,
        "triangular2": lambda cycle, t: power(0.5, cycle - 1),
        "exp_range": lambda cycle, t: power(gamma, t),
    }[mode]
