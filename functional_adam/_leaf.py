"""A rule, and what it does to one array of any dtype: decay, complex numbers, rounding.

A rule is given real arrays of one dtype, at least float32, and step scalars of that dtype; what it
returns is rounded once, to the dtype it is kept in.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax

from . import _ops
from ._fixed import constants

Decay = Literal["none", "coupled", "decoupled"]
Form = Literal["factor", "in_update", "after_step"]


@dataclasses.dataclass(frozen=True)
class Rule:
    """One algorithm: what it keeps, its step scalars, and its formula for one array.

    Attributes:
        state: NamedTuple with `count`, the `scalars` and the `moments` as fields.
        moments: names of the per-parameter fields, in the order of `step`'s arguments; the first
            is `mu`. See `is_signed`.
        coefficients: `(t, h, scalars) -> NamedTuple` of step scalars; t counts from 1, h holds the
            hyperparameters. Written with operators: on the host it is given Python floats.
        step: `(ops, u, g, *moments, k) -> (u, *moments)` for one real array. `u` is what the step
            is added to: the parameter in torch, zero (or the decayed parameter) in JAX.
        scalars: names and initial values of further scalars kept in the state and returned, under
            the same names, by `coefficients`.
        adds_twice: whether `step` adds to `u` more than once, which torch rounds each time: where
            the parameters are known, JAX starts from them as well.
        rates: decay rate of each moment; empty: b1 of the first, b2 of the others.
        limit: `(k, t) -> scalar`, the largest step that exact moments can make; None: none is
            known. Steps from moments stored in few bits are clipped there.
        eps_cut: `k -> scalar`: where the last moment is smaller, the step would be more than twice
            as long without eps; k of numbers or arrays. None: `diagnostics` do not know the
            algorithm, and say so.
        linear: whether `nu` grows as the gradient, not as its square.
    """

    state: Callable[..., Any]
    moments: tuple[str, ...]
    coefficients: Callable[[Any, Any, Mapping[str, Any]], Any]
    step: Callable[..., tuple[Any, ...]]
    scalars: tuple[tuple[str, float], ...] = ()
    adds_twice: bool = False
    rates: tuple[str, ...] = ()
    limit: Callable[[Any, Any], Any] | None = None
    eps_cut: Callable[[Any], Any] | None = None
    linear: bool = False


def is_signed(field: str) -> bool:
    """Whether a moment has a sign, which its name tells: `mu...` averages gradients, `nu...` what
    is never negative.
    """
    return field.startswith("mu")


def shrink_of(h: Any, kind: Decay, form: Form = "factor", multiplier: str = "learning_rate") -> Any:
    """What decay multiplies: the coefficient of coupled decay; of decoupled decay the factor that
    is left of the parameter or, in the other forms, minus the share that is taken.

    Args:
        h: hyperparameters as attributes, in any arithmetic that has operators.
        kind: how decay acts.
        form: of decoupled decay.
        multiplier: of `weight_decay`, a dialect's `decay_rate`.
    """
    if kind != "decoupled":
        return h.weight_decay if kind == "coupled" else 0.0
    rate = h.learning_rate
    if multiplier == "schedule":
        rate = h.learning_rate / h.base_learning_rate
    return 1 - rate * h.weight_decay if form == "factor" else -(rate * h.weight_decay)


@dataclasses.dataclass(frozen=True)
class Leaf:
    """What a leaf's computation depends on besides its arrays: the key of its trace."""

    rule: Rule
    decay: Decay
    lands: bool  # the update is the difference of torch's new parameter and the old one
    maximize: bool
    dtype: Any
    form: Form = "factor"
    modulus: bool = False  # a complex array is one array, and v is real


# Not inlined: leaves of one shape are one function of the program that is lowered.
@functools.partial(jax.jit, static_argnums=0)
def update_leaf(leaf, k, shrink, g, p, moments):
    """Update one leaf; the parts of a complex array are two real ones, as torch.view_as_real.

    Args:
        leaf: `Leaf`, static.
        k: the rule's coefficients, scalar arrays or `Fixed`; `shrink` as well.
        shrink: coefficient of coupled decay; of decoupled decay the factor, or minus the share of
            the parameter that is added.
        g: gradient.
        p: parameter of the same shape, or None where neither decay nor landing needs it.
        moments: the rule's moments, of the same shape.

    Returns:
        The update, in the leaf's dtype, and the new moments in their dtypes.
    """
    if not jnp.iscomplexobj(g):
        return update_real(leaf, k, shrink, g, p, moments)
    if leaf.modulus:
        first, *others = moments
        kept = (first, *map(jnp.real, others))
        new, first, *others = update_real(leaf, k, shrink, g, p, kept)
        return new, first, *(lax.complex(v, lax.full_like(v, 0)) for v in others)
    real = dataclasses.replace(leaf, dtype=jnp.finfo(leaf.dtype).dtype)
    parts = [
        update_real(real, k, shrink, *jax.tree.map(part, (g, p, moments)))
        for part in (jnp.real, jnp.imag)
    ]
    return tuple(lax.complex(re, im) for re, im in zip(*parts, strict=True))


def update_real(leaf, k, shrink, g, p, moments, ops: Any = _ops):
    """Update one leaf of real numbers, or by modulus, by these primitives; as `update_leaf`."""
    dtype = jnp.promote_types(jnp.float32, jnp.finfo(leaf.dtype).dtype)
    pair = jnp.promote_types(dtype, jnp.complex64)

    def widen(x):
        return x.astype(pair if jnp.iscomplexobj(x) else dtype)

    k, shrink = constants((k, shrink), dtype)
    k = jax.tree.map(lambda x: x if x.dtype == bool else widen(x), k)
    g, shrink, p, wide = jax.tree.map(widen, (g, shrink, p, moments))
    if leaf.maximize:
        g = ops.neg(g)
    if leaf.decay == "coupled":
        g = ops.add_scaled(g, p, shrink)
    form = leaf.form if leaf.decay == "decoupled" else None
    u = lax.full_like(g, 0)
    if leaf.lands:
        u = ops.mul_(p, shrink) if form == "factor" else p
    if form == "in_update":
        u = ops.add_scaled(u, p, shrink)
    new, *states = leaf.rule.step(ops, u, g, *wide, k)
    if form == "after_step":
        new = ops.add_scaled(new, new, shrink)
    if leaf.lands:
        # An infinite parameter stays what it is.
        new = new - lax.select(lax.abs(p) == jnp.inf, lax.full_like(p, 0), p)
    kept = (state.astype(old.dtype) for state, old in zip(states, moments, strict=True))
    return (new.astype(leaf.dtype), *kept)
