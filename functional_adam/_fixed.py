"""Step scalars that are Python numbers: constants of a compiled step, its arguments otherwise.

A constant costs a loop nothing. A scalar that is read from memory keeps XLA on CPU from
vectorising a loop over a vector of odd length (2.1 ns an element where an even one takes 0.3), and
what depends on scalars only is computed in every program of every leaf.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Fixed:
    """A number that a compiled step is compiled for: it is part of the tree, not a leaf of it."""

    value: float


def is_fixed(x: Any) -> bool:
    """Whether a node is `Fixed`."""
    return isinstance(x, Fixed)


def thaw(tree: Any, dtype: Any) -> Any:
    """The numbers as arrays: one program for all values, where nothing is traced."""
    return jax.tree.map(
        lambda x: jnp.asarray(x.value, dtype) if is_fixed(x) else x, tree, is_leaf=is_fixed
    )


def constants(tree: Any, dtype: Any) -> Any:
    """The numbers as NumPy scalars of the arithmetic: constants of the program being traced."""
    kind = jnp.dtype(dtype).type
    return jax.tree.map(lambda x: kind(x.value) if is_fixed(x) else x, tree, is_leaf=is_fixed)
