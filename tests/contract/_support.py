"""The classes with their options, seeded parameters and gradients, and the comparison."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

Options = dict[str, Any]
Scenario = Callable[[type[torch.optim.Optimizer], Options], Any]

# Every class with each option that changes what is computed.
KINDS = [
    ("Adam", {}),
    ("Adam", {"amsgrad": True}),
    ("Adam", {"weight_decay": 0.1, "maximize": True}),
    ("Adam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("AdamW", {}),
    ("AdamW", {"amsgrad": True, "maximize": True, "weight_decay": 0.1}),
    ("NAdam", {"momentum_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {"weight_decay": 0.1, "maximize": True}),
    ("RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "betas": (0.8, 0.9)}),
    ("Adamax", {"weight_decay": 0.1}),
    ("Adamax", {"maximize": True}),
]

# How torch is asked to run it; None leaves the choice to torch.
IMPLEMENTATIONS = ({}, {"foreach": False}, {"foreach": True})

SHAPES = ((3, 5), (33,), (), (0,), (1, 2, 2))


def parameters(
    *, dtype: torch.dtype = torch.float32, shapes: Any = SHAPES, seed: int = 0
) -> list[Parameter]:
    """Seeded parameters."""
    generator = torch.Generator().manual_seed(seed)
    return [Parameter(torch.randn(s, dtype=dtype, generator=generator)) for s in shapes]


def give_gradients(params: list[Any], step: int, *, some_missing: bool = False) -> None:
    """Seeded gradients over several decades, with exact zeros; some None when asked for."""
    generator = torch.Generator().manual_seed(1000 + step)
    for i, p in enumerate(params):
        g = torch.randn(p.shape, dtype=p.dtype, generator=generator)
        g = g * 10.0 ** (4 * float(torch.rand((), generator=generator)) - 3)
        g = g * (torch.rand(g.shape, generator=generator) > 0.1)
        p.grad = None if some_missing and (i + step) % 3 == 1 else g


def train(
    optimizer: torch.optim.Optimizer, params: list[Any], *, steps: range, some_missing: bool = False
) -> None:
    """Some steps with seeded gradients."""
    for step in steps:
        give_gradients(params, step, some_missing=some_missing)
        optimizer.step()


def seen(optimizer: torch.optim.Optimizer) -> Any:
    """All numbers of an optimizer: a copy of its parameters, state and groups."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    return copied([params, optimizer.state_dict()])


def copied(x: Any) -> Any:
    """The same structure with tensors that later steps cannot change."""
    if isinstance(x, Tensor):
        return x.detach().clone(memory_format=torch.preserve_format)
    if isinstance(x, dict):
        return {key: copied(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x)(copied(value) for value in x)
    return x


def outcome(call: Callable[[], Any]) -> Any:
    """What a call came to: its result, or its exception, and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = ("returned", call())
        except Exception as error:
            result = ("raised", type(error).__name__, str(error))
    return result, [(w.category.__name__, str(w.message)) for w in caught]


def breaches(scenario: Scenario, theirs: type, ours: type, options: Options) -> Iterator[str]:
    """Where the observations of two classes differ; nothing for a drop-in."""
    expected = scenario(theirs, dict(options))
    try:
        found = scenario(ours, dict(options))
    except Exception as error:
        yield f"{type(error).__name__}: {error}"
        return
    yield from differences(expected, found, "")


def differences(a: Any, b: Any, path: str) -> Iterator[str]:
    """Where two observations differ: types, order of keys, dtypes, strides, bits."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        for name in ("dtype", "shape", "device", "layout", "requires_grad"):
            if getattr(a, name) != getattr(b, name):
                yield f"{path}.{name}: {getattr(a, name)}, here {getattr(b, name)}"
                return
        if a.stride() != b.stride():
            yield f"{path}.stride: {a.stride()}, here {b.stride()}"
        if count := _different_elements(a, b):
            yield f"{path}: {count} of {a.numel()} elements differ"
    elif type(a) is not type(b):
        yield f"{path}: {a!r}, here {b!r}"
    elif isinstance(a, dict):
        if list(a) != list(b):
            yield f"{path} keys: {list(a)}, here {list(b)}"
            return
        for key in a:
            yield from differences(a[key], b[key], f"{path}[{key!r}]")
    elif isinstance(a, (list, tuple)):
        if len(a) != len(b):
            yield f"{path}: {a!r}, here {b!r}"
            return
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from differences(x, y, f"{path}[{i}]")
    elif a != b and not (a != a and b != b):
        yield f"{path}: {a!r}, here {b!r}"


def _different_elements(a: Tensor, b: Tensor) -> int:
    """Elements whose bits differ; any NaN equals any NaN."""
    a, b = a.detach(), b.detach()
    if a.is_complex():
        a, b = torch.view_as_real(a), torch.view_as_real(b)
    differ = (a != b) & ~((a != a) & (b != b))
    if a.is_floating_point():
        differ |= (a == b) & (torch.signbit(a) != torch.signbit(b))
    return int(differ.sum())
