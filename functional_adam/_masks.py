"""Trees that say something of every leaf: masks, labels, and functions that make them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

Mask = Any | Callable[[Any], Any] | None


def tree_of(given: Any, params: Any) -> Any:
    """The tree: `given`, or what it makes of params if it is a function.

    As optax tells them: a tree whose class happens to be callable, an Equinox module of bools, is
    no function; it has leaves that are not callable.
    """
    leaves = jax.tree.leaves(given)
    return given(params) if leaves and all(map(callable, leaves)) else given


def spread(tree: Any, params: Any, what: str, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """For each leaf of params what a tree, or a prefix of one, says of it.

    Raises:
        ValueError: structures differ; `what` names the argument.
    """
    try:
        return jax.tree.broadcast(tree, params, is_leaf=is_leaf)
    except ValueError as error:
        raise ValueError(f"{what} must be a tree like params, or a prefix: {error}") from error
