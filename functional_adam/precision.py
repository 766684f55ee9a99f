"""Half-precision weights that keep moving: a wrapper around any optax transformation."""

from __future__ import annotations

import functools
import sys
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.dtypes import float0

from . import _check
from ._bits import leaf_id, random_bits
from ._halves import is_half, join, remainder, remainder_dtype, split
from ._numerics import like_a_cast, promoting
from ._placement import zeros_like

Bits = Literal[32, 24, 16]


class MasterState(NamedTuple):
    """State of `with_master`."""

    low: Any  # like params: int16 or int8 remainder of half-precision leaves, None for others
    inner: Any  # state of the inner transformation, made for float32 weights
    count: Any = None  # int32 (), updates made so far; None with 32 bits
    seed: Any = None  # uint32 (), of the rounding; None with 32 bits


def with_master(
    inner: optax.GradientTransformation, *, bits: Bits = 32, seed: int = 0
) -> optax.GradientTransformationExtraArgs:
    """Let any transformation see and step float32 weights while the leaves stay half precision.

    A bfloat16 weight of 1 does not move by 0.001: half the spacing below it is 0.002. Here the
    step is added to a float32 master whose upper 16 bits are the leaf and whose others are in the
    state: 16 of them, so that it is exact; 8, the rest being rounded up or down at random; or none,
    and the leaf itself is rounded at random.

    `update` returns float32 updates for half-precision leaves, for which `optax.apply_updates`
    lands exactly on the chosen weight: this must be the last transformation that changes updates.
    `optax.partition`, `masked`, `MultiSteps` and `inject_hyperparams` may stand outside or inside;
    wrappers that need updates of the gradients' dtype (`optax.apply_if_finite`) go inside.
    Equinox's `apply_updates` would widen the leaves: use optax's.

    With 32 bits the master is what float32 training computes, bit for bit: of bfloat16 leaves
    all of it, of float16 leaves from 2**-17 to 2**16 (in steps of 2**-40 below). Only a weight that
    crosses zero, to less than 2**-16 of itself, may be off by half a unit in the last place of the
    old one, which is where `apply_updates` can land. A leaf that was changed from outside wins: the
    master is within half a unit in the last place of it. Derivatives pass as through casts.

    Args:
        inner: any optax transformation or chain; it is given float32 gradients and weights.
        bits: bits kept of a master: 32, 24 or 16, which take 2, 1 or 0 bytes per parameter more.
        seed: of the random rounding, in [0, 2**32). Vmapped replicas round alike unless the `seed`
            in their states differs: `optax.tree.set(state, seed=...)`.

    Returns:
        `optax.GradientTransformationExtraArgs` with state `MasterState`.

    Raises:
        ValueError: `update` is called without the parameters, trees do not match, or the state was
            made for other bits.
        TypeError: a leaf has another precision than the state was made for, or
            `optax.apply_if_finite` stands outside.

    Reference: Micikevicius et al. 2018, section 3.1, https://arxiv.org/abs/1710.03740; random
    rounding: Gupta et al. 2015, section 3, https://arxiv.org/abs/1502.02551.

    Examples:
        >>> tx = fa.with_master(fa.adam(1e-3))
        >>> params = jnp.ones(2, jnp.bfloat16)
        >>> updates, state = tx.update(jnp.ones(2, jnp.bfloat16), tx.init(params), params)
        >>> params = optax.apply_updates(params, updates)
        >>> params
        Array([1, 1], dtype=bfloat16)
        >>> [round(float(w), 5) for w in fa.master_params(params, state)]
        [0.999, 0.999]
    """
    if bits not in (32, 24, 16):
        raise ValueError(f"bits must be 32, 24 or 16, got {bits!r}")
    inner, extra = optax.with_extra_args_support(inner), bits - 16

    @promoting
    def init(params):
        def low(p):
            dtype = remainder_dtype(extra) if is_half(p) else None
            return None if dtype is None else zeros_like(p, dtype)

        state = MasterState(jax.tree.map(low, params), inner.init(jax.tree.map(_widen, params)))
        if bits == 32:
            return state
        return state._replace(count=jnp.zeros((), jnp.int32), seed=jnp.asarray(seed, jnp.uint32))

    @promoting
    def update(updates, state, params=None, **extra_args):
        if params is None:
            raise ValueError("with_master needs the parameters: call update(grads, state, params)")
        _refuse_conditions_outside(updates)
        wide = master_params(params, state)
        gradients = jax.tree.map(_widen, updates)
        steps, inner_state = inner.update(gradients, state.inner, wide, **extra_args)
        leaves, treedef = jax.tree_util.tree_flatten_with_path(steps, is_leaf=_is_none)
        columns = [
            _check.flatten_like(treedef, steps, tree, what)
            for tree, what in ((params, "params"), (wide, "params"), (state.low, "state.low"))
        ]
        pairs = []
        for (path, u), p, w, low in zip(leaves, *columns, strict=True):
            if u is None or not is_half(p):
                pairs.append((u, low))
                continue
            _same_bits(path, low, extra)
            number = leaf_id(path, "weight")
            pairs.append(_land(extra, u, p, w, (state.seed, state.count, number)))
        new_updates, lows = ([pair[i] for pair in pairs] for i in (0, 1))
        count = None if state.count is None else optax.safe_increment(state.count)
        state = MasterState(treedef.unflatten(lows), inner_state, count, state.seed)
        return treedef.unflatten(new_updates), state

    return optax.GradientTransformationExtraArgs(init, update)


