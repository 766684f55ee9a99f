"""Half-precision weights that keep moving: a float32 master around any optax transformation."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from . import _check

_HALF = (jnp.bfloat16, jnp.float16)


class MasterState(NamedTuple):
    """State of `with_master`."""

    master: Any  # like params: float32 weights of bfloat16 and float16 leaves, None for others
    inner: Any  # state of the inner transformation, made for float32 weights


def with_master(inner: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Let any transformation see and step float32 weights while the leaves stay half precision.

    A bfloat16 weight of 1 does not move by 0.001: half the spacing below it is 0.002. Here the
    step is added to a float32 master in the state, and the leaf is the master rounded.

    `update` returns float32 updates for half-precision leaves, for which `optax.apply_updates`
    lands on the rounded master. A leaf that was changed from outside wins over its master.
    Wrappers that need updates of the gradients' dtype (`optax.apply_if_finite`) go inside.

    Args:
        inner: any optax transformation or chain; it is given float32 gradients and weights.

    Returns:
        `optax.GradientTransformationExtraArgs` with state `MasterState`; 4 bytes per parameter
        of half precision more.

    Raises:
        ValueError: `update` is called without the parameters, or trees do not match.

    Reference: Micikevicius et al. 2018, section 3.1, https://arxiv.org/abs/1710.03740.
    """
    inner = optax.with_extra_args_support(inner)

    def init(params):
        wide = jax.tree.map(_widen, params)
        master = jax.tree.map(lambda p, w: w if _is_half(p) else None, params, wide)
        return MasterState(master, inner.init(wide))

    def update(updates, state, params=None, **extra_args):
        if params is None:
            raise ValueError("with_master needs the parameters: call update(grads, state, params)")
        wide = master_params(params, state)
        gradients = jax.tree.map(_widen, updates)
        steps, inner_state = inner.update(gradients, state.inner, wide, **extra_args)
        leaves, treedef = jax.tree.flatten(steps, is_leaf=_is_none)
        columns = [
            _check.flatten_like(treedef, steps, tree, what)
            for tree, what in ((params, "params"), (wide, "params"), (state.master, "master"))
        ]
        pairs = [_land(u, *row) for u, *row in zip(leaves, *columns, strict=True)]
        new_updates, masters = ([pair[i] for pair in pairs] for i in (0, 1))
        state = MasterState(treedef.unflatten(masters), inner_state)
        return treedef.unflatten(new_updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def master_params(params: Any, state: MasterState) -> Any:
    """Float32 weights of `params` under `with_master`, for evaluation and checkpoints."""

    def read(p, master):
        if master is None:
            return p
        return jnp.where(master.astype(p.dtype) == p, master, p.astype(jnp.float32))

    leaves, treedef = jax.tree.flatten(params)
    masters = _check.flatten_like(treedef, params, state.master, "master")
    return treedef.unflatten([read(p, m) for p, m in zip(leaves, masters, strict=True)])


def _land(u, p, wide, master):
    """The update that takes the leaf to the rounded new master, and the new master."""
    if u is None or master is None:
        return u, master
    new = wide + u
    return new.astype(p.dtype).astype(jnp.float32) - p.astype(jnp.float32), new


def _is_half(x):
    return jnp.result_type(x) in _HALF


def _is_none(x):
    return x is None


def _widen(x):
    return x.astype(jnp.float32) if _is_half(x) else x
