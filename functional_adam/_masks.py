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


def spread(given: Any, params: Any, what: str) -> Any:
    """For each leaf what a tree, a prefix of one or a function that makes one says of it.

    Raises:
        ValueError: structures differ; `what` names the argument.
    """
    tree = tree_of(given, params)
    try:
        return jax.tree.map(lambda x, part: jax.tree.map(lambda _: x, part), tree, params)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{what} must be a tree like the parameters, or a prefix of one: {error}"
        ) from error