@promoting
def master_params(params: Any, state: MasterState) -> Any:
    """Float32 weights of `params` under `with_master`, for evaluation and checkpoints.

    Examples:
        >>> params = jnp.ones(2, jnp.bfloat16)
        >>> fa.master_params(params, fa.with_master(fa.adam(1e-3)).init(params))
        Array([1., 1.], dtype=float32)
    """
    if not isinstance(state, MasterState):
        raise TypeError(
            f"master_params needs the MasterState of with_master, got {type(state).__name__}: "
            "take it out of the state of the chain"
        )
    leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
    lows = _check.flatten_like(treedef, params, state.low, "state.low")
    return treedef.unflatten(
        [_read(path, p, low) for (path, p), low in zip(leaves, lows, strict=True)]
    )


@like_a_cast
def _joined(p, low):
    return join(p, low)


def _read(path, p, low):
    if is_half(p):
        return _joined(jnp.asarray(p), low)
    if low is not None:
        raise TypeError(
            f"params{jax.tree_util.keystr(path)} has become {jnp.result_type(p)}, but the state "
            "has the lower bits of a half-precision weight: apply updates with "
            "optax.apply_updates, which keeps the parameters' dtype"
        )
    return p


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _landed(extra, u, p, wide, stream):
    """The update that takes the leaf to the new weight, and the remainder there."""
    new = wide + u.astype(jnp.float32)
    seed, count, number = stream
    bits = None if extra == 16 else random_bits(seed, count, number, jnp.shape(p))
    leaf, low = split(new, p.dtype, extra, bits)
    old = p.astype(jnp.float32)
    # An infinite weight stays what it is.
    target = leaf.astype(jnp.float32)
    update = jnp.where(target == old, 0.0, target - old)
    if low is None:
        return update, None
    landed = (old + update).astype(p.dtype)
    return update, jnp.where(_same(landed, leaf), low, remainder(new, landed, extra))


@_landed.defjvp
def _landed_jvp(extra, primals, tangents):
    """What is added to the leaf's tangent makes it that of the new weight."""
    du, dp, dwide, _ = tangents
    update, low = _landed(extra, *primals)
    tangent = du.astype(jnp.float32) + dwide - dp.astype(jnp.float32)
    return (update, low), (tangent, None if low is None else np.zeros(low.shape, float0))


_land = functools.partial(jax.jit, static_argnums=0, inline=True)(_landed)


def _same(a, b):
    return lax.bitcast_convert_type(a, jnp.uint16) == lax.bitcast_convert_type(b, jnp.uint16)


def _same_bits(path, low, extra):
    want, got = remainder_dtype(extra), None if low is None else low.dtype
    if want != got:
        raise ValueError(
            f"state.low{jax.tree_util.keystr(path)} is {got}, but with_master(bits={16 + extra}) "
            f"keeps {want and jnp.dtype(want)}: the state was made for other bits"
        )


def _refuse_conditions_outside(updates):
    """Say what is wrong where `lax.cond` would compare dtypes without knowing why."""
    if not any(is_half(g) for g in jax.tree.leaves(updates)):
        return
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == optax.apply_if_finite.__module__:
            raise TypeError(
                "optax.apply_if_finite and its like need updates of the gradients' dtype, but "
                "with_master returns float32 updates for half-precision leaves: put them inside, "
                "with_master(optax.apply_if_finite(...))"
            )
        frame = frame.f_back


def _is_none(x):
    return x is None


def _widen(x):
    return x.astype(jnp.float32) if is_half(x) else x
