"""Step scalars that keep their digits: what the formulas of `rules/` are written with.

A bias correction ``1 - b**t`` computed in float32 costs up to 200 units in the last place of a
parameter against torch, which computes it on the host in double. The coefficients of a rule are
written once, with operators and these functions; what they meet is

- a Python ``float``: hyperparameters given as numbers, and everything in eager torch,
- a `TwoFloat`: whatever depends on the step count or on a traced hyperparameter in JAX,
- a float64 array: the same, where x64 is enabled,
- a torch tensor: the same, in a torch step that is compiled, captured or differentiated; torch is
  not imported here, a tensor is known by its methods.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from . import _ops, _two_float
from ._two_float import TwoFloat, as_two_float


def x64_enabled() -> bool:
    """Whether step scalars are float64 arrays here, not pairs of float32."""
    return jax.dtypes.canonicalize_dtype(np.float64) == np.float64


def promoting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function promote dtypes whatever `jax_numpy_dtype_promotion` is set to.

    What is promoted here is meant to be: "strict" is a check of the user's own code.
    """

    @functools.wraps(function)
    def standard(*args, **kwargs):
        with jax.numpy_dtype_promotion("standard"):
            return function(*args, **kwargs)

    return standard


def like_a_cast(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let derivatives by the first argument pass as through a cast to the dtype of the result.

    Numbers that are stored by their bits have none of their own.
    """
    cast = jax.custom_jvp(function)

    @cast.defjvp
    def jvp(primals, tangents):
        result = cast(*primals)
        return result, tangents[0].astype(result.dtype)

    return cast


def one_minus_power(b: Any, t: Any) -> Any:
    """``1 - b**t`` with its digits, for b in [0, 1) and t >= 0: a Python float, array or TwoFloat.

    On the host and in float64 it is what torch writes, ``1 - b**t``. In pairs of float32 it is
    ``1 - exp(-t * rate)`` with ``rate = -log(b)`` from the host where b is a Python number.
    """
    if not isinstance(t, TwoFloat):
        return 1 - b**t
    if isinstance(b, int | float):
        rate = as_two_float(-math.log(b) if b > 0 else 2 * _two_float.LARGEST)
        return _two_float.one_minus_exp(t * rate)
    return _two_float.one_minus_power(as_two_float(b), t)


def power(b: Any, t: Any) -> Any:
    """``b**t`` for b in [0, 1) and t >= 0, to an absolute 2**-38."""
    if not isinstance(t, TwoFloat):
        return b**t
    return 1 - _two_float.apart(one_minus_power(b, t))


def sqrt(x: Any) -> Any:
    """Square root of a step scalar; its derivative at zero is zero, not infinite."""
    if isinstance(x, TwoFloat):
        return _two_float.sqrt(x)
    return _ops.sqrt(x) if isinstance(x, jax.Array) else x**0.5


def when(condition: Any, value: Callable[[], Any], otherwise: float) -> Any:
    """``value() if condition else otherwise``; a traced condition evaluates both and selects."""
    if hasattr(condition, "type_as"):
        return value().where(condition, otherwise)
    if not isinstance(condition, jax.Array):
        return value() if condition else otherwise
    chosen = value()
    if isinstance(chosen, TwoFloat):
        other = as_two_float(otherwise)
        pairs = ((chosen.hi, other.hi), (chosen.lo, other.lo))
        return TwoFloat(*(jnp.where(condition, a, b) for a, b in pairs))
    return jnp.where(condition, chosen, otherwise)


def accumulate(product: Any, factor: Any) -> Any:
    """``product * factor`` rounded as the state keeps it (NAdam's product of momenta)."""
    if isinstance(factor, TwoFloat):
        rounded = as_two_float(product).hi * factor.hi
        return TwoFloat(rounded, lax.full_like(rounded, 0))
    if hasattr(product, "type_as"):
        return (product * factor).type_as(product)
    return float(product * factor) if isinstance(product, np.floating) else product * factor


def rounded(x: Any) -> Any:
    """Round a step scalar for use on arrays: the float32 of a `TwoFloat`, else unchanged."""
    return x.hi if isinstance(x, TwoFloat) else x
