"""A warning where a dtype that was asked for is about to lose b2, eps or the update."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from ._leaf import is_signed

_HALF = (jnp.bfloat16, jnp.float16)


class PrecisionWarning(UserWarning):
    """A dtype that was asked for cannot hold what the algorithm needs of it."""


def moments_rounded_to_nearest(
    names: tuple[str, ...],
    dtypes: list[Any],
    rates: tuple[str, ...],
    hyperparameters: Mapping[str, Any],
) -> None:
    """Warn of moments that cannot decay, or underflow, in the dtype they are to be kept in."""
    rates = rates or ("b1",) + ("b2",) * (len(names) - 1)
    for name, dtype, rate in zip(names, dtypes, rates, strict=True):
        if dtype not in _HALF:
            continue
        b = hyperparameters[rate]
        spacing = float(jnp.finfo(dtype).eps)
        if isinstance(b, float) and 0 < 1 - b < spacing / 2:
            _warn(
                f"{name}_dtype={dtype}: with {rate}={b} a moment moves by {1 - b:.1g} of itself in "
                f"a step, less than half the spacing {spacing:.1g} of {dtype}: rounded to nearest "
                "it cannot decay. moments='bfloat16' takes as little memory and forgets"
            )
        elif not is_signed(name) and dtype == jnp.float16:
            _warn(
                f"{name}_dtype=float16: numbers below 6e-8 vanish, and (1 - b2) * g**2 is below "
                "for g < 8e-3. moments='bfloat16' takes as little memory and keeps them"
            )


def narrow_hyperparameter(name: str, dtype: Any) -> None:
    """Warn of a b2 or an eps that has lost its digits before it arrives."""
    if name == "b2" and dtype in _HALF:
        _warn(
            f"b2 has dtype {dtype}, in which numbers below 1 are {jnp.finfo(dtype).epsneg:.1g} "
            "apart: 0.9999 is 1, and nothing is averaged. Give it in float32 "
            "(inject_hyperparams: hyperparam_dtype=jnp.float32)"
        )
    if name == "eps" and dtype == jnp.float16:
        _warn(
            "eps has dtype float16, in which 1e-8 is 0. Give it in float32 "
            "(inject_hyperparams: hyperparam_dtype=jnp.float32)"
        )


def _warn(text: str) -> None:
    # Python shows a warning once for its text and line, which is this one.
    warnings.warn(text, PrecisionWarning, stacklevel=1)
