"""The data of the built-in tasks, split and scaled: nothing is downloaded."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

Split = dict[str, np.ndarray]


def digits() -> tuple[Split, Split, Split]:
    """1,797 images of 8 x 8 as "x", float32 (n, 64) in [0, 1], with labels "y", int32."""
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    return _three(data.data / 16, data.target.astype(np.int32), (1197, 300, 300))


def tabular(name: str) -> tuple[Split, Split, Split]:
    """A table of scikit-learn as "x", standardised by the training rows, and "y".

    Args:
        name: "breast_cancer" (569 rows, 30 columns, 2 classes), "wine" (178, 13, 3) or "diabetes"
            (442, 10; a number, standardised).
    """
    from sklearn import datasets

    data: Any = getattr(datasets, f"load_{name}")()
    n = len(data.target)
    y = data.target.astype(np.float64 if name == "diabetes" else np.int32)
    splits = _three(data.data, y, (n - 2 * (n // 5), n // 5, n // 5))
    for column in ("x", "y") if name == "diabetes" else ("x",):
        mean, deviation = splits[0][column].mean(0), splits[0][column].std(0)
        for split in splits:
            split[column] = ((split[column] - mean) / deviation).astype(np.float32)
    return splits


def characters(context: int, stride: int) -> tuple[Split, Split, Split, int]:
    """The help texts of Python, windows of `context` + 1 characters, int32, and how many differ.

    The last tenth of the text is held out, the tenth before is for validation: 256 and 512 windows,
    at equal distances. Windows of training are `stride` apart and overlap.
    """
    ids, symbols = text()
    edges = [len(ids) * k // 10 for k in (0, 8, 9, 10)]
    splits = []
    for (a, b), wanted in zip(itertools.pairwise(edges), (0, 256, 512), strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(ids[a:b], context + 1)
        step = len(windows) // wanted if wanted else stride
        splits.append({"ids": np.ascontiguousarray(windows[::step][: wanted or None])})
    return (*splits, symbols)


def text() -> tuple[np.ndarray, int]:
    """The help texts of Python as numbers of characters, int32 (465048,), and how many differ."""
    from pydoc_data.topics import topics

    joined = "\n".join(topics[name] for name in sorted(topics))
    alphabet = {c: i for i, c in enumerate(sorted(set(joined)))}
    return np.array([alphabet[c] for c in joined], np.int32), len(alphabet)


def _three(x: np.ndarray, y: np.ndarray, sizes: tuple[int, int, int]) -> tuple[Split, Split, Split]:
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order].astype(np.float32), y[order]
    ends = np.cumsum((0, *sizes))
    first, second, third = ({"x": x[a:b], "y": y[a:b]} for a, b in itertools.pairwise(ends))
    return first, second, third
