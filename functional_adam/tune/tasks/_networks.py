"""Small networks as pure functions, for the built-in tasks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def dense_init(key: Any, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Layers of a dense network, by He et al. 2015, https://arxiv.org/abs/1502.01852."""
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        {"w": jax.random.normal(k, (a, b)) * (2 / a) ** 0.5, "b": jnp.zeros(b)}
        for k, (a, b) in zip(keys, itertools.pairwise(sizes), strict=True)
    ]


def dense(layers: Any, x: Any) -> Any:
    """Rectified layers, the last one linear."""
    *hidden, last = layers
    for layer in hidden:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ last["w"] + last["b"]


def convolution_init(key: Any, inputs: int, outputs: int) -> dict[str, Any]:
    """A 3 x 3 convolution."""
    w = jax.random.normal(key, (3, 3, inputs, outputs)) * (2 / (9 * inputs)) ** 0.5
    return {"w": w, "b": jnp.zeros(outputs)}


def convolution(layer: Any, x: Any) -> Any:
    """Of images (n, height, width, channels), padded with zeros to the same size."""
    dimensions = ("NHWC", "HWIO", "NHWC")
    return (
        lax.conv_general_dilated(x, layer["w"], (1, 1), "SAME", dimension_numbers=dimensions)
        + (layer["b"])
    )


def halved(x: Any) -> Any:
    """The mean of each 2 x 2 pixels."""
    n, height, width, channels = x.shape
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def cross_entropy(logits: Any, labels: Any) -> Any:
    """Mean softmax cross-entropy in nats, computed in at least float32."""
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    chosen = jnp.take_along_axis(logits, labels[..., None], -1)[..., 0]
    return jnp.mean(jax.nn.logsumexp(logits, -1) - chosen)


def accuracy(logits: Any, labels: Any) -> Any:
    """Share of right answers."""
    return jnp.mean((logits.argmax(-1) == labels).astype(jnp.float32))
