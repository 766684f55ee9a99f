"""Schedules made of schedules: one after another, and multiplied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp

from ._arguments import (
    Scalar,
    Schedule,
    are_numbers,
    milestones_of,
    nonnegative,
    real,
    schedule_of,
)


def sequential_lr(
    schedules: Sequence[Schedule], *, milestones: Iterable[Scalar] | jax.Array
) -> Schedule:
    """Run schedules one after another, each counting from its own start.

    ``f(t) = schedules[i](t - milestones[i - 1])`` where i milestones are at or before t.

    Args:
        schedules: one or more functions of the count, ours or any other, with their base values.
        milestones: steps at which the second, third, ... takes over, >= 0 and not decreasing.

    Raises:
        ValueError: no schedule, not one milestone between every two, or milestones that decrease.

    Reference: torch.optim.lr_scheduler.SequentialLR,
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.SequentialLR.html;
    optax.join_schedules

    Examples:
        >>> s = fa.schedules
        >>> f = s.sequential_lr([s.constant(1.0), s.constant(0.5)], milestones=[2])
        >>> [float(f(t)) for t in range(4)]
        [1.0, 1.0, 0.5, 0.5]
    """
    if not schedules:
        raise ValueError("schedules must hold at least one schedule, got none")
    marks = milestones_of(milestones, len(schedules) - 1)
    if are_numbers(*marks) and marks != sorted(marks):
        raise ValueError(f"milestones must not decrease, got {marks}")

    def formula(t: jax.Array) -> jax.Array:
        value = real(schedules[0](t))
        for schedule, mark in zip(schedules[1:], marks, strict=True):
            value = jnp.where(t >= mark, real(schedule(jnp.maximum(t - mark, 0))), value)
        return value

    return schedule_of(formula)


def chained_lr(learning_rate: Scalar, *, factors: Sequence[Schedule]) -> Schedule:
    """Multiply a base value by several schedules: ``f(t) = learning_rate * prod_i factors[i](t)``.

    What torch's ChainedScheduler computes for schedulers that multiply: make each factor with a
    base of 1, ``chained_lr(3e-4, factors=[linear_lr(1.0), exponential_lr(1.0, gamma=0.99)])``.
    torch chains recursions, so a scheduler there that sets the value (LambdaLR, CyclicLR,
    OneCycleLR, CosineAnnealingWarmRestarts) undoes those before it, and CosineAnnealingLR with an
    `eta_min`, or past its minimum, adds to them: such a chain is not a product.

    Args:
        learning_rate: base value, >= 0.
        factors: one or more schedules.

    Raises:
        ValueError: no factor, or a Python number outside its range.

    Reference: torch.optim.lr_scheduler.ChainedScheduler,
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ChainedScheduler.html

    Examples:
        >>> s = fa.schedules
        >>> f = s.chained_lr(0.5, factors=[s.constant(0.5), s.constant(2.0)])
        >>> float(f(3))
        0.5
    """
    learning_rate = nonnegative("learning_rate", learning_rate)
    if not factors:
        raise ValueError("factors must hold at least one schedule, got none")

    def formula(t: jax.Array) -> jax.Array:
        value = real(factors[0](t))
        for factor in factors[1:]:
            value = value * real(factor(t))
        return learning_rate * value

    return schedule_of(formula)
