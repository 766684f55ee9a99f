"""Many small leaves in few buffers, so that a thousand of them compile and step like one.

    packed, unpack = pack(params)
    gradients = jax.grad(lambda packed: loss(unpack(packed)))(packed)
    updates, state = tx.update(gradients, tx.init(packed), packed)

The backward pass of `unpack` is one concatenation, and a transformation sees the buffers: what
costs time for each leaf (tracing, compiling, starting a loop) is paid for each buffer.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer

from ._masks import spread, tree_of
from ._packed import WIDTH, Buffer, Layout, Packed, holds_packed, is_array, is_packed, plain

SMALL = 1 << 16
"""Elements up to which a leaf shares a buffer: beyond, copying costs what the sharing saves."""


class Packing:
    """How a tree was packed: called with packed parameters it returns the leaves, see `pack`.

    Attributes:
        layout: where every leaf lies.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def __call__(self, tree: Any) -> Any:
        """Replace whatever is packed in a tree by its leaves.

        Args:
            tree: packed parameters, gradients or updates, or a state that contains any: the state
                then is that of the leaves, as without packing, to be saved or converted.

        Returns:
            The tree, each `Packed` in it replaced by a tree with the structure of the parameters.

        Raises:
            ValueError: it was packed otherwise, or a buffer has another shape.
            TypeError: moments are stored in codes of blocks (`moments="int8"`).
        """
        return jax.tree.map(self._unpack, tree, is_leaf=is_packed)

    def pack(self, tree: Any, like: Any = None) -> Any:
        """Pack a tree that has the structure of the parameters, or a state that contains such.

        Args:
            tree: parameters, gradients; or with `like` a state in unpacked form, as restored.
            like: what it is to become, `tx.init(packed)`; arrays or shapes.

        Returns:
            `Packed`, or the state with the structure of `like`.

        Raises:
            ValueError: structures or shapes differ.
        """
        if like is None:
            return self.layout.pack(tree)
        return jax.tree.map(
            lambda node, part: self.layout.pack(part) if is_packed(node) else part,
            like,
            tree,
            is_leaf=is_packed,
        )

    def labels(self, labels: Any) -> Packed:
        """Pack a mask, or the labels of a partition, which say the same of all leaves of a buffer.

        Args:
            labels: a tree of bools or labels, a prefix of one, or params -> such a tree, which is
                given the shapes and dtypes of the leaves.

        Returns:
            `Packed`, for `adamw(mask=...)`, `optax.masked`, `optax.partition`.

        Raises:
            ValueError: leaves of one buffer have different labels: they have to be packed apart,
                `pack(params, by=labels)`.
        """
        return self.layout.labels(_spread(labels, self.layout.shown()))

    def on_leaves(
        self, inner: optax.GradientTransformation
    ) -> optax.GradientTransformationExtraArgs:
        """Let a transformation that looks at whole leaves see them, between others that need not.

        Args:
            inner: any transformation; its state is that of the leaves.

        Returns:
            `optax.GradientTransformationExtraArgs` of packed gradients, which are unpacked for
            `inner` and packed again.
        """
        inner = optax.with_extra_args_support(inner)

        def init(params):
            return inner.init(self(params))

        def update(updates, state, params=None, **extra_args):
            new, state = inner.update(self(updates), state, self(params), **extra_args)
            return self.pack(new), state

        return optax.GradientTransformationExtraArgs(init, update)

    def _unpack(self, x):
        if not is_packed(x):
            return x
        if x.layout != self.layout:
            raise ValueError(
                f"{x} was packed otherwise than by this packing of {len(self.layout.shapes)} leaves"
            )
        leaves: list[Any] = [None] * len(self.layout.shapes)
        for number, (buffer, array) in enumerate(zip(self.layout.buffers, x.buffers, strict=True)):
            for i, leaf in zip(
                buffer.members, self.layout.spread(buffer, array, number), strict=True
            ):
                leaves[i] = leaf
        return self.layout.treedef.unflatten(leaves)


