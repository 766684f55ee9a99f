"""Small tables of scikit-learn, by a dense network."""

from __future__ import annotations

import jax.numpy as jnp

from ..task import Task
from . import _data
from . import _networks as net
from .digits import classification


def breast_cancer(steps: int = 200) -> Task:
    """Benign or malignant, from 30 measurements of 569 tumours."""
    return _classes("breast_cancer", columns=30, classes=2, steps=steps)


def wine(steps: int = 200) -> Task:
    """Which of three growers, from 13 measurements of 178 wines."""
    return _classes("wine", columns=13, classes=3, steps=steps)


def diabetes(steps: int = 200) -> Task:
    """Progression in a year, from 10 measurements of 442 patients: squared error, standardised."""
    train, validation, held_out = _data.tabular("diabetes")

    def error(params, batch):
        return jnp.mean((net.dense(params, batch["x"])[:, 0] - batch["y"]) ** 2)

    return Task(
        name="diabetes",
        init=lambda key: net.dense_init(key, (10, 32, 32, 1)),
        loss=lambda params, batch, key: error(params, batch),
        train=train,
        validation=validation,
        held_out=held_out,
        batch_size=32,
        steps=steps,
    )


def _classes(name, columns, classes, steps):
    return classification(
        name.replace("_", "-"),
        _data.tabular(name),
        lambda key: net.dense_init(key, (columns, 32, 32, classes)),
        net.dense,
        steps=steps,
        batch_size=32,
    )
