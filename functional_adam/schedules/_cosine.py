"""Cosine annealing: torch's, which rises again; optax's, which holds; with warm restarts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ._arguments import Scalar, Schedule, nonnegative, real, schedule_of, steps
from ._shapes import cosine, ratio, reached


def cosine_annealing_lr(learning_rate: Scalar, *, T_max: Scalar, eta_min: Scalar = 0.0) -> Schedule:
    """Swing between the base and `eta_min` along a cosine of period ``2 * T_max``.

    ``f(t) = eta_min + (learning_rate - eta_min) * (1 + cos(pi * t / T_max)) / 2``. After `T_max`
    it **rises again**, as in torch; `cosine_decay` holds `eta_min` instead, as optax does.

    Args:
        learning_rate: value at count 0, >= 0.
        T_max: steps to the minimum, >= 1.
        eta_min: value at the minimum, >= 0.

    Raises:
        ValueError: a Python number outside its range.

    Reference: torch.optim.lr_scheduler.CosineAnnealingLR,
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CosineAnnealingLR.html;
    I. Loshchilov and F. Hutter, SGDR, 2017, equation 5, https://arxiv.org/abs/1608.03983

    Examples:
        >>> f = fa.schedules.cosine_annealing_lr(1.0, T_max=4)
        >>> [round(float(f(t)), 3) for t in (0, 2, 4, 8)]
        [1.0, 0.5, 0.0, 1.0]
    """
    learning_rate = nonnegative("learning_rate", learning_rate)
    T_max, eta_min = steps("T_max", T_max, 1), nonnegative("eta_min", eta_min)

    def formula(t: jax.Array) -> jax.Array:
        falling, position = (t // T_max) % 2 == 0, t % T_max
        remaining = jnp.where(falling, T_max - position, position)
        elapsed = jnp.where(falling, position, T_max - position)
        return cosine(learning_rate, eta_min, ratio(remaining, T_max), ratio(elapsed, T_max))

    return schedule_of(formula)


def cosine_decay(learning_rate: Scalar, *, T_max: Scalar, eta_min: Scalar = 0.0) -> Schedule:
    """Decay from the base to `eta_min` along half a cosine, then hold: optax's reading.

    ``f(t) = eta_min + (learning_rate - eta_min) * (1 + cos(pi * min(t, T_max) / T_max)) / 2``.

    Args:
        learning_rate: see `cosine_annealing_lr`.
        T_max: see there.
        eta_min: see there.

    Raises:
        ValueError: a Python number outside its range.

    Reference: optax.cosine_decay_schedule (with ``alpha = eta_min / learning_rate``),
    https://optax.readthedocs.io/en/latest/api/optimizer_schedules.html

    Examples:
        >>> f = fa.schedules.cosine_decay(1.0, T_max=4)
        >>> [round(float(f(t)), 3) for t in (0, 2, 4, 8)]
        [1.0, 0.5, 0.0, 0.0]
    """
    learning_rate = nonnegative("learning_rate", learning_rate)
    T_max, eta_min = steps("T_max", T_max, 1), nonnegative("eta_min", eta_min)

    def formula(t: jax.Array) -> jax.Array:
        elapsed = jnp.minimum(t, T_max)
        remaining = T_max - elapsed
        return cosine(learning_rate, eta_min, ratio(remaining, T_max), ratio(elapsed, T_max))

    return schedule_of(formula)


def cosine_annealing_warm_restarts(
    learning_rate: Scalar, *, T_0: Scalar, T_mult: int = 1, eta_min: Scalar = 0.0
) -> Schedule:
    """Fall along half a cosine again and again, each time `T_mult` times as long.

    ``f(t) = eta_min + (learning_rate - eta_min) * (1 + cos(pi * T_cur / T_i)) / 2`` where fall i
    is ``T_i = T_0 * T_mult**i`` steps long and ``T_cur`` steps of it have been made.

    Args:
        learning_rate: value at each restart, >= 0.
        T_0: steps of the first fall, >= 1.
        T_mult: growth, a Python integer >= 1 (how many falls there can be depends on it).
        eta_min: value a fall tends to, >= 0.

    Raises:
        ValueError: a Python number outside its range.
        TypeError: `T_mult` is not a Python integer.

    Reference: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts,
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CosineAnnealingWarmRestarts.html;
    I. Loshchilov and F. Hutter, SGDR, 2017, https://arxiv.org/abs/1608.03983

    Examples:
        >>> f = fa.schedules.cosine_annealing_warm_restarts(1.0, T_0=4)
        >>> [round(float(f(t)), 3) for t in (0, 2, 4, 6)]
        [1.0, 0.5, 1.0, 0.5]
    """
    learning_rate = nonnegative("learning_rate", learning_rate)
    T_0, eta_min = steps("T_0", T_0, 1), nonnegative("eta_min", eta_min)
    growth = steps("T_mult", T_mult, 1)
    if not isinstance(growth, int):
        raise TypeError(f"T_mult must be a Python integer, got {T_mult!r}")

    def formula(t: jax.Array) -> jax.Array:
        # In units of T_0, the integer part of the time is exact, and so are starts and lengths.
        units, steps_in_unit = t // T_0, t % T_0
        made, left, length = _position(units, growth)
        elapsed = made + ratio(steps_in_unit, T_0)
        remaining = left + ratio(T_0 - steps_in_unit, T_0)
        return cosine(learning_rate, eta_min, remaining / length, elapsed / length)

    return schedule_of(formula)


def _position(units: jax.Array, growth: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Whole units made and left of the current fall, and its length; fall i has ``growth**i``."""
    if growth == 1:
        none = jnp.zeros_like(units, dtype=float)
        return none, none, none + 1
    starts, lengths = [0], [1]
    while starts[-1] + lengths[-1] < 2**31:
        starts.append(starts[-1] + lengths[-1])
        lengths.append(lengths[-1] * growth)
    last = len(starts) - 1
    fall = reached(starts, units) - 1
    made = units - jnp.asarray(starts, dtype=int)[fall]
    ends = jnp.asarray([*starts[1:], 0], dtype=int)
    # The last fall ends where no integer counts, and so far away that a float will do.
    left = jnp.where(fall == last, lengths[last] - 1.0 - real(made), real(ends[fall] - 1 - units))
    return real(made), left, real(np.asarray(lengths, np.float64))[fall]
