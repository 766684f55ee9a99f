"""Early errors that name the argument, its value and what is allowed. Python numbers only.

A traced value is never branched on, so its range cannot be checked; its shape and dtype are.
"""

from __future__ import annotations

import math
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._numerics import x64_enabled

_UNIT = "in [0, 1)"
_POSITIVE = "a finite number >= 0"
_ABOVE_ZERO = "a finite number > 0"


def is_decay_rate(name: str) -> bool:
    """Whether a hyperparameter is the decay rate of an average: b1, b2, b3, ..."""
    return name[:1] == "b" and name[1:].isdigit()


def _allowed(name: str) -> str:
    """Range of a hyperparameter, which its name tells."""
    if name == "base_learning_rate":
        return _ABOVE_ZERO
    return _UNIT if is_decay_rate(name) else _POSITIVE


def is_number(value: Any) -> bool:
    """Whether a value is a real number of Python's or NumPy's, a 0-d array included."""
    if isinstance(value, np.ndarray):
        return value.shape == () and value.dtype.kind in "iuf"
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def number(name: str, value: float) -> float:
    """Return `value` as a float, or raise ValueError where it lies outside the range of `name`."""
    value = float(value)
    allowed = _allowed(name)
    inside = 0 <= value < (1 if allowed is _UNIT else math.inf)
    if not inside or (allowed is _ABOVE_ZERO and value == 0):
        raise ValueError(f"{name} must be {allowed}, got {value}")
    return value


def moment_dtype(name: str, dtype: Any) -> Any:
    """Return `dtype` as a NumPy dtype, or raise where moments cannot be kept in it."""
    if dtype is None:
        return None
    dtype = jnp.dtype(dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{name} must be a real floating dtype or None, got {dtype}")
    if dtype == jnp.float64 and not x64_enabled():
        raise TypeError(f"{name} must not be float64 while x64 is off: set jax_enable_x64")
    return dtype


def one_storage(coded: tuple[Any, ...], names: tuple[str, ...], dtypes: list[Any]) -> None:
    """Raise ValueError where both `moments` and a dtype say how moments are kept."""
    for name, dtype in zip(names, dtypes, strict=True):
        if coded and dtype is not None:
            raise ValueError(
                f"{name}_dtype={dtype} and moments= both say how {name} is kept: give one of them"
            )


def inexact(path: Any, leaf: Any, what: str) -> None:
    """Raise TypeError where a leaf is neither floating nor complex, naming its path."""
    dtype = jnp.result_type(leaf)
    if jnp.issubdtype(dtype, jnp.inexact) and dtype.itemsize == 1:
        raise TypeError(
            f"{what}{jax.tree_util.keystr(path)} has dtype {dtype}, which JAX computes nothing in: "
            "keep such leaves in bfloat16 or wider, and cast them where they are used"
        )
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(
            f"{what}{jax.tree_util.keystr(path)} has dtype {dtype}: Adam needs floating or complex "
            "leaves; leave others out with optax.masked, optax.partition or None"
        )


def flatten_like(treedef: Any, like: Any, tree: Any, what: str) -> list[Any]:
    """Flatten `tree` up to `treedef`, the structure of `like`; name the first path that differs."""
    try:
        return treedef.flatten_up_to(tree)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{what} must have the structure of the gradients; they first differ at "
            f"{_first_difference(like, tree)}"
        ) from error


def _first_difference(a: Any, b: Any) -> str:
    def paths(tree):
        found = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda x: x is None)[0]
        return [jax.tree_util.keystr(path) or "the root" for path, _ in found]

    ours, theirs = paths(a), paths(b)
    for mine, other in zip(ours, theirs, strict=False):
        if mine != other:
            return f"{mine} (there {other})"
    longer = ours if len(ours) > len(theirs) else theirs
    if len(ours) != len(theirs):
        return f"{longer[min(len(ours), len(theirs))]} (missing on the other side)"
    return f"the root: {type(a).__name__} and {type(b).__name__} containers"


def same_kind(path: Any, gradient: Any, other: Any, what: str) -> None:
    """Raise, naming the path, where shapes differ or only one of the two is complex."""
    where = f"gradient{jax.tree_util.keystr(path)}"
    if jnp.shape(gradient) != jnp.shape(other):
        raise ValueError(
            f"{where} has shape {jnp.shape(gradient)}, but {what} has shape {jnp.shape(other)}"
        )
    if jnp.iscomplexobj(gradient) != jnp.iscomplexobj(other):
        raise TypeError(
            f"{where} has dtype {jnp.result_type(gradient)}, but {what} has dtype "
            f"{jnp.result_type(other)}: both must be complex, or neither"
        )
