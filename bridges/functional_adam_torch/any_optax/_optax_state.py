"""A transformation's state as a flat dict of tensors, by the names of its leaves, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
from torch import Tensor

from . import _exchange


def save(state: Any) -> dict[str, Tensor]:
    """Copies of the leaves, by their path in the state: ``[0].mu['weight']``."""
    return {name: _exchange.to_tensor(leaf) for name, leaf in _named(state)}


def load(structure: Any, tensors: Mapping[str, Tensor], where: str) -> Any:
    """Rebuild a state of a structure from copies of tensors.

    Raises:
        ValueError: names, shapes or dtypes differ; the message lists every difference.
    """
    leaves, problems = [], []
    expected = _named(structure)
    for name, like in expected:
        if name not in tensors:
            problems.append(f"{name} is missing")
            continue
        try:
            leaves.append(_exchange.to_array(tensors[name], like, name))
        except (TypeError, ValueError) as error:
            problems.append(str(error))
    extra = tensors.keys() - {name for name, _ in expected}
    problems += [f"{name} is not part of this state" for name in tensors if name in extra]
    if problems:
        raise ValueError(
            f"the state of {where} does not fit the transformation and its parameters:\n  "
            + "\n  ".join(problems)
        )
    return jax.tree.unflatten(jax.tree.structure(structure), leaves)


def _named(tree: Any) -> list[tuple[str, Any]]:
    pairs = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in pairs]
