"""Schedules given by the user: a constant, a table of values, a function of the count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ._arguments import Scalar, Schedule, nonnegative, real, schedule_of, steps


def constant(learning_rate: Scalar) -> Schedule:
    """Hold one value: ``f(t) = learning_rate``.

    Args:
        learning_rate: the value, >= 0; any hyperparameter.

    Raises:
        ValueError: outside its range.

    Examples:
        >>> float(fa.schedules.constant(0.5)(7))
        0.5
    """
    learning_rate = nonnegative("learning_rate", learning_rate)
    return schedule_of(lambda t: jnp.broadcast_to(real(learning_rate), t.shape))


def tabulated(values: Sequence[float] | np.ndarray | jax.Array) -> Schedule:
    """Read a table: ``f(t) = values[min(t, len(values) - 1)]``; the last value is held.

    Args:
        values: one value per step, the first for count 0; a sequence of numbers or a 1-d array.

    Raises:
        ValueError: no values, or not one-dimensional.

    Examples:
        >>> f = fa.schedules.tabulated([1.0, 0.5])
        >>> [float(f(t)) for t in range(3)]
        [1.0, 0.5, 0.5]
    """
    table = values if isinstance(values, jax.Array) else np.asarray(values, np.float64)
    if table.ndim != 1 or table.shape[0] == 0:
        raise ValueError(f"values must be one-dimensional and not empty, got shape {table.shape}")
    last = table.shape[0] - 1
    return schedule_of(lambda t: real(table)[jnp.minimum(t, last)])


def lambda_lr(learning_rate: Scalar, *, lr_lambda: Callable[[jax.Array], ArrayLike]) -> Schedule:
    """Multiply the base by a function of the count: ``f(t) = learning_rate * lr_lambda(t)``.

    Args:
        learning_rate: base value, >= 0.
        lr_lambda: what JAX can trace: given an integer array, it returns one of the same shape. A
            Python function that branches on the count belongs in `tabulated`:
            ``tabulated([base * f(t) for t in range(n)])``.

    Raises:
        ValueError: outside the range above.
        TypeError: `lr_lambda` cannot be called.

    Reference: torch.optim.lr_scheduler.LambdaLR,
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.LambdaLR.html

    Examples:
        >>> f = fa.schedules.lambda_lr(0.5, lr_lambda=lambda count: 1 / (count + 1))
        >>> float(f(1))
        0.25
    """
    learning_rate = nonnegative("learning_rate", learning_rate)
    function = called("lr_lambda", lr_lambda)
    return schedule_of(lambda t: learning_rate * jnp.broadcast_to(real(function(t)), t.shape))


def multiplicative_lr(
    learning_rate: Scalar, *, lr_lambda: Callable[[int], float], total_steps: int
) -> Schedule:
    """Multiply by a factor at every step: ``f(t) = learning_rate * prod_{i=1}^{t} lr_lambda(i)``.

    A product of arbitrary factors has no closed form, so it is taken once, here, in double, and
    kept as a table. For equal factors use `exponential_lr`, which needs no table.

    Args:
        learning_rate: base value, >= 0.
        lr_lambda: factor at step i >= 1, given a Python int, as in torch.
        total_steps: length of the table; from there on the value is held.

    Raises:
        ValueError: outside the ranges above.
        TypeError: `lr_lambda` cannot be called, or `total_steps` is not a Python integer.

    Reference: torch.optim.lr_scheduler.MultiplicativeLR,
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.MultiplicativeLR.html

    Examples:
        >>> f = fa.schedules.multiplicative_lr(1.0, lr_lambda=lambda count: 0.5, total_steps=3)
        >>> [float(f(t)) for t in range(3)]
        [1.0, 0.5, 0.25]
    """
    learning_rate = nonnegative("learning_rate", learning_rate)
    last = steps("total_steps", total_steps)
    if not isinstance(last, int):
        raise TypeError(f"total_steps must be a Python integer, got {total_steps!r}")
    factor = called("lr_lambda", lr_lambda)
    products = np.cumprod([1.0] + [float(factor(i)) for i in range(1, last + 1)])
    product = tabulated(products)
    return schedule_of(lambda t: learning_rate * product(t))


def called(name: str, function: Any) -> Any:
    """Return a function, or raise TypeError where it cannot be called."""
    if not callable(function):
        raise TypeError(f"{name} must be a function, got {function!r}")
    return function
