"""One step after another: numbers, layouts, what is written and what is left alone."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import Parameter

from ._support import Options, copied, give_gradients, outcome, parameters, seen, train

_DTYPES = (
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.float16,
    torch.complex64,
    torch.complex128,
)


def numbers(cls: type, options: Options) -> Any:
    """Every dtype, with gradients that come and go."""
    results = []
    for dtype in _DTYPES:
        params = parameters(dtype=dtype)
        before = copied(params)
        optimizer = cls(params, lr=0.01, **{"betas": (0.7, 0.95), **options, "eps": 1e-4})
        train(optimizer, params, steps=range(8), some_missing=True)
        assert (params[0] != before[0]).any(), "nothing moved"
        results.append(seen(optimizer))
    return results


def extreme_numbers(cls: type, options: Options) -> Any:
    """No rate, no memory, no eps; gradients of zero, infinity and NaN; far steps."""
    results = []
    given = ({"lr": 0.0}, {"betas": (0.0, 0.0)}, {"eps": 0.0}, {"lr": 1e4, "eps": 10.0})
    for more in given:
        params = parameters()
        optimizer = cls(params, **{**options, **more})
        train(optimizer, params, steps=range(3))
        for value in (0.0, float("inf"), float("nan")):
            for p in params:
                p.grad = torch.full_like(p, value)
            optimizer.step()
            results.append(seen(optimizer))
    params = parameters()
    optimizer = cls(params, **options)
    train(optimizer, params, steps=range(1))
    for state in optimizer.state.values():
        state["step"].fill_(123456)
    train(optimizer, params, steps=range(1, 4))
    return results, seen(optimizer)


def dtypes_in_one_group(cls: type, options: Options) -> Any:
    """Parameters of different dtypes, shapes and steps in one group."""
    params = [p for dtype in _DTYPES for p in parameters(dtype=dtype, shapes=((3,), (2, 2)))]
    optimizer = cls(params, **{**options, "eps": 1e-4})
    train(optimizer, params, steps=range(7), some_missing=True)
    return seen(optimizer)


def layouts(cls: type, options: Options) -> Any:
    """Transposed, strided, channels-last, offset, 0-d and empty; gradients of another layout."""
    base = torch.randn(4, 6, generator=torch.Generator().manual_seed(3))
    image = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(4))
    params = [
        Parameter(base.clone().t()),
        Parameter(base.clone()[:, ::2]),
        Parameter(base.clone().flatten()[1:8]),
        Parameter(image.to(memory_format=torch.channels_last)),
        Parameter(torch.tensor(1.5)),
        Parameter(torch.empty(0, 3)),
        Parameter(base.clone().to(torch.complex64).t()),
    ]
    optimizer = cls(params, **options)
    for step in range(4):
        give_gradients(params, step)
        params[0].grad = params[0].grad.contiguous()
        params[3].grad = params[3].grad.contiguous()
        params[2].grad = torch.tensor(0.5).expand(7)
        optimizer.step()
    return seen(optimizer)


def written_in_place(cls: type, options: Options) -> Any:
    """Parameters and moments keep object, storage and version; aliases see the step."""
    params = parameters()
    aliases = [p.detach() for p in params]
    optimizer = cls(params, **options)
    train(optimizer, params, steps=range(1))
    places = [(id(p), p.data_ptr()) for p in params]
    kept = [{k: v.data_ptr() for k, v in optimizer.state[p].items()} for p in params]
    versions = [p._version for p in params]
    train(optimizer, params, steps=range(1, 3))
    return (
        [(id(p), p.data_ptr()) for p in params] == places,
        [{k: v.data_ptr() for k, v in optimizer.state[p].items()} for p in params] == kept,
        [bool((a == p).all()) for a, p in zip(aliases, params, strict=True)],
        [p._version > v for p, v in zip(params, versions, strict=True)],
        [(p.is_leaf, p.requires_grad, p.grad_fn) for p in params],
        seen(optimizer),
    )


def stale_graphs(cls: type, options: Options) -> Any:
    """Autograd notices that a parameter saved for backward was changed by the step."""
    p = Parameter(torch.tensor([1.0, 2.0]))
    optimizer = cls([p], **options)
    loss = (p**2).sum()
    p.grad = torch.ones(2)
    optimizer.step()
    (kind, *rest), _ = outcome(loss.backward)
    return kind, rest[:1], seen(optimizer)


def gradients_left_alone(cls: type, options: Options) -> Any:
    """Gradients keep object, storage, bits and version."""
    results = []
    for dtype in _DTYPES:
        params = parameters(dtype=dtype)
        optimizer = cls(params, **{"weight_decay": 0.1, **options})
        give_gradients(params, 0)
        before = [(id(p.grad), p.grad.data_ptr(), p.grad._version) for p in params]
        values = copied([p.grad for p in params])
        optimizer.step()
        optimizer.step()
        after = [(id(p.grad), p.grad.data_ptr(), p.grad._version) for p in params]
        results.append((before == after, values, copied([p.grad for p in params])))
    return results


def missing_gradients(cls: type, options: Options) -> Any:
    """Without a gradient a parameter and its step stand still; state is made at the first."""
    params = parameters()
    optimizer = cls(params, **{"weight_decay": 0.1, **options})
    optimizer.step()
    log = [len(optimizer.state), seen(optimizer)]
    for step in range(6):
        give_gradients(params, step, some_missing=True)
        before = copied(params)
        optimizer.step()
        still = [
            bool((p == b).all()) for p, b in zip(params, before, strict=True) if p.grad is None
        ]
        log.append((still, len(optimizer.state), seen(optimizer)))
    params[0].requires_grad_(False)
    params[0].grad = None
    train(optimizer, params[1:], steps=range(6, 8))
    return log, seen(optimizer)


def sparse_gradients(cls: type, options: Options) -> Any:
    """Refused, and no parameter has moved."""
    params = parameters(shapes=((3, 2), (4,)))
    before = copied(params)
    optimizer = cls(params, **options)
    params[0].grad = torch.ones(3, 2)
    params[1].grad = torch.ones(4).to_sparse()
    result, caught = outcome(optimizer.step)
    said = result[0], result[1], "does not support sparse gradients" in str(result)
    return said, caught, before, copied(params)


SCENARIOS = (
    numbers,
    extreme_numbers,
    dtypes_in_one_group,
    layouts,
    written_in_place,
    stale_graphs,
    gradients_left_alone,
    missing_gradients,
    sparse_gradients,
)
