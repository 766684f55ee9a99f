"""The same training in JAX, in torch and in Keras: from the start, so many steps."""

from __future__ import annotations

import os
from typing import Any

import jax
import numpy as np
import torch

from .entries import RATE
from .problem import Params, flat, gradient, start


def in_jax(tx: Any, steps: int) -> np.ndarray:
    """Train with a gradient transformation; where the parameters get to."""
    at, params = gradient(), start()
    state, update = tx.init(params), jax.jit(tx.update)
    for step in range(steps):
        updates, state = update(at(params, step), state, params)
        params = [np.asarray(p + u) for p, u in zip(params, updates, strict=True)]
    return flat(params)


def in_torch(name: str, options: Any, steps: int) -> np.ndarray:
    """Train with a class of torch.optim."""
    at = gradient()
    params = [torch.from_numpy(p) for p in start()]
    optimizer = getattr(torch.optim, name)(params, lr=RATE, **options)
    for step in range(steps):
        for p, g in zip(params, at([p.numpy() for p in params], step), strict=True):
            p.grad = torch.from_numpy(g.copy())
        optimizer.step()
    return flat([p.numpy() for p in params])


def in_keras(name: str, options: Any, steps: int) -> np.ndarray:
    """Train with a class of keras.optimizers, on the JAX backend."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    at, params = gradient(), start()
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        optimizer: Any = getattr(keras.optimizers, name)(learning_rate=RATE, **options)
        optimizer.build([keras.Variable(p, dtype="float64") for p in params])
    finally:
        keras.config.set_floatx(before)
    own, apply = [v.value for v in optimizer.variables], jax.jit(optimizer.stateless_apply)
    for step in range(steps):
        new, own = apply(own, at(params, step), params)
        params = [np.asarray(p) for p in new]
    return flat(params)


def oracle(framework: str, name: str, options: Any, steps: int) -> np.ndarray:
    """Train with the class of a case."""
    return (in_torch if framework == "torch" else in_keras)(name, options, steps)


def apart(a: np.ndarray, b: np.ndarray, origin: Params) -> float:
    """Difference of two ends over the longer of the two ways, Euclidean."""
    begin = flat(origin)
    way = max(np.linalg.norm(a - begin), np.linalg.norm(b - begin))
    return float(np.linalg.norm(a - b) / way)
