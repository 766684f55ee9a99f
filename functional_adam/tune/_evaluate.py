"""The loss of a task in its dtype, and means over data that may be too large for one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ._tree import cast, examples

AT_ONCE = 1024  # examples


def loss_of(task: Any) -> Callable[..., Any]:
    """(params, batch, key, own) -> float32 scalar (float64 where that is the task's dtype)."""

    def loss(params, batch, key, own):
        extra = (own,) if task.own else ()
        value = task.loss(cast(params, task.dtype), cast(batch, task.dtype), key, *extra)
        if task.dtype in ("float16", "bfloat16") and hasattr(value, "astype"):
            return value.astype(jnp.float32)
        return value

    return loss


def metric_of(task: Any, metric: Any) -> Callable[[Any, Any], Any]:
    """(params, batch) -> scalar, of both in the task's dtype."""
    return lambda params, batch: metric(cast(params, task.dtype), cast(batch, task.dtype))


def figures_of(task: Any) -> Callable[..., dict[str, Any]]:
    """(params, data, own) -> {"loss": mean, metric: mean, ...} over all examples of the data."""
    loss = loss_of(task)

    def on(params, batch, own):
        key = jax.random.key(0) if task.evaluation_key else None
        values = {"loss": loss(params, batch, key, own)}
        for name, metric in task.metrics.items():
            values[name] = metric_of(task, metric)(params, batch)
        return {name: jnp.asarray(x, jnp.result_type(float)) for name, x in values.items()}

    def figures(params, data, own):
        n = examples(data)
        size = max(AT_ONCE, task.batch_size)
        if n <= size:
            return on(params, data, own)
        whole = n // size
        blocks = jax.tree.map(lambda x: x[: whole * size].reshape(whole, size, *x.shape[1:]), data)
        parts = jax.lax.map(lambda b: on(params, b, own), blocks)
        total = {name: x.sum() * size for name, x in parts.items()}
        if n % size:
            rest = on(params, jax.tree.map(lambda x: x[whole * size :], data), own)
            total = {name: x + rest[name] * (n % size) for name, x in total.items()}
        return {name: x / n for name, x in total.items()}

    return figures
