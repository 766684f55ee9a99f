"""From a rule for one array to a gradient transformation: the only file that knows pytrees."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.core import Tracer

from . import _check, _states, _warn
from ._codecs import Moments, codecs
from ._coded import fitting_code, init_code, update_coded
from ._fixed import Fixed, thaw
from ._hyperparameters import is_zero, read, resolve
from ._leaf import Decay, Leaf, Rule, is_signed, shrink_of, update_leaf
from ._masks import Mask, spread, tree_of
from ._numerics import promoting, rounded, x64_enabled
from ._placement import zeros_like
from ._two_float import TwoFloat, as_two_float
from .dialects import TORCH, Dialect


def lift(
    rule: Rule,
    hyperparameters: Mapping[str, Any],
    *,
    decay: Decay = "none",
    mask: Mask = None,
    maximize: bool = False,
    moments: Moments = "float32",
    dtypes: tuple[Any, ...] = (),
    dialect: Dialect | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Make an optax gradient transformation of a rule.

    Args:
        rule: the algorithm.
        hyperparameters: name -> `Hyperparameter`, or None for the dialect's own; each may be
            overridden by an extra argument of `update` of the same name.
        decay: how `weight_decay` acts: not at all, added to the gradient, or on the parameter.
        mask: which leaves decay: a tree of bools (or a prefix of one), or params -> such a tree.
        maximize: ascend: the gradient is negated first.
        moments: how moments are stored: "float32" (see `dtypes`), "bfloat16", "int8", or a pair of
            `Codec`, for moments that have a sign and for those that have none.
        dtypes: dtype each moment is kept in; None: the parameter's, at least float32.
        dialect: defaults, and the form of decay and of complex numbers; the rule has the rest.
            None: of a rule that has no dialects; every hyperparameter has its own default.

    Returns:
        `optax.GradientTransformationExtraArgs`; updates have the promoted dtype of gradient and
        parameter, a None gradient gives a None update and leaves its moments alone.
    """
    filled = hyperparameters
    if dialect is None:
        dialect = TORCH
    else:
        decay = "decoupled" if (decay, dialect.decay) == ("coupled", "decoupled") else decay
        filled = dialect.fill(hyperparameters, decoupled=decay == "decoupled")
    hyperparameters = {name: read(name, value) for name, value in filled.items()}
    kept_in = [
        _check.moment_dtype(f"{name[:2]}_dtype", dtype)
        for name, dtype in zip(rule.moments, dtypes or [None] * len(rule.moments), strict=True)
    ]
    pair = codecs(moments)
    coded = () if pair is None else tuple(pair[not is_signed(name)] for name in rule.moments)
    _warn.moments_rounded_to_nearest(rule.moments, kept_in, rule.rates, hyperparameters)
    _check.one_storage(coded, rule.moments, kept_in)

    _states.remember(rule.state)

    # A direction is scaled later: its digits must not end where the parameter's do.
    stepwise = rule.adds_twice and "learning_rate" in hyperparameters

    @promoting
    def init(params):
        def zeros(path, p, dtype):
            _check.inexact(path, p, "params")
            return zeros_like(p, _kept_dtype(path, p, dtype))

        def code(path, p, codec):
            _check.inexact(path, p, "params")
            return init_code(codec, path, p)

        makers = [functools.partial(zeros, dtype=dtype) for dtype in kept_in]
        if coded:
            makers = [functools.partial(code, codec=codec) for codec in coded]
        moments = [jax.tree_util.tree_map_with_path(make, params) for make in makers]
        scalars = {name: jnp.asarray(value, _scalar_dtype()) for name, value in rule.scalars}
        trees = dict(zip(rule.moments, moments, strict=True))
        seeds = {"seed": jnp.zeros((), jnp.uint32)} if coded else {}
        return rule.state(count=jnp.zeros((), jnp.int32), **scalars, **trees, **seeds)

    @promoting
    def update(updates, state, params=None, **extra_args):
        _states.check(state, rule, coded=bool(coded))
        constants, data = resolve(hyperparameters, state.count, extra_args)
        kind: Decay = "none" if is_zero(dict(constants).get("weight_decay", 0.0)) else decay
        if "weight_decay" in data:
            kind = decay
        scalars = {name: getattr(state, name) for name, _ in rule.scalars}
        paths, treedef = jax.tree_util.tree_flatten_with_path(updates, is_leaf=_is_none)
        if all(g is None for _, g in paths):
            kind = "none"
        if kind != "none" and params is None:
            raise ValueError("weight_decay needs the parameters: call update(grads, state, params)")
        # Of a parameter that is not landed upon, the share that decay takes has more digits than
        # what it leaves.
        form = "in_update" if coded and dialect.decay_form == "factor" else dialect.decay_form
        shrinking = (kind, form, dialect.decay_rate)
        fixed = _coefficients(rule, constants, data, state.count, scalars, shrinking)
        k, shrink = thaw(fixed, _scalar_dtype())
        # Op by op each new number would compile anew; in a program it does in any case.
        numbers = fixed if isinstance(state.count, Tracer) else (k, shrink)
        limit = _limit(rule, k, state.count) if coded and rule.limit else None

        flat = functools.partial(_check.flatten_like, treedef, updates)
        old = [flat(getattr(state, name), f"state.{name}") for name in rule.moments]
        ps = [None] * len(paths) if params is None else flat(params, "params")
        decays = _decays(mask, params, paths, flat) if kind != "none" else [False] * len(paths)
        results = []
        for (path, g), p, decayed, *moments in zip(paths, ps, decays, *old, strict=True):
            if g is None:
                results.append((None, *moments))
                continue
            moments = _fitting(path, g, p, moments, rule, coded)
            out = jnp.promote_types(jnp.result_type(g), jnp.result_type(g if p is None else p))
            own = kind if decayed else "none"
            alone = own == "decoupled" and dialect.decay_form != "in_update"
            lands = alone or (stepwise and p is not None)
            modulus = dialect.complex_mode == "modulus"
            leaf = Leaf(rule, own, lands, maximize, out, dialect.decay_form, modulus)
            p = p if decayed or lands else None
            arrays = (g, p, tuple(moments))
            if coded:
                stream = (path, state.seed, state.count)
                results.append(update_coded(leaf, coded, *stream, k, limit, shrink, *arrays))
            else:
                results.append(update_leaf(leaf, *numbers, *arrays))

        new = [treedef.unflatten(column) for column in zip(*results, strict=True)] or [updates] * (
            1 + len(rule.moments)
        )
        kept = {name: getattr(k, name).astype(scalars[name].dtype) for name in scalars}
        trees = dict(zip(rule.moments, new[1:], strict=True))
        seeds = {"seed": state.seed} if coded else {}
        count = optax.safe_increment(state.count)
        return new[0], rule.state(count=count, **kept, **trees, **seeds)

    return optax.GradientTransformationExtraArgs(init, update)


