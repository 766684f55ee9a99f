"""Handwritten digits of scikit-learn, 1,797 images of 8 x 8: dense and convolutional networks."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import numpy as np

from ..task import Task
from . import _networks as net

TRAIN, VALIDATION = 1197, 300  # images; the other 300 are held out


def load() -> tuple[Any, Any, Any]:
    """Training, validation and held-out images, float32 (n, 64) in [0, 1], with int32 labels."""
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x = (digits.data[order] / 16).astype(np.float32)
    y = digits.target[order].astype(np.int32)
    edges = (0, TRAIN, TRAIN + VALIDATION, len(y))
    first, second, third = ({"x": x[a:b], "y": y[a:b]} for a, b in itertools.pairwise(edges))
    return first, second, third


def digits_mlp(width: int = 64, steps: int = 300) -> Task:
    """A dense network of two hidden layers."""
    return _task(
        "digits-mlp", lambda key: net.dense_init(key, (64, width, width, 10)), net.dense, steps
    )


def digits_cnn(channels: int = 16, steps: int = 200) -> Task:
    """Two convolutions of 3 x 3, each followed by a mean of 2 x 2 pixels, and a dense layer."""

    def init(key):
        first, second, last = jax.random.split(key, 3)
        return {
            "first": net.convolution_init(first, 1, channels),
            "second": net.convolution_init(second, channels, 2 * channels),
            "last": net.dense_init(last, (8 * channels, 10)),
        }

    def logits(params, x):
        x = x.reshape(-1, 8, 8, 1)
        for name in ("first", "second"):
            x = net.halved(jax.nn.relu(net.convolution(params[name], x)))
        return net.dense(params["last"], x.reshape(len(x), -1))

    return _task("digits-cnn", init, logits, steps)


def _task(name, init, logits, steps):
    train, validation, held_out = load()
    return Task(
        name=name,
        init=init,
        loss=lambda params, batch, key: net.cross_entropy(logits(params, batch["x"]), batch["y"]),
        train=train,
        validation=validation,
        held_out=held_out,
        batch_size=64,
        steps=steps,
        metrics={
            "accuracy": lambda params, batch: net.accuracy(logits(params, batch["x"]), batch["y"])
        },
    )
