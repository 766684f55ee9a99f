"""Two small tasks: handwritten digits by a dense network, Python's help texts by a transformer.

A task is `init(key) -> params` in float32, `loss(params, batch)` computed in float32, batches of a
seed and the data of validation. The data are scikit-learn's digits and `pydoc_data.topics` of the
standard library: nothing is downloaded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...tune.tasks import _data
from ...tune.tasks import _networks as net


@dataclasses.dataclass(frozen=True)
class Task:
    """What is trained and how its end is judged.

    Attributes:
        name: as it is shown.
        init: key -> params, float32.
        loss: (params, batch) -> scalar.
        batches: (seed, steps) -> arrays with the steps first.
        validation: a batch.
        steps: of training.
        rate: peak learning rate.
    """

    name: str
    init: Callable[[Any], Any]
    loss: Callable[[Any, Any], Any]
    batches: Callable[[int, int], Any]
    validation: Any
    steps: int
    rate: float


def digits() -> Task:
    """1797 images of 8 by 8, ten classes, 64-256-256-10."""
    x, y = (np.concatenate([split[name] for split in _data.digits()]) for name in ("x", "y"))
    held = 500

    def init(key):
        return net.dense_init(key, (64, 256, 256, 10))

    def loss(params, batch):
        x, target = batch
        return net.cross_entropy(net.dense(params, x), target)

    def batches(seed, steps):
        chosen = np.random.default_rng(seed).integers(held, len(x), (steps, 64))
        return jnp.asarray(x[chosen]), jnp.asarray(y[chosen])

    validation = jnp.asarray(x[:held]), jnp.asarray(y[:held])
    return Task("digits", init, loss, batches, validation, steps=1500, rate=1e-3)


WIDTH, HEADS, LAYERS, CONTEXT = 64, 4, 2, 64


def characters() -> Task:
    """A causal transformer over characters: 2 layers of width 64, contexts of 64."""
    ids, symbols = _data.text()
    cut = len(ids) * 9 // 10

    def init(key):
        keys = iter(jax.random.split(key, 3 + 4 * LAYERS))

        def matrix(a, b, scale=1.0):
            return jax.random.normal(next(keys), (a, b)) * scale * a**-0.5

        return {
            "embed": matrix(symbols, WIDTH, 0.2),
            "place": matrix(CONTEXT, WIDTH, 0.2),
            "layers": [net.block_init(matrix, WIDTH) for _ in range(LAYERS)],
            "head": matrix(WIDTH, symbols),
        }

    def loss(params, batch):
        ids, target = batch
        h = params["embed"][ids] + params["place"]
        for layer in params["layers"]:
            h = net.block(layer, h, HEADS)
        return net.cross_entropy(net.norm(h) @ params["head"], target)

    def windows(starts, data):
        found = data[starts[..., None] + np.arange(CONTEXT + 1)]
        return jnp.asarray(found[..., :-1]), jnp.asarray(found[..., 1:])

    def batches(seed, steps):
        starts = np.random.default_rng(seed).integers(0, cut - CONTEXT - 1, (steps, 16))
        return windows(starts, ids)

    starts = np.random.default_rng(0).integers(cut, len(ids) - CONTEXT - 1, 256)
    return Task("characters", init, loss, batches, windows(starts, ids), steps=800, rate=3e-3)
