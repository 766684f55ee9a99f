"""The network, 64-64-64-10 with tanh, as one flat vector of weights: what all ways share.

Losses are computed here, in float64 and for every way by the same code, so that a difference
between two of them is a difference of the weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .data import Split, generator

SIZES = (64, 64, 64, 10)
SHAPES = tuple(zip(SIZES[1:], SIZES[:-1], strict=True))  # (out, in), as torch.nn.Linear


def initial_weights(seed: int, dtype: str) -> np.ndarray:
    """Uniform in +-1/sqrt(inputs), as torch.nn.Linear; flat, layer by layer, weight then bias."""
    uniform = generator(seed, "weights").uniform
    layers = [
        uniform(-(inputs**-0.5), inputs**-0.5, outputs * (inputs + 1)) for outputs, inputs in SHAPES
    ]
    return np.concatenate(layers).astype(dtype)


def one_ulp_away(weights: np.ndarray, seed: int) -> np.ndarray:
    """Every weight moved to one of its two neighbours in the dtype, at random."""
    towards = np.where(generator(seed, "neighbours").random(weights.shape) < 0.5, -np.inf, np.inf)
    return np.nextafter(weights, towards.astype(weights.dtype))


def layers(flat: Any) -> list[tuple[Any, Any]]:
    """Weight (out, in) and bias (out,) of each layer, from a flat NumPy, JAX or torch vector."""
    parts, start = [], 0
    for outputs, inputs in SHAPES:
        middle = start + outputs * inputs
        end = middle + outputs
        parts.append((flat[start:middle].reshape(outputs, inputs), flat[middle:end]))
        start = end
    return parts


def logits(parameters: Any, x: Any, tanh: Any) -> Any:
    """The network itself, for NumPy and JAX arrays."""
    *hidden, (weight, bias) = parameters
    for w, b in hidden:
        x = tanh(x @ w.T + b)
    return x @ weight.T + bias


def loss_and_accuracy(flat: np.ndarray, split: Split) -> tuple[float, float]:
    """Mean softmax cross-entropy in nats, and the share of right answers."""
    z = logits(layers(flat.astype(np.float64)), split.x, np.tanh)
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    right = log_p.argmax(axis=1) == split.y
    return float(-log_p[np.arange(len(split.y)), split.y].mean()), float(right.mean())
