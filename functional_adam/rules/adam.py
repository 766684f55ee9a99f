"""Adam: first and second moments of the gradient, both corrected for their start at zero."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import optax

from .._codecs import Moments
from .._hyperparameters import Hyperparameter, is_zero
from .._leaf import Rule
from .._lift import Mask, lift
from .._numerics import one_minus_power, sqrt
from ..bounds import adam_limit
from ..dialects import TORCH, Dialect, by_dialect


class AdamState(NamedTuple):
    """State of Adam and AdamW."""

    count: Any  # int32 (), updates made so far
    mu: Any  # like params: first moment, float32 or wider unless mu_dtype or moments
    nu: Any  # like params: second moment, float32 or wider unless nu_dtype or moments
    seed: Any = None  # uint32 (), of the rounding of coded moments


class AdamCoefficients(NamedTuple):
    """Adam's scalars of one step; None where a dialect has no such operation."""

    one_minus_b1: Any
    b2: Any
    one_minus_b2: Any
    sqrt_c2: Any
    eps: Any
    neg_step: Any
    neg_step_g: Any = None  # share of the gradient itself: Nesterov's look-ahead
    eps_root: Any = None  # added to v
    floor: Any = None  # of the denominator, in place of eps
    inverse_c2: Any = None  # AMSGrad's maximum is of corrected moments


def coefficients(dialect, t, h, _):
    """Scalars of step t = 1, 2, ...: the bias corrections belong to the scalars, not to arrays."""
    c1 = one_minus_power(h.b1, t) if dialect.corrects("first") else 1.0
    return _scalars(dialect, t, h, neg_step=-(h.learning_rate / c1))


def nesterov_coefficients(dialect, t, h, _):
    """Scalars of step t that look ahead with constant momentum."""
    corrected = dialect.corrects("first")
    now = one_minus_power(h.b1, t) if corrected else 1.0
    ahead = one_minus_power(h.b1, t + 1) if corrected and dialect.nesterov == "constant" else now
    neg_step = -h.learning_rate * h.b1 / ahead
    return _scalars(dialect, t, h, neg_step, neg_step_g=-h.learning_rate * (1 - h.b1) / now)


def _scalars(dialect, t, h, neg_step, neg_step_g=None):
    """Every place of eps is another choice of scalars; the formula for arrays is one."""
    c2 = one_minus_power(h.b2, t) if dialect.corrects("second") else 1.0
    k = AdamCoefficients(1 - h.b1, h.b2, 1 - h.b2, sqrt(c2), h.eps, neg_step, neg_step_g)
    before = dialect.eps_place == "before_correction"
    if dialect.eps_root and not is_zero(h.eps_root):
        k = k._replace(eps_root=h.eps_root if before else h.eps_root * c2)
    if dialect.eps_place == "floor":
        k = k._replace(eps=None, floor=h.eps)
    if before:
        look_ahead = None if neg_step_g is None else neg_step_g * k.sqrt_c2
        k = k._replace(neg_step=neg_step * k.sqrt_c2, neg_step_g=look_ahead, sqrt_c2=None)
    return k if dialect.corrects("second") else k._replace(sqrt_c2=None)


def denominator(ops, v, k):
    """What Adam and AMSGrad divide by; `v` stays alive."""
    root = ops.sqrt(v if k.eps_root is None else ops.add(v, k.eps_root))
    if k.sqrt_c2 is not None:
        root = ops.div_(root, k.sqrt_c2)
    return ops.add_(root, k.eps) if k.floor is None else ops.floor_(root, k.floor)


def eps_cut(k):
    """Solve ``2 sqrt(v) = sqrt(v + eps_root) + eps``, all of it uncorrected, for v."""
    scale = 1.0 if k.sqrt_c2 is None else k.sqrt_c2
    floor = getattr(k, "floor", None)
    if floor is not None:
        return (floor * scale / 2) ** 2
    eps, inside = k.eps * scale, 0.0 if k.eps_root is None else k.eps_root
    return ((2 * eps + sqrt(eps * eps + 3 * inside)) / 3) ** 2


def step(ops, u, g, m, v, k):
    """One array, one step; `u` is what the step is added to."""
    m = ops.lerp_(m, g, k.one_minus_b1)
    v = ops.addcmul_(ops.mul_(v, k.b2), g, g, k.one_minus_b2)
    m, v = ops.kept(m, v)
    divisor = denominator(ops, v, k)
    if k.neg_step_g is not None:
        u = ops.addcdiv_(u, g, divisor, k.neg_step_g)
    return ops.addcdiv_(u, m, divisor, k.neg_step), m, v


@by_dialect
def rule(dialect: Dialect, nesterov: bool = False) -> Rule:
    """Adam in a dialect; the same object each time, for it is a key of compiled functions."""
    if nesterov:
        dialect.require("nesterov", "adam(nesterov=True)")
    scalars = nesterov_coefficients if nesterov else coefficients
    made = functools.partial(scalars, dialect)
    return Rule(AdamState, ("mu", "nu"), made, step, limit=adam_limit, eps_cut=eps_cut)


