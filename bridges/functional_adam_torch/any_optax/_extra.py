"""Extra arguments of one call of `update`: arrays and numbers are data, all else is constant."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import torch

from . import _exchange


@dataclasses.dataclass(frozen=True)
class _Constant:
    value: Any


@dataclasses.dataclass(frozen=True)
class Extra:
    """Extra arguments of a call, parted.

    Attributes:
        traced: numbers and arrays, None where a constant stands.
        form: hashable: their tree and the constants (functions, strings, bools).
    """

    traced: list[Any]
    form: Any

    @classmethod
    def split(cls, arguments: Mapping[str, Any]) -> Extra:
        """Part the arguments of a call; tensors are lent.

        Raises:
            TypeError: a tensor that JAX would narrow, or an argument that is not hashable.
        """
        pairs, treedef = jax.tree_util.tree_flatten_with_path(dict(arguments))
        traced, constants = [], []
        for path, value in pairs:
            name = "the argument " + jax.tree_util.keystr(path, simple=True, separator=".")
            if isinstance(value, np.ndarray):
                value = torch.from_numpy(value)
            if isinstance(value, torch.Tensor):
                value = _exchange.lent(value, name)
            is_data = isinstance(value, np.ndarray | np.generic | jax.Array | float | int)
            is_data = is_data and not isinstance(value, bool)
            if not (is_data or value.__hash__):
                raise TypeError(f"{name} must be a number, a tensor or hashable, got {value!r}")
            traced.append(value if is_data else None)
            constants.append(None if is_data else _Constant(value))
        return cls(traced, (treedef, tuple(constants)))

    def rebuild(self, traced: list[Any]) -> dict[str, Any]:
        """The arguments, with (traced) data put in."""
        treedef, constants = self.form
        leaves = [x if c is None else c.value for x, c in zip(traced, constants, strict=True)]
        return jax.tree.unflatten(treedef, leaves)
