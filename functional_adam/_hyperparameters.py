"""Hyperparameters as data: a number, a traced scalar, a `TwoFloat` or a schedule.

Numbers given at construction are constants of the compiled step and keep the digits of a Python
double. Everything else is data: changing it never recompiles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import _check, _warn
from ._numerics import x64_enabled
from ._two_float import TwoFloat, as_two_float, two_float

Hyperparameter = float | jax.Array | TwoFloat | Callable[[Any], Any]
"""A Python number, a scalar array (traced or not), a `TwoFloat`, or a schedule count -> those.

A schedule is given the count of updates made so far, an int32 scalar: 0 at the first update.
"""


def resolve(
    values: Mapping[str, Any], count: jax.Array, overrides: Mapping[str, Any]
) -> tuple[tuple[tuple[str, float], ...], dict[str, Any]]:
    """Split hyperparameters at this step into constants, (name, float) pairs, and data, a dict."""
    constants, data = [], {}
    for name, value in values.items():
        if overrides.get(name) is None and isinstance(value, float):
            constants.append((name, value))
            continue
        if overrides.get(name) is not None:
            value = read(name, overrides[name])
        if callable(value):
            value = read(name, value(count))
        if callable(value):
            raise TypeError(f"{name}: a schedule must return a scalar, got another function")
        data[name] = _number(value)
    return tuple(constants), data


def is_zero(value: Any) -> bool:
    """Whether a hyperparameter is the Python number zero: known before anything is traced."""
    return isinstance(value, float) and value == 0


def read(name: str, value: Any) -> Any:
    """Check what can be checked of a hyperparameter; a real number becomes a Python float."""
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be a number, an array, a TwoFloat or a schedule, got {value}")
    if _check.is_number(value):
        return _check.number(name, float(value))
    if callable(value):
        return value
    array = value.hi if isinstance(value, TwoFloat) else value
    shape, dtype = getattr(array, "shape", None), getattr(array, "dtype", None)
    if shape is None or dtype is None:
        raise TypeError(
            f"{name} must be a number, an array, a TwoFloat or a schedule, got {value!r}"
        )
    if shape != ():
        raise ValueError(f"{name} must be a scalar, got an array of shape {shape}: use vmap")
    if not jnp.issubdtype(dtype, jnp.floating) and not jnp.issubdtype(dtype, jnp.integer):
        raise TypeError(f"{name} must be a real number, got dtype {dtype}")
    _warn.narrow_hyperparameter(name, dtype)
    return value


def _number(value: Any) -> Any:
    """Data in the arithmetic of step scalars: float64 where x64 is enabled, else `TwoFloat`.

    A Python number too: as a constant, each new value would recompile.
    """
    if not x64_enabled():
        return two_float(value) if isinstance(value, float) else as_two_float(value)
    if isinstance(value, TwoFloat):
        return value.hi.astype(jnp.float64) + value.lo.astype(jnp.float64)
    return jnp.asarray(value).astype(jnp.float64)
