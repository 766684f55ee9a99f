"""A live torch scheduler as a pure schedule: what it will do from where it is.

torch's schedulers step the learning rate from its own last value, so a future depends on two
things: the scheduler's position and the learning rate that the optimizer has now. Each function
below writes that future in closed form. Where there is none (a Python function, a chain that is
not a product) the future is a table, made by stepping a copy of the scheduler.
"""

from __future__ import annotations

import copy
import math
from bisect import bisect_right
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
from torch.optim import lr_scheduler as torch_schedulers

from functional_adam import schedules
from functional_adam.schedules import Schedule


class _NoClosedFormError(Exception):
    """Says why a future has to be tabulated."""


def from_torch(
    scheduler: torch_schedulers.LRScheduler,
    *,
    group: int | None = None,
    total_steps: int | None = None,
) -> Schedule:
    """Turn a live torch scheduler into a schedule that goes on from where it is.

    ``schedule(0)`` is the learning rate of the optimizer's next step, ``schedule(k)`` the one
    after k more calls of ``scheduler.step()``. The scheduler and its optimizer are left alone.
    `momentum_from_torch` does the same for the momentum that CyclicLR and OneCycleLR cycle.

    Beyond the end of a OneCycleLR, where torch extrapolates once and then raises, the last value
    of the cycle is held.

    Args:
        scheduler: any class of torch.optim.lr_scheduler but ReduceLROnPlateau, at any position.
        group: index of the parameter group; may be left out where there is one group.
        total_steps: steps to tabulate where the scheduler has no closed form: LambdaLR,
            MultiplicativeLR, a scale_fn of one's own, a subclass of one's own, a ChainedScheduler
            of schedulers that do not only multiply. The last value is held. Not used otherwise.

    Returns:
        The schedule, a pure function of JAX.

    Raises:
        TypeError: not a torch scheduler, ReduceLROnPlateau (a schedule knows no loss; see
            `functional_adam.schedules.reduce_lr_on_plateau`), or an unknown class and no
            `total_steps`.
        ValueError: there is no closed form and no `total_steps`; several groups and no `group`.
    """
    index = _group_index(scheduler, group)
    now = float(scheduler.optimizer.param_groups[index]["lr"])
    try:
        future = _future(scheduler, index, now)
    except _NoClosedFormError as reason:
        return _table(scheduler, total_steps, reason, lambda groups: float(groups[index]["lr"]))
    # The user may have set a learning rate that the scheduler is going to overwrite.
    return schedules.sequential_lr([schedules.constant(now), _later(future, 1)], milestones=[1])


def momentum_from_torch(
    scheduler: torch_schedulers.LRScheduler,
    *,
    group: int | None = None,
    total_steps: int | None = None,
) -> Schedule:
    """Turn the momentum cycled by a live CyclicLR or OneCycleLR into a schedule.

    Args:
        scheduler: one of these two, with ``cycle_momentum=True``.
        group: see `from_torch`.
        total_steps: see there.

    Returns:
        The schedule, from where the scheduler is.

    Raises:
        TypeError: another scheduler and no `total_steps`.
        ValueError: as `from_torch`, or ``cycle_momentum`` is off.
    """
    index = _group_index(scheduler, group)
    if not getattr(scheduler, "cycle_momentum", True):
        raise ValueError(f"{type(scheduler).__name__} was made with cycle_momentum=False")
    try:
        if type(scheduler) is torch_schedulers.CyclicLR:
            low, high = scheduler.base_momentums[index], scheduler.max_momentums[index]
            options = _cyclic_options(scheduler)
            future = schedules.cyclic_momentum(float(low), float(high), **options)
        elif type(scheduler) is torch_schedulers.OneCycleLR:
            own = scheduler.optimizer.param_groups[index]
            low, high = float(own["base_momentum"]), float(own["max_momentum"])
            future = schedules.one_cycle_momentum(low, high, **_one_cycle_options(scheduler))
        elif total_steps is None:
            raise TypeError(f"{type(scheduler).__name__} does not cycle a momentum")
        else:
            raise _NoClosedFormError(f"{type(scheduler).__name__} does not cycle a momentum itself")
    except _NoClosedFormError as reason:
        return _table(scheduler, total_steps, reason, lambda groups: _momentum(groups[index]))
    return _later(future, scheduler.last_epoch)


def _future(scheduler: Any, group: int, lr: float) -> Schedule:
    """Values after 0, 1, ... more steps, beginning with a learning rate of `lr`."""
    find = _FUTURES.get(type(scheduler))
    if find is None:
        name = type(scheduler).__name__
        raise _UnknownSchedulerError(f"{name} is not a class of torch.optim.lr_scheduler")
    return find(scheduler, group, lr)


class _UnknownSchedulerError(_NoClosedFormError):
    """A class that was not written by torch, or is newer than this file."""


def _step(s: Any, group: int, lr: float) -> Schedule:
    into_period = s.last_epoch % s.step_size
    return _later(schedules.step_lr(lr, step_size=s.step_size, gamma=s.gamma), into_period)


