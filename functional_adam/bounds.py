"""How far a step of Adam can go, whatever the gradients were: a bound in place of a guessed guard.

Write a step's numerator as ``sum(w_k * g_k)`` and the square of its denominator as
``sum(s_k * g_k**2)``, k = 0 being the latest gradient. By Cauchy and Schwarz

    |sum(w_k g_k)| = |sum(w_k / sqrt(s_k) * sqrt(s_k) g_k)|
                  <= sqrt(sum(w_k**2 / s_k)) * sqrt(sum(s_k g_k**2)),

with equality for ``g_k`` proportional to ``w_k / s_k``: the bound is attained. Moments that were
rounded, loaded or averaged need not belong to any sequence of gradients; a step that is clipped at
the bound is one that Adam could have made.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from . import _check
from ._numerics import promoting

# Rounding of the moments may exceed the bound by some units in the last place.
SLACK = 1 + 1e-5


class UpdateBoundState(NamedTuple):
    """State of `clip_by_update_bound`."""

    count: Any  # int32 (), updates made so far


@promoting
def update_bound(b1: Any, b2: Any, t: Any) -> jax.Array:
    """Largest ``|m_hat| / sqrt(v_hat)`` that Adam can reach at step t = 1, 2, ...

        R(t) = (1 - b1) / sqrt(1 - b2) * sqrt((1 - q**t) / (1 - q)) * sqrt(1 - b2**t) / (1 - b1**t)

    with ``q = b1**2 / b2``; the second root is sqrt(t) where q = 1. Derivation: Cauchy-Schwarz as
    in this module's text, with ``w_k = (1 - b1) * b1**k / (1 - b1**t)`` and
    ``s_k = (1 - b2) * b2**k / (1 - b2**t)``, k = 0 ... t - 1, so that ``w_k**2 / s_k`` is a
    geometric series of q. It is attained by ``g_k`` proportional to ``(b1 / b2)**k``. R(1) = 1, and
    at the defaults R tends to 7.27.

    For the family, with ``A_t`` the share of the gradient and ``B_t`` that of the moment in the
    numerator, ``B_t * m + A_t * g``:

    - AMSGrad: the same R(t), since its maximum is no smaller than v; attained where b1 <= b2, by
      the same gradients, which grow so that the maximum is the last v.
    - NAdam, and look-ahead: ``sqrt((1 - b2**t) / (1 - b2)) * sqrt(A**2 + 2 A B (1 - b1)
      + B**2 (1 - b1)**2 (1 - q**t) / (1 - q))``, the first weight being ``B (1 - b1) + A``.
    - RAdam: r_t * R(t) where rectified; before, a step is m_hat itself, which nothing bounds.
    - Adamax: every ``|g_k| <= v / b2**k``, so ``(1 - b1) / (1 - b1**t) *
      (1 - (b1 / b2)**t) / (1 - b1 / b2)``, which tends to 1.009 at the defaults.

    With moments stored in bfloat16 or int8 all of them are kept at their bound.

    Args:
        b1, b2: decay rates in [0, 1), numbers or scalar arrays; constant over the run.
        t: step, a number or an integer array of any shape.

    Returns:
        float32 of the shape of t; infinite where b2 = 0 and b1 > 0 from the second step on.

    Examples:
        >>> fa.update_bound(0.9, 0.999, jnp.array([1, 100_000])).round(2)
        Array([1.  , 7.27], dtype=float32)
    """
    b1, b2 = (
        _check.number(name, b) if _check.is_number(b) else b for name, b in (("b1", b1), ("b2", b2))
    )
    t = jnp.asarray(t, jnp.float32)
    c1, c2 = _one_minus_power(b1, t), _one_minus_power(b2, t)
    return moment_bound(1 - b1, b2, 1 - b2, t) * jnp.sqrt(c2) / c1


def clip_by_update_bound(
    *, b1: float = 0.9, b2: float = 0.999, scale: float = 1.0
) -> optax.GradientTransformation:
    """Clip every element of Adam's direction at `update_bound`: a stabiliser for any Adam.

    Put it behind `scale_by_adam` or optax's, before decay and learning rate. On exact moments it
    changes no bit, where `(1 - b2) * g**2` does not underflow (g above 4e-18 at b2 = 0.999): ours
    with any b2, optax's up to 0.999, beyond which its float32 correction loses too many digits.
    Moments in few bits, or restored from elsewhere, cannot throw the parameters far.

    Args:
        b1, b2: those of the Adam before it.
        scale: of the directions that it is given, a number.

    Examples:
        >>> tx = fa.clip_by_update_bound()  # the first direction of any Adam is within 1
        >>> updates, state = tx.update(jnp.array([0.5, -3.0]), tx.init(None))
        >>> updates.round(4)
        Array([ 0.5, -1. ], dtype=float32)
    """
    b1, b2 = _check.number("b1", b1), _check.number("b2", b2)

    def init(params):
        del params
        return UpdateBoundState(jnp.zeros((), jnp.int32))

    @promoting
    def update(updates, state, params=None):
        del params
        limit = SLACK * scale * update_bound(b1, b2, state.count + 1)
        clipped = jax.tree.map(lambda u: clip(u, limit), updates)
        return clipped, UpdateBoundState(optax.safe_increment(state.count))

    return optax.GradientTransformation(init, update)


def clip(u: jax.Array, limit: jax.Array) -> jax.Array:
    """`u` within +-limit, both parts of a complex one; NaN stays NaN."""
    if jnp.iscomplexobj(u):
        return lax.complex(*(clip(part, limit) for part in (u.real, u.imag)))
    # A limit rounded up to half precision is still a limit.
    limit = limit.astype(jnp.promote_types(jnp.float32, u.dtype))
    return jnp.clip(u.astype(limit.dtype), -limit, limit).astype(u.dtype)


def moment_bound(one_minus_b1: Any, b2: Any, one_minus_b2: Any, t: Any) -> jax.Array:
    """Largest ``|m| / sqrt(v)``, uncorrected, at step t: float32."""
    return _look_ahead_bound(one_minus_b1, b2, one_minus_b2, t, 1.0, 0.0)


def adam_limit(k: Any, t: Any) -> Any:
    """Largest step of Adam, AMSGrad and NAdam with these coefficients, learning rate included."""
    a = getattr(k, "neg_step_g", None)
    b = k.neg_step_m if hasattr(k, "neg_step_m") else k.neg_step
    shares = abs(b), 0.0 if a is None else abs(a)
    # Without it the root is not corrected, or belongs to the step already.
    root = 1.0 if k.sqrt_c2 is None else k.sqrt_c2
    return SLACK * root * _look_ahead_bound(k.one_minus_b1, k.b2, k.one_minus_b2, t, *shares)


def radam_limit(k: Any, t: Any) -> Any:
    """Largest step of RAdam with these coefficients; infinite before rectification."""
    a, b = (0.0, 1.0) if k.ahead_m is None else (k.ahead_g, k.ahead_m)
    bound = _look_ahead_bound(k.one_minus_b1, k.b2, k.one_minus_b2, t, b, a)
    return numpy_of(t).where(k.rectified, SLACK * abs(k.neg_rectified) * bound, math.inf)


def adamax_limit(k: Any, t: Any) -> Any:
    """Largest step of Adamax with these coefficients, learning rate included."""
    ratio = (1 - k.one_minus_b1) / positive(k.b2)
    return SLACK * abs(k.neg_step) * k.one_minus_b1 * geometric(ratio, t)


def on_host(limit: Any, k: Any, t: float) -> float:
    """A rule's limit of Python floats: infinite where there is none."""
    with np.errstate(all="ignore"):
        return float(limit(k, t))


