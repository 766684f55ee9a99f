"""How leaves lie in buffers: the layout, and the pytree node whose leaves are the buffers."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._split import join, split

WIDTH = 1024
"""Length of a row of a buffer. XLA on CPU cuts a loop along the first axis, and the inner one is
vectorised whatever the number of rows; a vector of odd length is not."""


@dataclasses.dataclass(frozen=True)
class Buffer:
    """One buffer.

    Attributes:
        members: positions of its leaves.
        flat: whether they lie one after another in rows of `WIDTH`, zeros at the end; otherwise
            they are stacked, or a single leaf is the buffer itself.
        label: what its leaves have in common.
    """

    members: tuple[int, ...]
    flat: bool
    label: Hashable = None


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """Where every leaf lies; equal layouts have equal hashes, computed once.

    Attributes:
        treedef: of the parameters.
        shapes: of the leaves.
        dtypes: of the leaves.
        buffers: all of them.
    """

    treedef: Any
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    buffers: tuple[Buffer, ...]

    @functools.cached_property
    def _key(self) -> tuple[Any, ...]:
        return self.treedef, self.shapes, self.dtypes, self.buffers

    @functools.cached_property
    def _hash(self) -> int:
        return hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Layout):
            return NotImplemented
        return self is other or (self._hash == other._hash and self._key == other._key)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is cached: a hash of strings is another one in another process."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @functools.cached_property
    def paths(self) -> tuple[str, ...]:
        """Of the leaves, for messages."""
        tree = self.treedef.unflatten(range(len(self.shapes)))
        return tuple(
            jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]
        )

    def shown(self) -> Any:
        """The parameters' tree, of shapes and dtypes."""
        pairs = zip(self.shapes, self.dtypes, strict=True)
        return self.treedef.unflatten([jax.ShapeDtypeStruct(*pair) for pair in pairs])

    def pack(self, tree: Any) -> Packed:
        """A tree of arrays, or of what is the same for all leaves of a buffer.

        Raises:
            ValueError: it has another structure or other shapes, or leaves of one buffer differ.
        """
        try:
            leaves = self.treedef.flatten_up_to(tree)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"the tree was packed with another structure: {error}") from error
        return Packed([self.gather(buffer, leaves) for buffer in self.buffers], self)

    def labels(self, tree: Any) -> Packed:
        """A mask or labels for each leaf, which say the same of all leaves of a buffer.

        Raises:
            ValueError: they do not.
        """
        return self.pack(jax.tree.map(plain, tree))

    def sizes(self, buffer: Buffer) -> tuple[int, ...]:
        """Elements of the leaves of a buffer, and of the zeros at its end if there are any."""
        sizes = tuple(math.prod(self.shapes[i]) for i in buffer.members)
        rest = -sum(sizes) % WIDTH if buffer.flat else 0
        return (*sizes, rest) if rest else sizes

    def shape(self, buffer: Buffer) -> tuple[int, ...]:
        """Shape of a buffer."""
        if buffer.flat:
            return (sum(self.sizes(buffer)) // WIDTH, WIDTH)
        shape = self.shapes[buffer.members[0]]
        return shape if len(buffer.members) == 1 else (len(buffer.members), *shape)

    def gather(self, buffer: Buffer, leaves: Sequence[Any]) -> Any:
        """The buffer of these leaves; where none of them is an array, what they all are."""
        members = [leaves[i] for i in buffer.members]
        _refuse_shapes(members, "unpack.pack")
        if not any(is_array(x) for x in members):
            return self._common(buffer, members)
        for i, x in zip(buffer.members, members, strict=True):
            if not is_array(x) and not isinstance(x, int | float | complex):
                raise ValueError(
                    f"leaf{self.paths[i]} is {x!r}, but others of its buffer are arrays: pack it "
                    "apart, with by="
                )
        arrays = [jnp.asarray(x) for x in members]
        for i, x in zip(buffer.members, arrays, strict=True):
            if x.shape != self.shapes[i]:
                raise ValueError(
                    f"leaf{self.paths[i]} has shape {x.shape}, but was packed with shape "
                    f"{self.shapes[i]}"
                )
        dtype = jnp.result_type(*arrays)
        if not buffer.flat:
            return arrays[0] if len(arrays) == 1 else jnp.stack(arrays)
        rest = sum(self.sizes(buffer)) - sum(x.size for x in arrays)
        pieces = [x.reshape(-1).astype(dtype) for x in arrays]
        return join([*pieces, jnp.zeros(rest, dtype)]).reshape(self.shape(buffer))

    def spread(self, buffer: Buffer, x: Any, number: int) -> list[Any]:
        """The leaves of a buffer; what is no array, for each of them."""
        if not is_array(x):
            if jax.tree.leaves(x) and any(is_array(part) for part in jax.tree.leaves(x)):
                raise TypeError(
                    f"buffer {number} holds a {type(x).__name__} of arrays: moments stored in "
                    "codes of blocks have no unpacked form; save them as they are"
                )
            return [x] * len(buffer.members)
        if jnp.shape(x) != self.shape(buffer):
            raise ValueError(
                f"buffer {number} has shape {jnp.shape(x)}, but its leaves were packed into "
                f"{self.shape(buffer)}; use vmap for a batch of them"
            )
        if not buffer.flat and len(buffer.members) == 1:
            return [x]
        _refuse_shapes([x], "unpack")
        if not buffer.flat:
            return [x[i] for i in range(len(x))]
        pieces = split(jnp.asarray(x).reshape(-1), self.sizes(buffer))
        return [
            piece.reshape(self.shapes[i]) for piece, i in zip(pieces, buffer.members, strict=False)
        ]

    def _common(self, buffer, members):
        first = members[0]
        for i, x in zip(buffer.members, members, strict=True):
            if type(x) is not type(first) or x != first:
                raise ValueError(
                    f"leaf{self.paths[i]} has {x!r}, but leaf{self.paths[buffer.members[0]]} in "
                    f"the same buffer has {first!r}: pack them apart, with by="
                )
        return first


@jax.tree_util.register_pytree_with_keys_class
class Packed:
    """Few buffers in place of many leaves: a pytree like any other, made by `pack`."""

    def __init__(self, buffers: Sequence[Any], layout: Layout) -> None:
        self.buffers: tuple[Any, ...] = tuple(buffers)
        self.layout = layout

    def tree_flatten_with_keys(self) -> tuple[tuple[Any, ...], Layout]:
        """Buffers with their positions as keys, and the layout."""
        keys = map(jax.tree_util.SequenceKey, range(len(self.buffers)))
        return tuple(zip(keys, self.buffers, strict=True)), self.layout

    def tree_flatten(self) -> tuple[tuple[Any, ...], Layout]:
        """Buffers and the layout."""
        return self.buffers, self.layout

    @classmethod
    def tree_unflatten(cls, layout: Layout, buffers: Sequence[Any]) -> Packed:
        """What `tree_flatten` took apart."""
        return cls(buffers, layout)

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{jnp.result_type(x)}{list(jnp.shape(x))}" if is_array(x) else repr(x)
            for x in self.buffers
        )
        return f"Packed({shown}; {len(self.layout.shapes)} leaves)"


def is_packed(x: Any) -> bool:
    """Whether a node is `Packed`."""
    return isinstance(x, Packed)


def holds_packed(tree: Any) -> bool:
    """Whether a node of a tree is `Packed`."""
    return any(map(is_packed, jax.tree.leaves(tree, is_leaf=is_packed)))


def plain(label: Any) -> Any:
    """A label as Python has it: of NumPy and JAX are scalars, which are no leaves of parameters."""
    if isinstance(label, np.generic | np.ndarray | jax.Array) and np.ndim(label) == 0:
        return label.item()
    return label


def _refuse_shapes(leaves: Sequence[Any], what: str) -> None:
    if any(isinstance(x, jax.ShapeDtypeStruct) for x in leaves):
        raise TypeError(f"{what} takes arrays, got shapes: jax.eval_shape({what}, tree)")


def is_array(x: Any) -> bool:
    """Whether a leaf is an array, traced or not, or a number as numpy has them."""
    return isinstance(x, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct)
