"""The optimizers that real clients are given, and what "the same run" means."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.tensor import DTensor

import functional_adam_torch as ft

# Class, options. Each row is run by every client, under our class and under torch's.
BASE: list[tuple[str, dict[str, Any]]] = [
    ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"weight_decay": 0.1}),
    ("Adamax", {"weight_decay": 0.1}),
]
# Rows that ask for an engine: one line each.
ENGINES: list[tuple[str, dict[str, Any]]] = [
    ("AdamW", {"foreach": True}),
    ("RAdam", {"foreach": True}),
    ("AdamW", {"fused": True}),
    ("AdamW", {"engine": "compile"}),
    ("Adam", {"amsgrad": True, "engine": "flat"}),
]
KINDS = [*BASE, *ENGINES]
# A DTensor meets other code in lists than one by one: every class in each way. engine="jax" steps
# ordinary tensors only, and says so.
SHARDED = [
    *((name, {**options, "foreach": way}) for name, options in BASE for way in (None, False, True)),
    *(kind for kind in ENGINES if "foreach" not in kind[1] and kind[1].get("engine") != "jax"),
]

# RAdam is rectified, and AMSGrad's maximum is needed, within ten steps; eps is well above a
# gradient that is nothing but rounding, such as that of a key's bias in attention.
COMMON = {"lr": 1e-2, "betas": (0.8, 0.9), "eps": 1e-6}
# Modules of torch that are imported late compile with torch's own deprecated compiler.
TORCH_WARNS = (r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
# What torch's constructors do not know.
OURS_ALONE = ("engine",)
# These engines contract products and sums, which torch's loops do not.
ROUND_OTHERWISE = ("compile", "flat", "jax")
# Two ways to round the same ten steps, of values of the order of one.
ROUNDING = {"rtol": 1e-4, "atol": 1e-4}


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


def is_exact(kind: tuple[str, dict[str, Any]]) -> bool:
    """Whether this row's numbers are torch's bit for bit."""
    return kind[1].get("engine") not in ROUND_OTHERWISE


def assert_same(a: Any, b: Any, exact: bool = True, where: str = "") -> None:
    """Equal structure, shapes and dtypes; values equal in all bits, or within `ROUNDING`."""
    if isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor), where
        assert (a.dtype, a.shape) == (b.dtype, b.shape), where
        a, b = (x.to_local() if isinstance(x, DTensor) else x for x in (a.detach(), b.detach()))
        tolerance = {"rtol": 0.0, "atol": 0.0} if exact else ROUNDING
        torch.testing.assert_close(a, b, **tolerance, msg=lambda text: f"{where}: {text}")
    elif isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            assert_same(a[key], b[key], exact, f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, exact, f"{where}/{i}")
    else:
        assert a == b, where


def assert_moved(start: dict[str, torch.Tensor], end: dict[str, torch.Tensor]) -> None:
    """A run that does nothing equals every other such run."""
    for name in start:
        assert start[name].shape == end[name].shape
        assert bool((start[name] != end[name]).any()), name
