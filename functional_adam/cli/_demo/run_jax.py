"""Training in JAX: a jitted scan over steps, with the state donated."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from .data import Split
from .network import layers, logits
from .trace import Trace

Gradients = Callable[[Any, Any], Any]
"""(parameters, item) -> gradients; the item is a batch or what the gradients are made of."""


def own_gradients(split: Split, dtype: str) -> Gradients:
    """Gradients of the network's loss by `jax.grad`; an item holds indices into the split."""
    x, y = jnp.asarray(split.x.astype(dtype)), jnp.asarray(split.y)

    def loss(parameters, batch):
        z = logits(parameters, x[batch], jnp.tanh)
        return optax.softmax_cross_entropy_with_integer_labels(z, y[batch]).mean()

    return jax.grad(loss)


def given_gradients(_: Any, item: Any) -> Any:
    """Gradients computed elsewhere; an item is their flat vector."""
    return layers(item)


class JaxRun:
    """Parameters and optimizer state on their way through the steps."""

    def __init__(
        self, tx: optax.GradientTransformation, start: np.ndarray, gradients: Gradients
    ) -> None:
        def step(carry, item):
            parameters, state = carry
            updates, state = tx.update(gradients(parameters, item), state, parameters)
            parameters = optax.apply_updates(parameters, updates)
            return (parameters, state), _flat(parameters)

        parameters = jax.tree.map(jnp.array, layers(start))
        self._carry = (parameters, tx.init(parameters))
        self._scan = jax.jit(lambda carry, items: lax.scan(step, carry, items), donate_argnums=0)
        self._compiled: dict[int, Any] = {}

    def advance(self, items: np.ndarray) -> Trace:
        """Take a step for each item; compilation is not in the time."""
        values = jnp.asarray(items)
        if len(items) not in self._compiled:
            self._compiled[len(items)] = self._scan.lower(self._carry, values).compile()
        started = time.perf_counter()
        self._carry, parameters = jax.block_until_ready(
            self._compiled[len(items)](self._carry, values)
        )
        return Trace(np.asarray(parameters), time.perf_counter() - started)

    def moments(self, names: Sequence[str]) -> list[np.ndarray]:
        """The named fields of the optimizer's state, flat."""
        return [np.asarray(_flat(getattr(self._carry[1], name))) for name in names]


def _flat(tree):
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])
