"""The optimizers that real clients are given, and what "the same run" means."""

from __future__ import annotations

from typing import Any

import torch

import functional_adam_torch as ft

# Class, options. Each row is run by every client, under our class and under torch's.
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {"foreach": False}),
    ("AdamW", {"foreach": True}),
    ("NAdam", {"foreach": True, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"foreach": False, "weight_decay": 0.1}),
    ("RAdam", {"foreach": True}),
    ("Adamax", {"foreach": False, "weight_decay": 0.1}),
]
# Short enough that RAdam is rectified, and AMSGrad's maximum is needed, within ten steps.
COMMON = {"lr": 1e-2, "betas": (0.8, 0.9)}
# What torch's constructors do not know.
OURS_ALONE = ("engine",)


def label(kind: tuple[str, dict[str, Any]]) -> str:
    name, options = kind
    return "-".join([name, *(f"{k}={v}" for k, v in options.items())])


def ours(kind: tuple[str, dict[str, Any]]) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    """The class and its keyword arguments."""
    name, options = kind
    return getattr(ft, name), {**COMMON, **options}


def theirs(kind: tuple[str, dict[str, Any]]) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    """Torch's class and the arguments of the same run."""
    name, options = kind
    known = {k: v for k, v in options.items() if k not in OURS_ALONE}
    return getattr(torch.optim, name), {**COMMON, **known}


def assert_same(a: Any, b: Any, where: str = "") -> None:
    """Equal structure, dtypes and bits; NaN is not equal to anything."""
    if isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor), where
        assert (a.dtype, a.shape) == (b.dtype, b.shape), where
        a, b = (getattr(x.detach(), "_local_tensor", x.detach()) for x in (a, b))
        assert torch.equal(a, b), f"{where}: {int((a != b).sum())} of {a.numel()} elements differ"
    elif isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}/{i}")
    else:
        assert a == b, where


def assert_moved(start: dict[str, torch.Tensor], end: dict[str, torch.Tensor]) -> None:
    """A run that does nothing equals every other such run."""
    for name in start:
        assert start[name].shape == end[name].shape
        assert bool((start[name] != end[name]).any()), name