ADAM = rule(TORCH)


def scale_by_adam(
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter | None = None,
    eps: Hyperparameter | None = None,
    eps_root: Hyperparameter | None = None,
    nesterov: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
    dialect: Dialect = TORCH,
) -> optax.GradientTransformationExtraArgs:
    """Adam's direction without rate and sign, `m_hat / (sqrt(v_hat) + eps)`; see `adam`.

    Examples:
        >>> tx = optax.chain(fa.scale_by_adam(b1=0.8), optax.scale(-0.5))
        >>> updates, state = tx.update(jnp.array([4.0, -4.0]), tx.init(jnp.zeros(2)))
        >>> updates.round(6)
        Array([-0.5,  0.5], dtype=float32)
    """
    return lift(
        rule(dialect, nesterov),
        dict(b1=b1, b2=b2, eps=eps, eps_root=eps_root),
        moments=moments,
        dtypes=(mu_dtype, nu_dtype),
        dialect=dialect,
    )


def adam(
    learning_rate: Hyperparameter,
    *,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter | None = None,
    eps: Hyperparameter | None = None,
    eps_root: Hyperparameter | None = None,
    weight_decay: Hyperparameter = 0.0,
    mask: Mask = None,
    maximize: bool = False,
    nesterov: bool = False,
    moments: Moments = "float32",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
    dialect: Dialect = TORCH,
) -> optax.GradientTransformationExtraArgs:
    """Adam with coupled L2 decay, by default as `torch.optim.Adam`.

        g <- g + weight_decay * p
        m <- b1 * m + (1 - b1) * g
        v <- b2 * v + (1 - b2) * g**2
        p <- p - learning_rate * (m / (1 - b1**t)) / (sqrt(v / (1 - b2**t)) + eps)

    Args:
        learning_rate: step size; like every hyperparameter a number, a scalar array (traced or
            not), a `TwoFloat` or a schedule `count -> value`, overridden by an argument of the
            same name in a call: `tx.update(grads, state, params, learning_rate=1e-4)`.
        b1: decay rate of the first moment, in [0, 1).
        b2: decay rate of the second moment, in [0, 1); None: the dialect's, torch 0.999.
        eps: added to the denominator, in torch after the root and its correction; in float32 at
            least. None: the dialect's, torch 1e-8, Keras 1e-7.
        eps_root: added inside the root, in dialects that have it (OPTAX); None: 0.
        weight_decay: L2 coefficient, added to the gradient before the moments see it; in some
            dialects (KERAS) it acts as `adamw`'s.
        mask: which leaves decay: a tree of bools, a prefix of one, or params -> such a tree.
        maximize: ascend instead of descend.
        nesterov: look ahead, `m_hat = b1 * m / (1 - b1**(t + 1)) + (1 - b1) * g / (1 - b1**t)`,
            as `optax.adam(nesterov=True)`.
        moments: how `mu` and `nu` are stored: "float32", "bfloat16" (4 bytes a parameter for both)
            or "int8" (2.02 bytes; leaves under 4096 elements, or whose last axis has no divisor
            from 16 to 128, stay float32), rounded so that they still forget; or a pair of `Codec`.
            A step is taken from them as stored, and never exceeds `update_bound`. Vmapped replicas
            round alike unless the `seed` in their states differs:
            `optax.tree.set(state, seed=...)`.
        mu_dtype: dtype `mu` is kept in, rounded to nearest; None: the parameter's, at least
            float32.
        nu_dtype: dtype `nu` is kept in, as `mu_dtype`; in 16 bits it cannot decay with b2 = 0.999.
        dialect: whose Adam: `TORCH`, `OPTAX`, `KERAS`, ..., or your own; see `Dialect`.

    Returns:
        `optax.GradientTransformationExtraArgs` with state `AdamState`. Updates have the promoted
        dtype of gradient and parameter; arithmetic is in float32 or wider.

    Raises:
        ValueError: a number is out of range, the dialect has no such thing, or gradients, state
            and parameters do not match.
        TypeError: a dtype cannot be trained or kept.

    Reference: Kingma and Ba 2015, Algorithm 1 (with eps after the corrections),
    https://arxiv.org/abs/1412.6980.

    Examples:
        >>> tx = fa.adam(0.1)
        >>> params = jnp.array([1.0, 2.0])
        >>> updates, state = tx.update(jnp.array([4.0, -4.0]), tx.init(params), params)
        >>> updates.round(6)
        Array([-0.1,  0.1], dtype=float32)
        >>> int(state.count)
        1
    """
    values = dict(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, eps_root=eps_root)
    return lift(
        rule(dialect, nesterov),
        values | {"weight_decay": weight_decay},
        decay="coupled",
        mask=mask,
        maximize=maximize,
        moments=moments,
        dtypes=(mu_dtype, nu_dtype),
        dialect=dialect,
    )
