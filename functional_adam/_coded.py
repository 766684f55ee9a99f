"""One leaf whose moments are stored in few bits: decode, round the new ones, step, clip.

The step is taken from the moments as they are stored. Taken from the unrounded ones it would be
less noisy by little (the noise of m has 1/b1**2 = 1.23 times the variance) at twice the time on a
CPU: every new moment would be computed twice, and the old ones copied before they are lost.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from . import _ops
from ._bits import leaf_id, of_moment, random_bits
from ._codecs import Codec
from ._leaf import Leaf, update_real
from .bounds import clip


def init_code(codec: Codec, path: Any, p: Any) -> Any:
    """Code of a moment of zeros of this leaf."""
    if jnp.iscomplexobj(p):
        raise TypeError(
            f"params{jax.tree_util.keystr(path)} is complex: its moments can be kept in "
            "moments='float32' only"
        )
    return codec.init(p)


def fitting_code(codec: Codec, path: Any, g: Any, code: Any, name: str) -> Any:
    """The code of a moment; raise ValueError, naming the path, where its shape is not g's.

    A mapping of the fields of a named tuple is one: so checkpoints and `flax.nnx.Optimizer` give
    it back.
    """
    want = jax.eval_shape(codec.init, jax.ShapeDtypeStruct(jnp.shape(g), jnp.result_type(g)))
    if isinstance(code, Mapping) and code.keys() == {*getattr(want, "_fields", ())}:
        code = type(want)(**code)
    same = jax.tree.structure(code) == jax.tree.structure(want) and all(
        jnp.shape(x) == y.shape and jnp.result_type(x) == y.dtype
        for x, y in zip(jax.tree.leaves(code), jax.tree.leaves(want), strict=True)
    )
    if not same:
        where = jax.tree_util.keystr(path)
        raise ValueError(
            f"gradient{where} of shape {jnp.shape(g)} cannot update state.{name}{where}, which is "
            f"{jax.tree.map(_describe, code)}: another shape, or other moments="
        )
    return code


def update_coded(
    leaf: Leaf, codecs: tuple[Codec, ...], path: Any, seed: Any, count: Any, *arrays: Any
) -> tuple[Any, ...]:
    """Update one leaf: `arrays` are k, limit, shrink, g, p and the codes, as in `update_leaf`.

    Decoupled decay is added to the clipped step: the update is not the difference of torch's new
    parameter and the old one, and `shrink` is minus the share that decay takes, in every form.
    """
    return _update(leaf, codecs, leaf_id(path), seed, count, *arrays)


@functools.partial(jax.jit, static_argnums=(0, 1), inline=True)
def _update(leaf, codecs, number, seed, count, k, limit, shrink, g, p, codes):
    shape = jnp.shape(g)
    moments = tuple(codec.decode(code, shape) for codec, code in zip(codecs, codes, strict=True))
    own = leaf.decay if leaf.decay == "coupled" else "none"
    wide = jnp.promote_types(jnp.float32, leaf.dtype)
    plain = dataclasses.replace(leaf, decay=own, lands=False, dtype=wide)
    bits = random_bits(seed, count, number, shape)
    kept = []

    def keep(*new):
        for i, (codec, x, code) in enumerate(zip(codecs, new, codes, strict=True)):
            kept.append(codec.encode(x, code, of_moment(bits, i)))
        return [
            codec.decode(code, shape).astype(x.dtype)
            for codec, code, x in zip(codecs, kept, new, strict=True)
        ]

    ops = _ops.Keeping(_ops, keep)
    u, *_ = update_real(plain, k, shrink, g, p if own == "coupled" else None, moments, ops)
    if limit is not None:
        u = clip(u, limit)
    if leaf.decay == "decoupled":
        p = p.astype(wide)
        decaying = p + u if leaf.form == "after_step" else p
        u = _ops.add_scaled(u, decaying, shrink.astype(wide))
    return (u.astype(leaf.dtype), *kept)


def _describe(x):
    return f"{jnp.result_type(x)}{jnp.shape(x)}"