def _multi_step(s: Any, group: int, lr: float) -> Schedule:
    ahead = [m - s.last_epoch for m in s.milestones.elements() if m > s.last_epoch]
    return schedules.multi_step_lr(lr, milestones=ahead, gamma=s.gamma)


def _exponential(s: Any, group: int, lr: float) -> Schedule:
    return schedules.exponential_lr(lr, gamma=s.gamma)


def _constant(s: Any, group: int, lr: float) -> Schedule:
    ahead = s.total_iters - s.last_epoch
    if ahead <= 0:
        return schedules.constant(lr)
    if s.factor == 0:
        raise _NoClosedFormError("ConstantLR with a factor of 0 divides by it at its end")
    return schedules.constant_lr(lr / s.factor, factor=s.factor, total_iters=ahead)


def _linear(s: Any, group: int, lr: float) -> Schedule:
    ahead = s.total_iters - s.last_epoch
    if ahead <= 0:
        return schedules.constant(lr)
    factor = (s.start_factor * ahead + s.end_factor * s.last_epoch) / s.total_iters
    return schedules.linear_lr(
        lr / factor, start_factor=factor, end_factor=s.end_factor, total_iters=ahead
    )


def _polynomial(s: Any, group: int, lr: float) -> Schedule:
    ahead = s.total_iters - s.last_epoch
    if ahead <= 0:
        return schedules.constant(lr)
    return schedules.polynomial_lr(lr, total_iters=ahead, power=float(s.power))


def _cosine(s: Any, group: int, lr: float) -> Schedule:
    """Scale the swing to the learning rate there is; each minimum starts again from the base."""
    base, low, period = float(s.base_lrs[group]), float(s.eta_min), 2 * s.T_max
    phase = s.last_epoch % period
    if phase == s.T_max:
        # torch adds the first rise to what is left at the minimum.
        peak, ahead = base + (lr - low) / math.sin(math.pi / period) ** 2, period
    else:
        height = math.sin(math.pi * abs(s.T_max - phase) / period) ** 2
        peak, ahead = low + (lr - low) / height, (s.T_max - phase) % period

    def swing(top: float) -> Schedule:
        return schedules.cosine_annealing_lr(top, T_max=s.T_max, eta_min=low)

    if peak < 0:
        raise _NoClosedFormError("CosineAnnealingLR was given a learning rate below its eta_min")
    return schedules.sequential_lr(
        [_later(swing(peak), phase), _later(swing(base), s.T_max)], milestones=[ahead]
    )


def _warm_restarts(s: Any, group: int, lr: float) -> Schedule:
    restarts = 0 if s.T_mult == 1 else round(math.log(s.T_i / s.T_0, s.T_mult))
    start = sum(s.T_0 * s.T_mult**i for i in range(restarts))
    if s.T_cur != int(s.T_cur) or s.T_i != s.T_0 * s.T_mult**restarts:
        raise _NoClosedFormError("CosineAnnealingWarmRestarts was stepped to a fraction of a step")
    future = schedules.cosine_annealing_warm_restarts(
        float(s.base_lrs[group]), T_0=s.T_0, T_mult=s.T_mult, eta_min=float(s.eta_min)
    )
    return _later(future, start + int(s.T_cur))


def _cyclic(s: Any, group: int, lr: float) -> Schedule:
    low, high = float(s.base_lrs[group]), float(s.max_lrs[group])
    return _later(schedules.cyclic_lr(low, high, **_cyclic_options(s)), s.last_epoch)


def _cyclic_options(s: Any) -> dict[str, Any]:
    if s._scale_fn_custom is not None:
        raise _NoClosedFormError("CyclicLR has a scale_fn, a Python function")
    up = round(s.total_size * s.step_ratio)
    if abs(up - s.total_size * s.step_ratio) > 1e-6 or s.total_size != int(s.total_size):
        raise _NoClosedFormError("CyclicLR has a step_size that is not whole")
    down = int(s.total_size) - up
    return dict(step_size_up=up, step_size_down=down, mode=s.mode, gamma=float(s.gamma))


def _one_cycle(s: Any, group: int, lr: float) -> Schedule:
    own = s.optimizer.param_groups[group]
    initial, peak, final = float(own["initial_lr"]), float(own["max_lr"]), float(own["min_lr"])
    if final == 0:
        raise _NoClosedFormError("OneCycleLR ends at zero")
    future = schedules.one_cycle_lr(
        peak,
        div_factor=peak / initial,
        final_div_factor=initial / final,
        **_one_cycle_options(s),
    )
    return _later(future, s.last_epoch)


def _one_cycle_options(s: Any) -> dict[str, Any]:
    return dict(
        total_steps=s.total_steps,
        pct_start=(s._schedule_phases[0]["end_step"] + 1) / s.total_steps,
        anneal_strategy=s._anneal_func_type,
        three_phase=len(s._schedule_phases) == 3,
    )


