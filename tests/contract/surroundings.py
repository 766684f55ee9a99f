"""What surrounds a step: closure, gradient mode, hooks, groups edited by hand, profiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from ._support import Options, copied, give_gradients, outcome, parameters, seen, train


def closures(cls: type, options: Options) -> Any:
    """Called once, with gradients enabled; its loss is returned; nothing else is."""
    params = parameters()
    optimizer = cls(params, **options)
    log = []

    def closure():
        log.append(torch.is_grad_enabled())
        optimizer.zero_grad()
        loss = sum((p**2).sum() for p in params)
        loss.backward()
        log.append(loss)
        return loss

    returned = [optimizer.step(closure), optimizer.step(closure=closure)]
    with torch.no_grad():
        returned.append(optimizer.step(closure))
    same = [r is loss for r, loss in zip(returned, log[1::2], strict=True)]
    nothing = optimizer.step(), optimizer.step(None)
    failing = outcome(lambda: optimizer.step(lambda: 1 / 0))
    return log[::2], same, nothing, failing, copied(returned), seen(optimizer)


def gradient_modes(cls: type, options: Options) -> Any:
    """The caller's mode is kept, whatever it is."""
    params = parameters()
    optimizer = cls(params, **options)
    modes = []
    for step, mode in enumerate((True, False)):
        with torch.set_grad_enabled(mode):
            train(optimizer, params, steps=range(step, step + 1))
            modes.append(torch.is_grad_enabled())
    with torch.inference_mode():
        inferred = outcome(lambda: train(optimizer, params, steps=range(2, 3)))
    flags = [(p.requires_grad, p.grad_fn) for p in params]
    state = [v.requires_grad for s in optimizer.state.values() for v in s.values()]
    return modes, inferred, flags, state, seen(optimizer)


def zeroed_gradients(cls: type, options: Options) -> Any:
    """`zero_grad` to None and to zeros, also of gradients with a graph."""
    params = parameters()
    optimizer = cls(params, **options)
    give_gradients(params, 0, some_missing=True)
    params[0].grad = params[0].grad * torch.ones(1, requires_grad=True)
    kept = [p.grad for p in params]
    optimizer.zero_grad(set_to_none=False)
    same = [p.grad is g for p, g in zip(params, kept, strict=True)]
    zeros = copied([p.grad for p in params]), params[0].grad.requires_grad
    optimizer.step()
    optimizer.zero_grad()
    return same, zeros, [p.grad for p in params], seen(optimizer)


def accumulated_gradients(cls: type, options: Options) -> Any:
    """Two backward passes to a step."""
    params = parameters()
    optimizer = cls(params, **options)
    for _ in range(3):
        for scale in (1.0, -3.0):
            sum((scale * p**3).sum() for p in params).backward()
        optimizer.step()
        optimizer.zero_grad()
    return seen(optimizer)


def edited_groups(cls: type, options: Options) -> Any:
    """Each hyperparameter is read from its group at each step."""
    params = parameters()
    groups = [{"params": params[:2]}, {"params": params[2:], "weight_decay": 0.3}]
    optimizer = cls(groups, **options)
    edits = [
        ("lr", 0.5),
        ("betas", (0.5, 0.75)),
        ("eps", 0.1),
        ("weight_decay", 0.2),
        ("maximize", True),
        ("maximize", False),
        ("lr", 1),
    ]
    if "momentum_decay" in optimizer.param_groups[0]:
        edits.append(("momentum_decay", 0.5))
    if "decoupled_weight_decay" in optimizer.param_groups[0]:
        edits += [("decoupled_weight_decay", True), ("decoupled_weight_decay", False)]
    log = []
    for step, (key, value) in enumerate(edits):
        optimizer.param_groups[step % 2][key] = value
        train(optimizer, params, steps=range(step, step + 1))
        log.append((key, seen(optimizer)))
    optimizer.param_groups[0]["params"].remove(params[0])
    train(optimizer, params, steps=range(20, 22))
    return log, copied(params), copied([optimizer.state[p] for p in params])


def edited_state(cls: type, options: Options) -> Any:
    """State changed, replaced or removed by hand is what the next step starts from."""
    params = parameters()
    optimizer = cls(params, **options)
    train(optimizer, params, steps=range(3))
    state = optimizer.state[params[0]]
    state["exp_avg"].mul_(-2)
    state["step"] = torch.tensor(40.0)
    optimizer.state[params[1]]["exp_avg"] = torch.ones_like(params[1])
    optimizer.state[params[1]]["mine"] = "kept"
    optimizer.state[params[2]].clear()
    del optimizer.state[params[4]]
    train(optimizer, params, steps=range(3, 5))
    log = seen(optimizer)
    optimizer.state.clear()
    train(optimizer, params, steps=range(5, 6))
    return log, seen(optimizer)


