"""A schedule in torch: a live scheduler on an optimizer of one parameter, stepped."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import lr_scheduler as torch_schedulers

# Arguments that torch has no defaults for; the settings of a case come on top.
RANGES = {"CyclicLR": {"base_lr": 1e-3, "max_lr": 6e-3}, "OneCycleLR": {"max_lr": 6e-3}}


def optimizer(*learning_rates: float, momentum: bool = False) -> torch.optim.Optimizer:
    """Adam, or SGD with momentum, with one parameter in a group of each learning rate."""
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in learning_rates]
    if momentum:
        return torch.optim.SGD(groups, momentum=0.5)
    return torch.optim.Adam(groups)


def make_torch(opt, name: str, settings: dict[str, Any]) -> torch_schedulers.LRScheduler:
    """Make a torch scheduler, and call optimizer.step() as torch wants before scheduler.step()."""
    class_name, _, momentum = name.partition(" ")
    kind = getattr(torch_schedulers, class_name)
    if "parts" in settings:
        parts = [make_torch(opt, part, options) for part, options in settings["parts"]]
        marks = {"milestones": settings["milestones"]} if "milestones" in settings else {}
        made = kind(opt, parts, **marks) if marks else kind(parts, opt)
    elif class_name in RANGES:
        options = {**RANGES[class_name], "cycle_momentum": bool(momentum), **settings}
        made = kind(opt, **options)
    else:
        made = kind(opt, **settings)
    opt.step()
    return made


def run_torch(name: str, lr: float | None, settings: dict[str, Any], steps: int) -> list[float]:
    """The learning rate, or b1, of each of the first updates."""
    opt = optimizer(lr or 1.0)
    scheduler, group = make_torch(opt, name, settings), opt.param_groups[0]
    values = []
    for step in range(steps):
        if step:
            scheduler.step()
        values.append(group["betas"][0] if "momentum" in name else group["lr"])
    return values