def _look_ahead_bound(one_minus_b1, b2, one_minus_b2, t, b, a):
    """Largest ``|b * m + a * g| / sqrt(v)`` at step t."""
    w = one_minus_b1 * b
    series = geometric((1 - one_minus_b1) ** 2 / positive(b2), t)
    return numpy_of(t).sqrt((a * (a + 2 * w) + w**2 * series) / one_minus_b2)


def geometric(q: Any, t: Any) -> Any:
    """``1 + q + ... + q**(t - 1)`` in float32, for q >= 0; its digits do not cancel near q = 1."""
    xp, rate = numpy_of(t), _log(q)
    near = abs(rate * t) < 1e-4
    safe = xp.where(near, 1.0, rate)
    return xp.where(near, t * (1 + rate * (t - 1) / 2), xp.expm1(safe * t) / xp.expm1(safe))


def numpy_of(t: Any) -> Any:
    """NumPy on the host, where the step is a Python float, else JAX's."""
    return np if isinstance(t, float) else jnp


def positive(x: Any) -> Any:
    """`x`, at least 1e-30: something to divide by."""
    return max(x, 1e-30) if isinstance(x, float) else jnp.maximum(x, 1e-30)


def _log(x):
    x = positive(x)
    return math.log(x) if isinstance(x, float) else jnp.log(jnp.asarray(x, jnp.float32))


def _one_minus_power(b, t):
    return -jnp.expm1(t * _log(b))