def tensor_rates(cls: type, options: Options) -> Any:
    """A rate that is a tensor: read, never written; refused where torch refuses it."""
    results = []
    for rate in (torch.tensor(0.01), torch.tensor([0.01]), torch.tensor(0.01, dtype=torch.float64)):
        params = parameters()

        def run(rate=rate, params=params):
            optimizer = cls(params, lr=rate, **options)
            for step in range(3):
                rate.mul_(0.5)
                train(optimizer, params, steps=range(step, step + 1))
            return optimizer.param_groups[0]["lr"] is rate, rate._version, seen(optimizer)

        results.append(_or_refused(run))
    return results


def tensor_betas(cls: type, options: Options) -> Any:
    """Betas that are tensors, which torch takes in Adam and AdamW: read, never written."""
    if cls.__name__ not in ("Adam", "AdamW"):
        return None
    results = []
    for shape in ((), (1,)):
        params = parameters() + parameters(dtype=torch.float64)
        betas = torch.full(shape, 0.8), torch.full(shape, 0.95)

        def run(params=params, betas=betas):
            optimizer = cls(params, **{**options, "betas": betas})
            train(optimizer, params, steps=range(3))
            return [b._version for b in betas], seen(optimizer)

        results.append(_or_refused(run))
    return results


def default_dtype(cls: type, options: Options) -> Any:
    """Under float64 as default the step is counted in float64."""
    torch.set_default_dtype(torch.float64)
    try:
        params = parameters() + parameters(dtype=torch.float64)
        optimizer = cls(params, **options)
        train(optimizer, params, steps=range(4))
    finally:
        torch.set_default_dtype(torch.float32)
    return seen(optimizer)


def step_hooks(cls: type, options: Options) -> Any:
    """Order, arguments and removal of the hooks around a step, global ones included."""
    params = parameters()
    optimizer = cls(params, **options)
    log = []

    def note(name, *, change=None):
        def hook(opt, args, kwargs):
            # args[0] is the optimizer itself.
            log.append((name, opt is optimizer, args[0] is optimizer, len(args), list(kwargs)))
            return change and (args, change)

        return hook

    handles = [
        optimizer.register_step_pre_hook(note("pre 1")),
        register_optimizer_step_pre_hook(note("global pre")),
        optimizer.register_step_post_hook(note("post 1")),
        register_optimizer_step_post_hook(note("global post")),
        optimizer.register_step_pre_hook(note("pre 2", change={"closure": lambda: 7})),
        optimizer.register_step_post_hook(note("post 2")),
    ]
    try:
        give_gradients(params, 0)
        returned = [optimizer.step()]
        handles[4].remove()
        handles[2].remove()
        returned.append(optimizer.step(lambda: 8))
    finally:
        for handle in handles:
            handle.remove()
    returned.append(optimizer.step())
    optimizer.register_step_pre_hook(lambda *_: 3)
    (kind, error, message), _ = outcome(optimizer.step)
    wrong = kind, error, "must return None or a tuple" in message
    return log, returned, wrong, seen(optimizer)


def hooks_that_change(cls: type, options: Options) -> Any:
    """A hook may clip gradients before the step and parameters after it."""
    params = parameters()
    optimizer = cls(params, **options)
    optimizer.register_step_pre_hook(
        lambda *_: torch.nn.utils.clip_grad_norm_(params, 0.1) and None
    )
    optimizer.register_step_post_hook(
        lambda *_: [p.data.clamp_(-0.5, 0.5) for p in params] and None
    )
    train(optimizer, params, steps=range(3))
    return seen(optimizer)


def profiler_names(cls: type, options: Options) -> Any:
    """What a profile calls the step."""
    params = parameters()
    optimizer = cls(params, **options)
    give_gradients(params, 0)
    with torch.autograd.profiler.profile() as profile:
        optimizer.step()
        optimizer.zero_grad()
    return [e.name for e in profile.function_events if e.name.startswith("Optimizer.")]


def _or_refused(call: Callable[[], Any]) -> Any:
    """The result; where torch fails at a tensor inside some kernel, any refusal will do."""
    (kind, *result), caught = outcome(call)
    return (kind, result, caught) if kind == "returned" else kind


SCENARIOS = (
    closures,
    gradient_modes,
    zeroed_gradients,
    accumulated_gradients,
    edited_groups,
    edited_state,
    tensor_rates,
    tensor_betas,
    default_dtype,
    step_hooks,
    hooks_that_change,
    profiler_names,
)
