"""torch's schedulers that multiply a base value by a factor: steps, powers, ramps."""

from __future__ import annotations

from collections.abc import Iterable

import jax
import jax.numpy as jnp

from ._arguments import (
    Scalar,
    Schedule,
    fraction,
    milestones_of,
    nonnegative,
    positive,
    schedule_of,
    steps,
)
from ._shapes import linear, power, ratio, reached


def step_lr(learning_rate: Scalar, *, step_size: Scalar, gamma: Scalar = 0.1) -> Schedule:
    """Decay by `gamma` every `step_size` steps: ``f(t) = learning_rate * gamma**(t // step_size)``.

    Args:
        learning_rate: base value, >= 0.
        step_size: period in steps, >= 1.
        gamma: factor, > 0.

    Raises:
        ValueError: a Python number outside its range.

    Reference: torch.optim.lr_scheduler.StepLR,
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.StepLR.html

    Examples:
        >>> f = fa.schedules.step_lr(1.0, step_size=2, gamma=0.5)
        >>> [float(f(t)) for t in range(5)]
        [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    learning_rate = nonnegative("learning_rate", learning_rate)
    step_size, gamma = steps("step_size", step_size, 1), positive("gamma", gamma)
    return schedule_of(lambda t: learning_rate * power(gamma, t // step_size))


def multi_step_lr(
    learning_rate: Scalar, *, milestones: Iterable[Scalar] | jax.Array, gamma: Scalar = 0.1
) -> Schedule:
    """Decay by `gamma` at each milestone: ``f(t) = learning_rate * gamma**#{m: m <= t}``.

    Args:
        learning_rate: base value, >= 0.
        milestones: steps >= 0, in any order; one that is named n times counts n times, and one at
            0 acts from the first update on (both as in torch).
        gamma: factor, > 0.

    Raises:
        ValueError: a Python number outside its range.

    Reference: torch.optim.lr_scheduler.MultiStepLR,
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.MultiStepLR.html

    Examples:
        >>> f = fa.schedules.multi_step_lr(1.0, milestones=[1, 3], gamma=0.5)
        >>> [float(f(t)) for t in range(4)]
        [1.0, 0.5, 0.5, 0.25]
    """
    learning_rate = nonnegative("learning_rate", learning_rate)
    gamma, marks = positive("gamma", gamma), milestones_of(milestones)
    return schedule_of(lambda t: learning_rate * power(gamma, reached(marks, t)))


def exponential_lr(learning_rate: Scalar, *, gamma: Scalar) -> Schedule:
    """Decay by `gamma` at every step: ``f(t) = learning_rate * gamma**t``.

    Args:
        learning_rate: base value, >= 0.
        gamma: factor, > 0. A traced `gamma` has the digits of its own dtype only.

    Raises:
        ValueError: a Python number outside its range.

    Reference: torch.optim.lr_scheduler.ExponentialLR,
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ExponentialLR.html

    Examples:
        >>> f = fa.schedules.exponential_lr(1.0, gamma=0.5)
        >>> [float(f(t)) for t in range(3)]
        [1.0, 0.5, 0.25]
    """
    learning_rate, gamma = nonnegative("learning_rate", learning_rate), positive("gamma", gamma)
    return schedule_of(lambda t: learning_rate * power(gamma, t))


def constant_lr(
    learning_rate: Scalar, *, factor: Scalar = 1 / 3, total_iters: Scalar = 5
) -> Schedule:
    """Hold a fraction of the base, then the base: ``learning_rate * (factor if t < n else 1)``.

    Args:
        learning_rate: base value, >= 0.
        factor: fraction held at first, in [0, 1].
        total_iters: n, steps at that fraction, >= 1. (With 0 torch never leaves `factor`: refused.)

    Raises:
        ValueError: a Python number outside its range.

    Reference: torch.optim.lr_scheduler.ConstantLR,
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ConstantLR.html

    Examples:
        >>> f = fa.schedules.constant_lr(1.0, factor=0.5, total_iters=2)
        >>> [float(f(t)) for t in range(3)]
        [0.5, 0.5, 1.0]
    """
    learning_rate = nonnegative("learning_rate", learning_rate)
    factor, total_iters = fraction("factor", factor), steps("total_iters", total_iters, 1)
    return schedule_of(lambda t: jnp.where(t < total_iters, learning_rate * factor, learning_rate))


def linear_lr(
    learning_rate: Scalar,
    *,
    start_factor: Scalar = 1 / 3,
    end_factor: Scalar = 1.0,
    total_iters: Scalar = 5,
) -> Schedule:
    """Go from one fraction of the base to another along a line, then hold.

    ``f(t) = learning_rate * (start_factor * (n - s) + end_factor * s) / n``, ``s = min(t, n)``.

    Args:
        learning_rate: base value, >= 0.
        start_factor: fraction at count 0, in [0, 1] (torch refuses 0: its recursion divides by it).
        end_factor: fraction from count n on, in [0, 1].
        total_iters: n, steps between the two, >= 1. (With 0 torch stays at the start: refused.)

    Raises:
        ValueError: a Python number outside its range.

    Reference: torch.optim.lr_scheduler.LinearLR,
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.LinearLR.html

    Examples:
        >>> f = fa.schedules.linear_lr(1.0, start_factor=0.5, total_iters=2)
        >>> [float(f(t)) for t in range(4)]
        [0.5, 0.75, 1.0, 1.0]
    """
    learning_rate = nonnegative("learning_rate", learning_rate)
    start = learning_rate * fraction("start_factor", start_factor)
    end = learning_rate * fraction("end_factor", end_factor)
    total_iters = steps("total_iters", total_iters, 1)

    def formula(t: jax.Array) -> jax.Array:
        elapsed = jnp.minimum(t, total_iters)
        remaining = total_iters - elapsed
        return linear(start, end, ratio(remaining, total_iters), ratio(elapsed, total_iters))

    return schedule_of(formula)


def polynomial_lr(
    learning_rate: Scalar, *, total_iters: Scalar = 5, power: Scalar = 1.0
) -> Schedule:
    """Decay to zero as a polynomial: ``f(t) = learning_rate * (1 - min(t, n) / n)**power``.

    Args:
        learning_rate: base value, >= 0.
        total_iters: n, steps to zero, >= 1; zero is held. (With 0 torch never decays: refused.)
        power: exponent, >= 0.

    Raises:
        ValueError: a Python number outside its range.

    Reference: torch.optim.lr_scheduler.PolynomialLR,
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.PolynomialLR.html

    Examples:
        >>> f = fa.schedules.polynomial_lr(1.0, total_iters=4)
        >>> [float(f(t)) for t in (0, 1, 4, 5)]
        [1.0, 0.75, 0.0, 0.0]
    """
    learning_rate, power = nonnegative("learning_rate", learning_rate), nonnegative("power", power)
    total_iters = steps("total_iters", total_iters, 1)

    def formula(t: jax.Array) -> jax.Array:
        remaining = jnp.maximum(total_iters - t, 0)
        return learning_rate * jnp.power(ratio(remaining, total_iters), power)

    return schedule_of(formula)
