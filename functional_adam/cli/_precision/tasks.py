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
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    x, y = (images[order] / 16).astype(np.float32), labels[order].astype(np.int32)
    held = 500

    def init(key):
        keys = jax.random.split(key, 3)
        sizes = (64, 256, 256, 10)
        return [
            {"w": jax.random.normal(k, (a, b)) * (2 / a) ** 0.5, "b": jnp.zeros(b)}
            for k, a, b in zip(keys, sizes, sizes[1:], strict=False)
        ]

    def loss(params, batch):
        h, target = batch
        for i, layer in enumerate(params):
            h = h @ layer["w"] + layer["b"]
            h = jax.nn.relu(h) if i < len(params) - 1 else h
        return _cross_entropy(h, target)

    def batches(seed, steps):
        chosen = np.random.default_rng(seed).integers(held, len(x), (steps, 64))
        return jnp.asarray(x[chosen]), jnp.asarray(y[chosen])

    validation = jnp.asarray(x[:held]), jnp.asarray(y[:held])
    return Task("digits", init, loss, batches, validation, steps=1500, rate=1e-3)


WIDTH, HEADS, LAYERS, CONTEXT = 64, 4, 2, 64


def characters() -> Task:
    """A causal transformer over characters: 2 layers of width 64, contexts of 64."""
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics))
    alphabet = {c: i for i, c in enumerate(sorted(set(text)))}
    ids = np.array([alphabet[c] for c in text], np.int32)
    cut = len(ids) * 9 // 10

    def init(key):
        keys = iter(jax.random.split(key, 3 + 4 * LAYERS))

        def matrix(a, b, scale=1.0):
            return jax.random.normal(next(keys), (a, b)) * scale * a**-0.5

        return {
            "embed": matrix(len(alphabet), WIDTH, 0.2),
            "place": matrix(CONTEXT, WIDTH, 0.2),
            "layers": [
                {
                    "qkv": matrix(WIDTH, 3 * WIDTH),
                    "out": matrix(WIDTH, WIDTH, 0.5),
                    "up": matrix(WIDTH, 4 * WIDTH),
                    "down": matrix(4 * WIDTH, WIDTH, 0.5),
                    "norms": jnp.ones((2, WIDTH)),
                }
                for _ in range(LAYERS)
            ],
            "head": matrix(WIDTH, len(alphabet)),
        }

    def windows(starts, data):
        found = data[starts[..., None] + np.arange(CONTEXT + 1)]
        return jnp.asarray(found[..., :-1]), jnp.asarray(found[..., 1:])

    def batches(seed, steps):
        starts = np.random.default_rng(seed).integers(0, cut - CONTEXT - 1, (steps, 16))
        return windows(starts, ids)

    starts = np.random.default_rng(0).integers(cut, len(ids) - CONTEXT - 1, 256)
    return Task(
        "characters", init, _transformer_loss, batches, windows(starts, ids), steps=800, rate=3e-3
    )


def _transformer_loss(params, batch):
    ids, target = batch
    h = params["embed"][ids] + params["place"]
    causal = np.tril(np.ones((CONTEXT, CONTEXT), bool))
    for layer in params["layers"]:
        h = h + _attention(_norm(h) * layer["norms"][0], layer, causal)
        h = h + jax.nn.gelu((_norm(h) * layer["norms"][1]) @ layer["up"]) @ layer["down"]
    return _cross_entropy(_norm(h) @ params["head"], target)


def _attention(h, layer, causal):
    parts = (h @ layer["qkv"]).reshape(*h.shape[:-1], 3, HEADS, WIDTH // HEADS)
    q, k, v = (parts[..., i, :, :] for i in range(3))
    scores = jnp.einsum("...qhd,...khd->...hqk", q, k) * (WIDTH // HEADS) ** -0.5
    weights = jax.nn.softmax(jnp.where(causal, scores, -1e9))
    mixed = jnp.einsum("...hqk,...khd->...qhd", weights, v)
    return mixed.reshape(h.shape) @ layer["out"]


def _norm(h):
    return h * jax.lax.rsqrt(jnp.mean(h**2, -1, keepdims=True) + 1e-6)


def _cross_entropy(logits, target):
    chosen = jnp.take_along_axis(logits, target[..., None], -1)[..., 0]
    return jnp.mean(jax.nn.logsumexp(logits, -1) - chosen)
