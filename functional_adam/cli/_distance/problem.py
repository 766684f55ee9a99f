"""The problem that every optimizer is given: a small classifier on seeded points, in float64."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

Params = list[np.ndarray]

_INPUTS, _HIDDEN, _CLASSES, _POINTS, _BATCH = 20, 32, 5, 512, 32


@functools.cache
def _data() -> tuple[np.ndarray, np.ndarray]:
    """Points, of which some inputs are a thousand times smaller than others, and their classes."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((_POINTS, _INPUTS))
    scores = np.tanh(x @ rng.standard_normal((_INPUTS, _CLASSES)))
    labels = np.argmax(scores + 0.3 * rng.standard_normal(scores.shape), axis=1)
    return x * 10 ** rng.uniform(-3, 0, _INPUTS), labels


def start() -> Params:
    """Weights and biases of two layers."""
    rng = np.random.default_rng(4)
    return [
        rng.standard_normal((_INPUTS, _HIDDEN)) / np.sqrt(_INPUTS),
        0.1 * rng.standard_normal(_HIDDEN),
        rng.standard_normal((_HIDDEN, _CLASSES)) / np.sqrt(_HIDDEN),
        0.1 * rng.standard_normal(_CLASSES),
    ]


def gradient() -> Callable[[Params, int], Params]:
    """Gradient of the loss on the batch of a step, counted from 0; the batches are seeded."""
    x, labels = _data()

    @jax.jit
    def of_batch(params, inputs, classes):
        def loss(params):
            w, b, v, c = params
            logits = jnp.tanh(inputs @ w + b) @ v + c
            chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), classes[:, None], axis=1)
            return -jnp.mean(chosen)

        return jax.grad(loss)(params)

    def at(params: Params, step: int) -> Params:
        chosen = np.random.default_rng((5, step)).integers(0, _POINTS, _BATCH)
        return [np.asarray(g) for g in of_batch(params, x[chosen], labels[chosen])]

    return at


def flat(params: Params) -> np.ndarray:
    """All parameters in one array."""
    return np.concatenate([p.ravel() for p in params])
