"""Training in half precision, and the validation loss it ends at."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from .subjects import Subject
from .tasks import Task


def final_loss(task: Task, subject: Subject, seed: int, steps: int) -> float:
    """Validation loss of the weights as they are stored, after a cosine schedule.

    Leaves and gradients have the subject's dtype; between them the network computes in float32, so
    that only what the optimizer stores differs.
    """
    tx = subject.make(optax.cosine_decay_schedule(task.rate, steps))
    narrow = jax.tree.map(lambda x: x.astype(subject.dtype), task.init(jax.random.key(seed)))

    def loss(params: Any, batch: Any) -> Any:
        return task.loss(jax.tree.map(lambda x: x.astype(jnp.float32), params), batch)

    def body(carry, batch):
        params, state = carry
        gradients = jax.grad(loss)(params, batch)
        updates, state = tx.update(gradients, state, params)
        return (optax.apply_updates(params, updates), state), None

    run = jax.jit(lambda carry, batches: jax.lax.scan(body, carry, batches)[0])
    params, _ = run((narrow, tx.init(narrow)), task.batches(seed, steps))
    return float(jax.jit(loss)(params, task.validation))
