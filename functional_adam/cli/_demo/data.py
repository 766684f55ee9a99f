"""The digits of scikit-learn: 1,797 images of 8 x 8 pixels, split and standardised."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

TRAIN, VALIDATION = 1197, 300  # images; the other 300 are the test split
BATCH = 64  # images


class Split(NamedTuple):
    """Images and their labels."""

    x: np.ndarray  # float64 (images, 64), standardised by the training split
    y: np.ndarray  # int64 (images,), 0 to 9


class Digits(NamedTuple):
    """The three splits."""

    train: Split
    validation: Split
    test: Split


def load(seed: int) -> Digits:
    """Shuffle by the seed, split, and standardise by the training images."""
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    order = generator(seed, "split").permutation(len(digits.target))
    x, y = digits.data[order], digits.target[order].astype(np.int64)
    mean, deviation = x[:TRAIN].mean(axis=0), x[:TRAIN].std(axis=0)
    # A pixel that is always blank has no scale; it stays zero, and so do its gradients.
    x = (x - mean) / np.where(deviation == 0, 1, deviation)
    edges = (0, TRAIN, TRAIN + VALIDATION, len(y))
    return Digits(*(Split(x[a:b], y[a:b]) for a, b in itertools.pairwise(edges)))


def batches(seed: int, steps: int) -> np.ndarray:
    """Indices into the training split, int64 (steps, BATCH); each epoch is a new shuffle."""
    shuffle = generator(seed, "batches").permutation
    per_epoch = TRAIN // BATCH
    epochs = [
        shuffle(TRAIN)[: per_epoch * BATCH].reshape(per_epoch, BATCH)
        for _ in range(-(-steps // per_epoch))
    ]
    return np.concatenate(epochs)[:steps]


def generator(seed: int, purpose: str) -> np.random.Generator:
    """Random numbers of their own for each purpose."""
    return np.random.default_rng([seed, *purpose.encode()])