@functools.partial(jax.jit, static_argnums=(0, 1, 5), inline=True)
def _coefficients(rule, constants, data, count, scalars, shrinking):
    """The step scalars, once for all leaves, and what decay multiplies by."""
    if x64_enabled():
        t = count.astype(jnp.float64) + 1
    else:
        t = as_two_float(count) + 1
        scalars = {name: as_two_float(value) for name, value in scalars.items()}
    # scale_by_x has no rate: the step -learning_rate * direction is the direction itself.
    h = SimpleNamespace(**{"learning_rate": -1.0, **dict(constants), **data})
    k = rule.coefficients(t, h, scalars)
    shrink = shrink_of(h, *shrinking)
    arrays = jax.tree.map(_as_array, (k, shrink), is_leaf=lambda x: isinstance(x, TwoFloat))
    # Without it XLA recomputes the chain of scalars inside the loop of every leaf.
    return lax.optimization_barrier(arrays)


@functools.partial(jax.jit, static_argnums=0, inline=True)
def _limit(rule, k, count):
    """The largest step, once for all leaves."""
    return lax.optimization_barrier(rule.limit(k, count.astype(jnp.float32) + 1))


def _as_array(x):
    if isinstance(x, float):
        return Fixed(x)
    x = rounded(x)
    return x if isinstance(x, jax.Array) else jnp.asarray(x, _scalar_dtype())


def _scalar_dtype():
    return jnp.float64 if x64_enabled() else jnp.float32


def _is_none(x):
    return x is None


def _kept_dtype(path, p, dtype):
    own = jnp.promote_types(jnp.float32, jnp.result_type(p))
    if dtype is None:
        return own
    if not jnp.issubdtype(own, jnp.complexfloating):
        return dtype
    if dtype not in (jnp.float32, jnp.float64):
        raise TypeError(
            f"params{jax.tree_util.keystr(path)} is complex: its moments can be kept in float32 or "
            f"float64 parts, not in {dtype}"
        )
    return jnp.promote_types(jnp.complex64, dtype)


def _fitting(path, g, p, moments, rule, coded):
    _check.inexact(path, g, "gradient")
    if p is not None:
        _check.same_kind(path, g, p, "params")
    if coded:
        columns = zip(coded, moments, rule.moments, strict=True)
        return [fitting_code(codec, path, g, code, name) for codec, code, name in columns]
    for name, moment in zip(rule.moments, moments, strict=True):
        _check.same_kind(path, g, moment, f"state.{name}")
    return moments


def _decays(mask, params, paths, flat):
    if mask is None:
        return [True] * len(paths)
    leaves = flat(spread(tree_of(mask, params), params, "mask"), "mask")
    for (path, g), keep in zip(paths, leaves, strict=True):
        if g is not None and not isinstance(keep, bool | np.bool_):
            where = jax.tree_util.keystr(path)
            raise TypeError(f"mask{where} must be a bool, got {keep!r}")
    return [bool(keep) if isinstance(keep, np.bool_) else keep for keep in leaves]
