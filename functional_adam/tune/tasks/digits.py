"""Handwritten digits of scikit-learn: a dense and a convolutional network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from ..task import Task
from . import _data
from . import _networks as net


def digits_mlp(width: int = 64, steps: int = 300) -> Task:
    """A dense network of two hidden layers, 64-`width`-`width`-10."""

    def init(key):
        return net.dense_init(key, (64, width, width, 10))

    return classification("digits-mlp", _data.digits(), init, net.dense, steps=steps)


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

    return classification("digits-cnn", _data.digits(), init, logits, steps=steps)


def classification(
    name: str,
    splits: tuple[_data.Split, _data.Split, _data.Split],
    init: Callable[[Any], Any],
    logits: Callable[[Any, Any], Any],
    *,
    steps: int,
    batch_size: int = 64,
) -> Task:
    """Cross-entropy of `logits(params, x)`, with accuracy as a metric."""
    train, validation, held_out = splits
    return Task(
        name=name,
        init=init,
        loss=lambda params, batch, key: net.cross_entropy(logits(params, batch["x"]), batch["y"]),
        train=train,
        validation=validation,
        held_out=held_out,
        batch_size=batch_size,
        steps=steps,
        metrics={
            "accuracy": lambda params, batch: net.accuracy(logits(params, batch["x"]), batch["y"])
        },
    )