def _sequential(s: Any, group: int, lr: float) -> Schedule:
    at = bisect_right(s._milestones, s.last_epoch)
    pieces = [_future(s._schedulers[at], group, lr)]
    pieces += [_fresh(child, group) for child in s._schedulers[at + 1 :]]
    starts = [milestone - s.last_epoch for milestone in s._milestones[at:]]
    return schedules.sequential_lr(pieces, milestones=starts)


def _fresh(scheduler: Any, group: int) -> Schedule:
    """What a scheduler does when SequentialLR comes to it: torch has it begin at its own base."""
    if hasattr(scheduler, "_schedulers"):
        raise _NoClosedFormError(
            f"torch cannot begin a {type(scheduler).__name__} within a SequentialLR"
        )
    probe = copy.copy(scheduler)
    probe.last_epoch = 0
    begins_at_base = hasattr(probe, "_get_closed_form_lr")
    lr = probe._get_closed_form_lr()[group] if begins_at_base else 0.0
    return _future(probe, group, float(lr))


def _chained(s: Any, group: int, lr: float) -> Schedule:
    if len(s._schedulers) == 1:
        return _future(s._schedulers[0], group, lr)
    if not all(_only_multiplies(child) for child in s._schedulers):
        raise _NoClosedFormError("ChainedScheduler of schedulers that do not only multiply")
    factors = [_future(child, group, 1.0) for child in s._schedulers]
    return schedules.chained_lr(lr, factors=factors)


def _only_multiplies(scheduler: Any) -> bool:
    if type(scheduler) is torch_schedulers.ChainedScheduler:
        return all(_only_multiplies(child) for child in scheduler._schedulers)
    return _FUTURES.get(type(scheduler)) in _MULTIPLYING


def _python_function(s: Any, group: int, lr: float) -> Schedule:
    raise _NoClosedFormError(f"{type(s).__name__} calls a Python function")


_MULTIPLYING = (_step, _multi_step, _exponential, _constant, _linear, _polynomial)
_FUTURES: dict[type, Callable[[Any, int, float], Schedule]] = {
    torch_schedulers.LambdaLR: _python_function,
    torch_schedulers.MultiplicativeLR: _python_function,
    torch_schedulers.StepLR: _step,
    torch_schedulers.MultiStepLR: _multi_step,
    torch_schedulers.ConstantLR: _constant,
    torch_schedulers.LinearLR: _linear,
    torch_schedulers.ExponentialLR: _exponential,
    torch_schedulers.PolynomialLR: _polynomial,
    torch_schedulers.CosineAnnealingLR: _cosine,
    torch_schedulers.CosineAnnealingWarmRestarts: _warm_restarts,
    torch_schedulers.CyclicLR: _cyclic,
    torch_schedulers.OneCycleLR: _one_cycle,
    torch_schedulers.SequentialLR: _sequential,
    torch_schedulers.ChainedScheduler: _chained,
}


def _later(schedule: Schedule, steps: int) -> Schedule:
    return lambda count: schedule(jnp.maximum(jnp.asarray(count), 0) + steps)


def _group_index(scheduler: Any, group: int | None) -> int:
    if isinstance(scheduler, torch_schedulers.ReduceLROnPlateau):
        raise TypeError(
            "ReduceLROnPlateau depends on losses that are not known yet: use the transformation "
            "functional_adam.schedules.reduce_lr_on_plateau"
        )
    if not isinstance(scheduler, torch_schedulers.LRScheduler):
        raise TypeError(f"scheduler must be a torch scheduler, got {scheduler!r}")
    count = len(scheduler.optimizer.param_groups)
    if group is None and count > 1:
        raise ValueError(f"the optimizer has {count} parameter groups: pass group=0..{count - 1}")
    if not 0 <= (group or 0) < count:
        raise ValueError(f"group must be in [0, {count - 1}], got {group}")
    return group or 0


def _table(
    scheduler: Any,
    total_steps: int | None,
    reason: _NoClosedFormError,
    read: Callable[[list[dict[str, Any]]], float],
) -> Schedule:
    """Step a copy of the scheduler, on a stub of its optimizer."""
    if total_steps is None:
        kind = TypeError if isinstance(reason, _UnknownSchedulerError) else ValueError
        raise kind(f"{reason}: pass total_steps=N to tabulate its next N steps") from reason
    if not isinstance(total_steps, int) or total_steps < 1:
        raise ValueError(f"total_steps must be an integer >= 1, got {total_steps!r}")

    def stepped() -> None:
        """Stand in for optimizer.step, which torch wants to have been called."""

    stepped._wrapped_by_lr_sched = True  # pyright: ignore[reportFunctionMemberAccess]
    optimizer = scheduler.optimizer
    groups = [
        {key: copy.copy(value) for key, value in own.items() if key != "params"}
        for own in optimizer.param_groups
    ]
    stub = SimpleNamespace(param_groups=groups, step=stepped, _opt_called=True)
    twin = copy.deepcopy(scheduler, {id(optimizer): stub})
    values = [read(groups)]
    for _ in range(total_steps):
        twin.step()
        values.append(read(groups))
    return schedules.tabulated(values)


def _momentum(group: dict[str, Any]) -> float:
    return float(group["betas"][0] if "betas" in group else group["momentum"])
