"""Small networks as pure functions, for the built-in tasks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
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


def block_init(matrix: Callable[..., Any], width: int) -> dict[str, Any]:
    """A transformer's block: attention and a dense network, each behind a norm.

    Args:
        matrix: (rows, columns, scale) -> a random matrix; scale 1 if it is not given.
        width: of the residual stream.
    """
    # The last matrix of each half starts small, so that the sum over blocks does.
    return {
        "qkv": matrix(width, 3 * width),
        "out": matrix(width, width, 0.5),
        "up": matrix(width, 4 * width),
        "down": matrix(4 * width, width, 0.5),
        "norms": jnp.ones((2, width)),
    }


def block(layer: dict[str, Any], h: Any, heads: int) -> Any:
    """One block on (batch, length, width); a place sees those before it."""
    h = h + _attention(norm(h) * layer["norms"][0], layer, heads)
    return h + jax.nn.gelu((norm(h) * layer["norms"][1]) @ layer["up"]) @ layer["down"]


def norm(h: Any) -> Any:
    """Root mean square of the last axis set to one."""
    return h * lax.rsqrt(jnp.mean(h**2, -1, keepdims=True) + 1e-6)


def _attention(h: Any, layer: dict[str, Any], heads: int) -> Any:
    n, length, width = h.shape
    causal = np.tril(np.ones((length, length), bool))
    q, k, v = jnp.moveaxis((h @ layer["qkv"]).reshape(n, length, 3, heads, -1), 2, 0)
    scores = jnp.einsum("nqhd,nkhd->nhqk", q, k) * (width // heads) ** -0.5
    weights = jax.nn.softmax(jnp.where(causal, scores, jnp.finfo(scores.dtype).min))
    return jnp.einsum("nhqk,nkhd->nqhd", weights, v).reshape(h.shape) @ layer["out"]


def cross_entropy(logits: Any, labels: Any) -> Any:
    """Mean softmax cross-entropy in nats, computed in at least float32."""
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    chosen = jnp.take_along_axis(logits, labels[..., None], -1)[..., 0]
    return jnp.mean(jax.nn.logsumexp(logits, -1) - chosen)


def accuracy(logits: Any, labels: Any) -> Any:
    """Share of right answers."""
    return jnp.mean((logits.argmax(-1) == labels).astype(jnp.float32))
