"""Others that hold an optimizer: schedulers, gradient scaling, averaging, sharding."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import distributed
from torch.optim import lr_scheduler, swa_utils

from ._support import Options, copied, give_gradients, outcome, parameters, seen, train

_SCHEDULERS = (
    lambda o: lr_scheduler.StepLR(o, 2, 0.5),
    lambda o: lr_scheduler.LambdaLR(o, lambda t: 1 / (1 + t)),
    lambda o: lr_scheduler.CosineAnnealingLR(o, 5),
    lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=12),
    lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 2),
    lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(o, 0.1, 2), lr_scheduler.ExponentialLR(o, 0.9)]
    ),
    lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.2, total_iters=2), lr_scheduler.PolynomialLR(o, 5)], [2]
    ),
)


def schedulers(cls: type, options: Options) -> Any:
    """Rates, and momenta where they cycle, as floats and as tensors."""
    results = []
    for make in _SCHEDULERS:
        for rate in (0.1, torch.tensor(0.1)):
            if options.get("foreach") and isinstance(rate, torch.Tensor):
                continue
            params = parameters()
            optimizer = cls(params, lr=rate, **options)
            scheduler = make(optimizer)
            log = []
            for step in range(4):
                train(optimizer, params, steps=range(step, step + 1))
                scheduler.step()
                log.append(copied([optimizer.param_groups[0][key] for key in ("lr", "betas")]))
            results.append((log, seen(optimizer)))
    return results


def plateau(cls: type, options: Options) -> Any:
    """A scheduler driven by the loss; one stepped before the optimizer warns."""
    params = parameters()
    optimizer = cls(params, lr=0.1, **options)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    for step in range(6):
        train(optimizer, params, steps=range(step, step + 1))
        scheduler.step(1.0)
    early = lr_scheduler.StepLR(cls(parameters(), **options), 2)
    return seen(optimizer), outcome(early.step)


def scaled_gradients(cls: type, options: Options) -> Any:
    """torch.amp.GradScaler: steps with infinities are left out, the scale adapts."""
    params = parameters(shapes=((3, 5), (7,)))
    optimizer = cls(params, **options)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=2)
    log = []
    for step in range(8):
        optimizer.zero_grad()
        loss = sum((p * (step + 1)).pow(2).sum() for p in params)
        scaler.scale(loss).backward()
        if step in (2, 5):
            params[0].grad[0, 0] = float("inf")
        if step % 2:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(params, 1.0)
        returned = scaler.step(optimizer)
        scaler.update()
        log.append((returned, scaler.get_scale(), seen(optimizer)))
    return log


def optimizer_in_backward(cls: type, options: Options) -> Any:
    """One optimizer per parameter, stepped as soon as its gradient is there."""
    params = parameters(shapes=((3, 5), (7,), (2,)))
    held = {p: cls([p], **options) for p in params}

    def hook(p):
        held[p].step()
        held[p].zero_grad()

    for p in params:
        p.register_post_accumulate_grad_hook(hook)
    for _ in range(3):
        sum((p**2).sum() for p in params).backward()
    return [p.grad for p in params], [seen(o) for o in held.values()]


def averaged_weights(cls: type, options: Options) -> Any:
    """torch.optim.swa_utils: averages of the weights and its own schedule."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    optimizer = cls(model.parameters(), **options)
    average = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.5))
    schedule = swa_utils.SWALR(optimizer, swa_lr=0.05, anneal_epochs=2)
    for step in range(4):
        give_gradients(list(model.parameters()), step)
        optimizer.step()
        average.update_parameters(model)
        schedule.step()
    return seen(optimizer), copied(average.state_dict())


def models_moved(cls: type, options: Options) -> Any:
    """`model.double()` between steps rebinds the data; the moments stay as they were."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizer = cls(model.parameters(), **options)
    train(optimizer, list(model.parameters()), steps=range(2))
    with torch.no_grad():
        for p in model.parameters():
            p.data = p.data.clone() * 2
    train(optimizer, list(model.parameters()), steps=range(2, 4))
    model.load_state_dict({k: v + 1 for k, v in model.state_dict().items()})
    train(optimizer, list(model.parameters()), steps=range(4, 6))
    return seen(optimizer)


def sharded_state(cls: type, options: Options) -> Any:
    """ZeroRedundancyOptimizer with this class as its local optimizer, in a group of one."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        params = parameters(shapes=((3, 5), (7,)))
        with warnings.catch_warnings():
            # Its module compiles with torch.jit, which torch itself has deprecated.
            warnings.simplefilter("ignore")
            from torch.distributed.optim import ZeroRedundancyOptimizer

            optimizer = ZeroRedundancyOptimizer(params, optimizer_class=cls, **options)
        train(optimizer, params, steps=range(3))
        optimizer.consolidate_state_dict()
        return copied(params), copied(optimizer.state_dict())
    finally:
        distributed.destroy_process_group()


def put_in_place(cls: type, options: Options) -> Any:
    """A program may put a class in the place of torch's, for code that it cannot change."""
    kept = getattr(torch.optim, cls.__name__)
    setattr(torch.optim, cls.__name__, cls)
    try:
        params = parameters()
        optimizer = getattr(torch.optim, cls.__name__)(params, **options)
        train(optimizer, params, steps=range(2))
        return seen(optimizer)
    finally:
        setattr(torch.optim, cls.__name__, kept)


SCENARIOS = (
    schedulers,
    plateau,
    scaled_gradients,
    optimizer_in_backward,
    averaged_weights,
    models_moved,
    sharded_state,
    put_in_place,
)