def pack(params: Any, *, by: Any = None, small: int | None = SMALL) -> tuple[Packed, Packing]:
    """Put parameters of one dtype and sharding into few buffers, and return how to get them out.

    Small leaves that are not sharded lie one after another in rows of 1024, zeros at the end; so
    does, on its own, a larger vector whose length is no multiple of that. Sharded leaves of one
    shape and sharding are stacked along a new first axis, which is not sharded. Any other leaf is
    a buffer itself. The packed parameters are a pytree: every transformation takes them, and what
    works element by element gives the same numbers. What looks at whole leaves (their shape, norm
    or path: trust ratios, clipping by block, random rounding, blocks of `moments="int8"`) sees
    buffers, and so does a function that optax is given for a mask or for labels, which wants
    `unpack.labels(function)`; ours are shown the leaves. In the zeros at the end gradients and
    steps are zero, unless a transformation makes something of nothing, as eps = 0 does.

    Args:
        params: tree of arrays; None and empty containers are kept.
        by: labels that leaves must share to share a buffer, so that masks and partitions by those
            labels still apply: a tree of hashables, a prefix of one, or params -> such a tree.
        small: number of elements up to which leaves share a buffer, at least 1; None: any number.

    Returns:
        `(packed, unpack)`: unpack(packed) are the parameters; it is differentiable in both modes,
        may be jitted and vmapped, and unpacks states as well (`Packing`).

    Raises:
        TypeError: params is packed already, or has a leaf that is no array.
        ValueError: `small` is below 1, or `by` has another structure.

    Examples:
        >>> params = {"w": jnp.ones((2, 3)), "b": jnp.zeros(2)}
        >>> packed, unpack = fa.pack(params)
        >>> len(jax.tree.leaves(packed)), unpack(packed)["w"].shape
        (1, (2, 3))
    """
    if small is not None and (isinstance(small, bool) or small < 1):
        raise ValueError(f"small must be None or at least 1, got {small!r}")
    if holds_packed(params):
        raise TypeError("params is packed already")
    paths, treedef = jax.tree_util.tree_flatten_with_path(params)
    arrays = [_array(path, leaf) for path, leaf in paths]
    labels = map(plain, treedef.flatten_up_to(_spread(by, params)))
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, (x, label) in enumerate(zip(arrays, labels, strict=True)):
        groups.setdefault((_place(i, x, small), str(x.dtype), label), []).append(i)
    buffers = tuple(
        Buffer(tuple(members), flat=key[0][0] == "flat", label=key[-1])
        for key, members in groups.items()
    )
    shapes, dtypes = tuple(x.shape for x in arrays), tuple(str(x.dtype) for x in arrays)
    packing = Packing(Layout(treedef, shapes, dtypes, buffers))
    return packing.pack(treedef.unflatten(arrays)), packing


def _place(i: int, x: Any, small: int | None) -> tuple[Hashable, ...]:
    """What leaves must share, beside dtype and label, to share a buffer."""
    known = jax.typeof(x).sharding  # on axes of the explicit type, inside of jit as well
    if any(entry is not None for entry in known.spec):
        return "stacked", known, x.shape
    sharding = None if isinstance(x, Tracer) else x.sharding
    if sharding is not None and not sharding.is_fully_replicated:
        return "stacked", sharding, x.shape
    where = sharding if sharding is None else frozenset(sharding.device_set)
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return "alone", i
    if small is None or x.size <= small:
        return "flat", where
    return ("flat", where, i) if x.ndim == 1 and x.size % WIDTH else ("alone", i)


def _array(path: Any, leaf: Any) -> jax.Array:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        where = jax.tree_util.keystr(path)
        raise TypeError(
            f"params{where} must be an array, got a shape: "
            "jax.eval_shape(lambda params: pack(params)[0], params)"
        )
    if not is_array(leaf) and not isinstance(leaf, int | float | complex):
        where = jax.tree_util.keystr(path)
        raise TypeError(f"params{where} must be an array, got {type(leaf).__name__}")
    return jnp.asarray(leaf)


def _spread(labels: Any, params: Any) -> Any:
    """A prefix of labels, or a function that makes one, as a label for each leaf."""
    tree = tree_of(labels, params)
    if tree is None:
        return jax.tree.map(lambda _: None, params)
    return spread(tree, params, "labels")
