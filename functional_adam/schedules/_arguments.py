"""What a schedule takes and gives: checks of Python numbers, the count, the dtype of the result."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

Scalar = float | jax.Array
"""A Python number, or a scalar array, traced or not."""

Schedule = Callable[[ArrayLike], jax.Array]
"""A pure function of the number of updates made so far: 0 at the first update."""

_LARGEST = 2**31 - 1


def real(value: Any) -> jax.Array:
    """`value` in the dtype of every result: float32, float64 where x64 is enabled; never weak."""
    return jnp.asarray(value, dtype=jnp.result_type(float))


def schedule_of(formula: Callable[[jax.Array], Any]) -> Schedule:
    """Turn a formula of a count >= 0 into a schedule: any integer in, `real` out.

    A negative count reads count 0: optax.join_schedules calls every schedule with the count minus
    its boundary, and what it does not select must be finite too, else gradients are NaN.
    """

    def schedule(count: ArrayLike) -> jax.Array:
        steps = jnp.asarray(count)
        if not jnp.issubdtype(steps.dtype, jnp.integer):
            raise TypeError(f"count must be an integer, got dtype {steps.dtype}")
        return real(formula(jnp.maximum(steps.astype(int), 0)))

    return schedule


def nonnegative(name: str, value: Any) -> Any:
    """Return a parameter that must be finite and at least 0, or raise ValueError."""
    return _checked(name, value, "a finite number >= 0", lambda x: 0 <= x < math.inf)


def positive(name: str, value: Any) -> Any:
    """Return a parameter that must be finite and above 0, or raise ValueError."""
    return _checked(name, value, "a finite number > 0", lambda x: 0 < x < math.inf)


def fraction(name: str, value: Any) -> Any:
    """Return a parameter that must lie in [0, 1], or raise ValueError."""
    return _checked(name, value, "in [0, 1]", lambda x: 0 <= x <= 1)


def steps(name: str, value: Any, least: int = 0) -> Any:
    """Return a number of steps, an integer of at least `least`, or raise ValueError."""
    allowed = f"an integer in [{least}, {_LARGEST}]"
    value = _checked(name, value, allowed, lambda x: least <= x <= _LARGEST and x == math.floor(x))
    return int(value) if isinstance(value, float) else value


def milestones_of(milestones: Any, count: int | None = None) -> list[Any]:
    """Return milestones as a list of steps, checked: at least 0, and `count` of them if given."""
    found = [steps("milestones", milestone) for milestone in milestones]
    if count is not None and len(found) != count:
        raise ValueError(f"milestones must hold {count} steps, one between schedules, got {found}")
    return found


def choice(name: str, value: str, allowed: Sequence[str]) -> str:
    """Return `value` if it is one of `allowed`, or raise ValueError."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return value


def are_numbers(*values: Any) -> bool:
    """Whether all are Python numbers, so that they may be compared with each other."""
    return all(isinstance(value, int | float) for value in values)


def _checked(name: str, value: Any, allowed: str, accepts: Callable[[float], bool]) -> Any:
    """A Python or NumPy number as a checked float; an array in the dtype to compute in."""
    if isinstance(value, np.ndarray | jax.Array):
        array = jnp.asarray(value)
        if jnp.issubdtype(array.dtype, jnp.integer):
            return array.astype(int)
        if jnp.issubdtype(array.dtype, jnp.floating):
            return real(array)
        raise TypeError(f"{name} must be a real number, got an array of dtype {array.dtype}")
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number or an array, got {value!r}")
    if not accepts(float(value)):
        raise ValueError(f"{name} must be {allowed}, got {value}")
    return float(value)
