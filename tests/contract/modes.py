"""torch's other ways to take a step: fused, differentiable, capturable."""

from __future__ import annotations

from typing import Any

import torch

from ._support import Near, Options, copied, give_gradients, outcome, parameters, seen, train


def fused(cls: type, options: Options) -> Any:
    """torch's own kernel, where it has one: numbers, state, checkpoints and what it refuses."""
    if cls.__name__ not in ("Adam", "AdamW"):
        return None
    options = {**options, "foreach": None, "fused": True}
    results = []
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        for rate in (0.01, torch.tensor(0.01)):
            params = parameters(dtype=dtype)
            optimizer = cls(params, lr=rate, **options)
            train(optimizer, params, steps=range(4), some_missing=True)
            other = cls(parameters(dtype=dtype), **options)
            other.load_state_dict(optimizer.state_dict())
            train(other, other.param_groups[0]["params"], steps=range(4, 6))
            results.append((seen(optimizer), seen(other), optimizer._step_supports_amp_scaling))
    params = parameters(dtype=torch.complex64)
    give_gradients(params, 0)
    return results, outcome(lambda: cls(params, **options).step())


def fused_scaling(cls: type, options: Options) -> Any:
    """GradScaler leaves unscaling to the fused kernel, which undoes the step on infinities."""
    if cls.__name__ not in ("Adam", "AdamW"):
        return None
    params = parameters(shapes=((3, 5), (7,)))
    optimizer = cls(params, **{**options, "foreach": None, "fused": True})
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=2)
    log = []
    for step in range(6):
        optimizer.zero_grad()
        scaler.scale(sum((p * (step + 1)).pow(2).sum() for p in params)).backward()
        if step in (2, 4):
            params[0].grad[0, 0] = float("inf")
        if step == 3:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        left = hasattr(optimizer, "grad_scale"), hasattr(optimizer, "found_inf")
        log.append((left, scaler.get_scale(), copied([p.grad for p in params]), seen(optimizer)))
    return log


def differentiable(cls: type, options: Options) -> Any:
    """Slopes of a step with respect to where it starts, the gradient and the state.

    torch gathers the factors in another order here than in its loop: equal up to rounding.
    """
    options = {**options, "foreach": None, "differentiable": True}
    results = []
    for dtype in (torch.float32, torch.float64):
        start = torch.tensor([0.5, -1.0, 2.0], dtype=dtype, requires_grad=True)
        g = torch.tensor([0.3, -0.2, 1.0], dtype=dtype, requires_grad=True)
        warm = _warm_state(cls, options, dtype)
        moved = {k: v.detach().requires_grad_() for k, v in warm.items() if k != "step"}
        p = start.clone()
        p.grad = g
        optimizer = cls([p], lr=0.1, **options)
        optimizer.state[p].update(warm, **{k: v.clone() for k, v in moved.items()})
        optimizer.step()
        state = optimizer.state[p]
        inputs = (start, g, *moved.values())
        slopes = torch.autograd.grad(p.pow(2).sum() + state["exp_avg"].sum(), inputs)
        near = [Near(copied(x)) for x in (p, *slopes, *state.values())]
        results.append((list(state), [x.requires_grad for x in state.values()], near))
    return results


def capturable(cls: type, options: Options) -> Any:
    """On a CPU nothing can be captured: the step says so and changes nothing."""
    results = []
    for foreach in (False, True):
        params = parameters()
        optimizer = cls(params, **{**options, "foreach": foreach, "capturable": True})
        give_gradients(params, 0)
        (kind, error, message), _ = outcome(optimizer.step)
        results.append((kind, error, "supported devices" in message, copied(params)))
    return results


def _warm_state(cls: type, options: Options, dtype: torch.dtype) -> Any:
    """State after some steps, so that no root is taken of zero."""
    params = parameters(dtype=dtype, shapes=((3,),))
    optimizer = getattr(torch.optim, cls.__name__)(params, **{**options, "differentiable": False})
    train(optimizer, params, steps=range(7))
    return optimizer.state[params[0]]


SCENARIOS = (fused, fused_scaling, differentiable, capturable)
