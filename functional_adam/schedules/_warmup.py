"""What language models are trained with: a linear warm-up, then a decay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ._arguments import Scalar, Schedule, are_numbers, fraction, nonnegative, schedule_of, steps
from ._shapes import at_least_one, cosine, linear, ratio


def warmup_cosine(
    learning_rate: Scalar,
    *,
    warmup_steps: Scalar,
    total_steps: Scalar,
    start_factor: Scalar = 0.0,
    end_factor: Scalar = 0.0,
) -> Schedule:
    """Warm up along a line, then decay along half a cosine.

    ``learning_rate * (start_factor * (w - t) + t) / w`` for t < w, then from `learning_rate` to
    ``end_factor * learning_rate`` by the cosine of ``pi * (t - w) / (n - w)``, held from n on.
    With the default `start_factor` the first update (count 0) has a learning rate of zero;
    ``1 / w`` makes it take a first step.

    Args:
        learning_rate: value at the peak, >= 0.
        warmup_steps: w, count at which the peak is reached, >= 0.
        total_steps: n, count at which the decay ends, > w.
        start_factor: fraction of the peak at count 0, in [0, 1].
        end_factor: fraction of the peak at the end, in [0, 1].

    Raises:
        ValueError: a Python number outside its range.

    Reference: transformers.get_cosine_schedule_with_warmup; optax.warmup_cosine_decay_schedule.

    Examples:
        >>> f = fa.schedules.warmup_cosine(1.0, warmup_steps=2, total_steps=6)
        >>> [round(float(f(t)), 3) for t in (0, 1, 2, 4, 6)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    return _warmup_decay(cosine, learning_rate, warmup_steps, total_steps, start_factor, end_factor)


def warmup_linear(
    learning_rate: Scalar,
    *,
    warmup_steps: Scalar,
    total_steps: Scalar,
    start_factor: Scalar = 0.0,
    end_factor: Scalar = 0.0,
) -> Schedule:
    """Warm up along a line, then decay along a line.

    As `warmup_cosine`, with ``learning_rate * ((n - t) + end_factor * (t - w)) / (n - w)`` after w.

    Args:
        learning_rate: see `warmup_cosine`.
        warmup_steps: see there.
        total_steps: see there.
        start_factor: see there.
        end_factor: see there.

    Raises:
        ValueError: a Python number outside its range.

    Reference: transformers.get_linear_schedule_with_warmup;
    J. Devlin et al., BERT, 2019, appendix A.2, https://arxiv.org/abs/1810.04805

    Examples:
        >>> f = fa.schedules.warmup_linear(1.0, warmup_steps=2, total_steps=6)
        >>> [float(f(t)) for t in (0, 1, 2, 3, 6)]
        [0.0, 0.5, 1.0, 0.75, 0.0]
    """
    return _warmup_decay(linear, learning_rate, warmup_steps, total_steps, start_factor, end_factor)


def warmup_inverse_sqrt(
    learning_rate: Scalar, *, warmup_steps: Scalar, start_factor: Scalar = 0.0
) -> Schedule:
    """Warm up along a line, then decay with the root of the count; there is no last step.

    ``learning_rate * (start_factor * (w - t) + t) / w`` for t < w, then
    ``learning_rate * sqrt(w / t)``.

    Args:
        learning_rate: see `warmup_cosine`.
        warmup_steps: w, count at which the peak is reached, >= 1.
        start_factor: see `warmup_cosine`.

    Raises:
        ValueError: a Python number outside its range.

    Reference: A. Vaswani et al., Attention Is All You Need, 2017, equation 3 (whose step is
    t + 1 and whose peak is ``1 / sqrt(d_model * w)``), https://arxiv.org/abs/1706.03762;
    transformers.get_inverse_sqrt_schedule

    Examples:
        >>> f = fa.schedules.warmup_inverse_sqrt(1.0, warmup_steps=4)
        >>> [float(f(t)) for t in (0, 2, 4, 16)]
        [0.0, 0.5, 1.0, 0.5]
    """
    peak, w = nonnegative("learning_rate", learning_rate), steps("warmup_steps", warmup_steps, 1)

    def decay(t: jax.Array) -> jax.Array:
        span = at_least_one(w)
        return peak * jnp.sqrt(ratio(span, jnp.maximum(t, span)))

    return _warmup(peak, w, start_factor, decay)


def warmup_stable_decay(
    learning_rate: Scalar,
    *,
    warmup_steps: Scalar,
    decay_steps: Scalar,
    total_steps: Scalar,
    start_factor: Scalar = 0.0,
    end_factor: Scalar = 0.0,
) -> Schedule:
    """Warm up along a line, stay, and decay along a line at the end (WSD, the trapezoid).

    The peak is held from w to ``n - d``, then
    ``learning_rate * ((n - t) + end_factor * (t - n + d)) / d`` until n, and held. For another
    decay join pieces with `sequential_lr`.

    Args:
        learning_rate: see `warmup_cosine`.
        warmup_steps: w, count at which the peak is reached, >= 0.
        decay_steps: d, steps of the decay, >= 1, with w + d <= n.
        total_steps: n, count at which the decay ends.
        start_factor: see `warmup_cosine`.
        end_factor: see there.

    Raises:
        ValueError: a Python number outside its range.

    Reference: S. Hu et al., MiniCPM, 2024, section 4.2, https://arxiv.org/abs/2404.06395;
    A. Hägele et al., Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations,
    2024, https://arxiv.org/abs/2405.18392

    Examples:
        >>> f = fa.schedules.warmup_stable_decay(1.0, warmup_steps=2, decay_steps=2, total_steps=6)
        >>> [float(f(t)) for t in range(7)]
        [0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0]
    """
    peak, w = nonnegative("learning_rate", learning_rate), steps("warmup_steps", warmup_steps)
    d, n = steps("decay_steps", decay_steps, 1), steps("total_steps", total_steps, 1)
    if are_numbers(w, d, n) and w + d > n:
        raise ValueError(f"warmup_steps + decay_steps must be <= total_steps {n}, got {w} + {d}")
    decay = _decay(linear, peak, peak * fraction("end_factor", end_factor), n - d, n)
    return _warmup(peak, w, start_factor, decay)


def _warmup_decay(
    shape: Callable[..., jax.Array],
    learning_rate: Any,
    warmup_steps: Any,
    total_steps: Any,
    start_factor: Any,
    end_factor: Any,
) -> Schedule:
    peak, w = nonnegative("learning_rate", learning_rate), steps("warmup_steps", warmup_steps)
    n = steps("total_steps", total_steps, 1)
    if are_numbers(w, n) and w >= n:
        raise ValueError(f"warmup_steps must be < total_steps {n}, got {w}")
    decay = _decay(shape, peak, peak * fraction("end_factor", end_factor), w, n)
    return _warmup(peak, w, start_factor, decay)


def _warmup(peak: Any, w: Any, start_factor: Any, decay: Callable[..., jax.Array]) -> Schedule:
    """A line from ``start_factor * peak`` to the peak at count w, then `decay` of the count."""
    start = peak * fraction("start_factor", start_factor)

    def formula(t: jax.Array) -> jax.Array:
        span, elapsed = at_least_one(w), jnp.minimum(t, w)
        rise = linear(start, peak, ratio(w - elapsed, span), ratio(elapsed, span))
        return jnp.where(t < w, rise, decay(t))

    return schedule_of(formula)


def _decay(
    shape: Callable[..., jax.Array], peak: Any, end: Any, first: Any, last: Any
) -> Callable[[jax.Array], jax.Array]:
    """From `peak` at count `first` to `end` at count `last`; both are held outside."""
    span = at_least_one(last - first)

    def decay(t: jax.Array) -> jax.Array:
        elapsed = jnp.clip(t - first, 0, span)
        return shape(peak, end, ratio(span - elapsed, span), ratio(elapsed, span))

    return decay
