"""What any scheduler of torch will do: the table of classes, and those made of other schedulers."""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from torch.optim import lr_scheduler as torch_schedulers

from functional_adam import schedules
from functional_adam.schedules import Schedule

from . import _futures
from ._futures import NoClosedFormError


class UnknownSchedulerError(NoClosedFormError):
    """A class that was not written by torch, or is newer than this file."""


def future_of(scheduler: Any, group: int, lr: float) -> Schedule:
    """Values after 0, 1, ... more steps, beginning with a learning rate of `lr`."""
    find = _FUTURES.get(type(scheduler))
    if find is None:
        name = type(scheduler).__name__
        raise UnknownSchedulerError(f"{name} is not a class of torch.optim.lr_scheduler")
    return find(scheduler, group, lr)


def _sequential(s: Any, group: int, lr: float) -> Schedule:
    at = bisect_right(s._milestones, s.last_epoch)
    pieces = [future_of(s._schedulers[at], group, lr)]
    pieces += [_fresh(child, group) for child in s._schedulers[at + 1 :]]
    starts = [milestone - s.last_epoch for milestone in s._milestones[at:]]
    return schedules.sequential_lr(pieces, milestones=starts)


def _fresh(scheduler: Any, group: int) -> Schedule:
    """What a scheduler does when SequentialLR comes to it: torch has it begin at its own base."""
    if hasattr(scheduler, "_schedulers"):
        raise NoClosedFormError(
            f"torch cannot begin a {type(scheduler).__name__} within a SequentialLR"
        )
    probe = copy.copy(scheduler)
    probe.last_epoch = 0
    begins_at_base = hasattr(probe, "_get_closed_form_lr")
    lr = probe._get_closed_form_lr()[group] if begins_at_base else 0.0
    return future_of(probe, group, float(lr))


def _chained(s: Any, group: int, lr: float) -> Schedule:
    if len(s._schedulers) == 1:
        return future_of(s._schedulers[0], group, lr)
    if not all(_only_multiplies(child) for child in s._schedulers):
        raise NoClosedFormError("ChainedScheduler of schedulers that do not only multiply")
    factors = [future_of(child, group, 1.0) for child in s._schedulers]
    return schedules.chained_lr(lr, factors=factors)


def _only_multiplies(scheduler: Any) -> bool:
    if type(scheduler) is torch_schedulers.ChainedScheduler:
        return all(_only_multiplies(child) for child in scheduler._schedulers)
    return _FUTURES.get(type(scheduler)) in _MULTIPLYING


_MULTIPLYING = (
    _futures.step,
    _futures.multi_step,
    _futures.exponential,
    _futures.constant,
    _futures.linear,
    _futures.polynomial,
)
_FUTURES: dict[type, Callable[[Any, int, float], Schedule]] = {
    torch_schedulers.LambdaLR: _futures.python_function,
    torch_schedulers.MultiplicativeLR: _futures.python_function,
    torch_schedulers.StepLR: _futures.step,
    torch_schedulers.MultiStepLR: _futures.multi_step,
    torch_schedulers.ConstantLR: _futures.constant,
    torch_schedulers.LinearLR: _futures.linear,
    torch_schedulers.ExponentialLR: _futures.exponential,
    torch_schedulers.PolynomialLR: _futures.polynomial,
    torch_schedulers.CosineAnnealingLR: _futures.cosine,
    torch_schedulers.CosineAnnealingWarmRestarts: _futures.warm_restarts,
    torch_schedulers.CyclicLR: _futures.cyclic,
    torch_schedulers.OneCycleLR: _futures.one_cycle,
    torch_schedulers.SequentialLR: _sequential,
    torch_schedulers.ChainedScheduler: _chained,
}
