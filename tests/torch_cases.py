"""Parameters, gradients and pairs of optimizers, theirs and ours, on the device that is tested."""

from __future__ import annotations

import os

import torch

import functional_adam_torch as ft
from functional_adam_torch.engines import _engines

DEVICE = torch.device(os.environ.get("FUNCTIONAL_ADAM_DEVICE", "cpu"))
# Difference after 50 steps over the largest element, in units of the dtype's eps, for parameters
# and state: what contraction and a correctly rounded root leave. Holds for all elements.
BOUND = 16
# XLA's engine steps tensors on the CPU.
ENGINES = tuple(x for x in _engines.ENGINES if x != "jax" or DEVICE.type == "cpu")
COMPILED = tuple(x for x in ("compile", "flat", "jax") if x in ENGINES)
# torch's fused kernel on a GPU takes 1 - b2 in float32: its second moments are 1.3e-5 off.
FUSED = ("Adam", "AdamW") if DEVICE.type == "cpu" else ()
SHAPES = ((5, 7), (33,), (), (0,), (150, 130), (64,), (1,))


def start(dtype=torch.float32, shapes=SHAPES):
    """Normal numbers, the same at each call."""
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(s, dtype=dtype, generator=generator) for s in shapes]
    return [p.to(DEVICE).requires_grad_() for p in drawn]


def give(step, *sides, missing=True):
    """The step's gradients to each side: six decades, a tenth of the elements zero.

    With `missing`, one parameter has none now and then: its own step stands still.
    """
    generator = torch.Generator().manual_seed(1000 + step)
    for i, row in enumerate(zip(*sides, strict=True)):
        g = torch.randn(row[0].shape, dtype=row[0].dtype, generator=generator)
        g = g * 10.0 ** (6 * float(torch.rand((), generator=generator)) - 4)
        g = (g * (torch.rand(g.shape, generator=generator) > 0.1)).to(DEVICE)
        for p in row:
            p.grad = None if missing and i == 1 and step % 3 == 1 else g.clone()


def train(steps, *runs, missing=True):
    """Steps of runs (parameters, optimizer) with the same gradients."""
    for step in steps:
        give(step, *(params for params, _ in runs), missing=missing)
        for _, optimizer in runs:
            optimizer.step()


def pair(
    name, engine="auto", dtype=torch.float32, shapes=SHAPES, torch_options=None, lr=1e-2, **options
):
    """The run of torch.optim's class and that of ours."""
    a, b = start(dtype, shapes), start(dtype, shapes)
    theirs = getattr(torch.optim, name)(a, lr=lr, **options, **(torch_options or {}))
    return (a, theirs), (b, getattr(ft, name)(b, lr=lr, engine=engine, **options))


def differing(a, b):
    """How many elements differ; NaN equals NaN."""
    if a.is_complex():
        a, b = torch.view_as_real(a), torch.view_as_real(b)
    return int(((a != b) & ~(a.isnan() & b.isnan())).sum())


def assert_same(left, right):
    """Parameters and state of two runs, bit for bit."""
    for x, y in zip(left[0], right[0], strict=True):
        assert differing(x.detach(), y.detach()) == 0
        state, other = left[1].state[x], right[1].state[y]
        assert list(state) == list(other)
        for key, a in state.items():
            b = other[key]
            assert (a.dtype, a.shape, a.device) == (b.dtype, b.shape, b.device)
            assert differing(a, b) == 0, key


def assert_near(left, right, bound=BOUND):
    """Parameters and state of two runs, within `bound` units of the largest element."""
    for x, y in zip(left[0], right[0], strict=True):
        state, other = left[1].state[x], right[1].state[y]
        assert list(state) == list(other)
        for a, b in [(x.detach(), y.detach()), *zip(state.values(), other.values(), strict=True)]:
            assert (a.dtype, a.shape, a.stride()) == (b.dtype, b.shape, b.stride())
            if a.numel():
                assert a.isfinite().all()
                unit = torch.finfo(a.dtype).eps * a.abs().max()
                assert (a - b.to(a.device)).abs().max() <= bound * unit
