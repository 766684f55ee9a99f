"""What torch's own schedulers will do from where they are, each in closed form.

A function below is given a scheduler, the index of a parameter group and the learning rate it has
now; the schedule it returns begins with that learning rate.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp

from functional_adam import schedules
from functional_adam.schedules import Schedule


class NoClosedFormError(Exception):
    """Says why a future has to be tabulated."""


def later(schedule: Schedule, steps: int) -> Schedule:
    """Begin a schedule so many steps after its start."""
    return lambda count: schedule(jnp.maximum(jnp.asarray(count), 0) + steps)


def known_of(s: Any, group: int, values: Any, key: Any) -> float:
    """What a scheduler knows of a group; nothing of one that was added after it was made."""
    try:
        return float(values[key])
    except (IndexError, KeyError):
        raise NoClosedFormError(
            f"group {group} was added after {type(s).__name__} was made, which does not know it "
            "and may raise at a later step"
        ) from None


def step(s: Any, group: int, lr: float) -> Schedule:
    into_period = s.last_epoch % s.step_size
    return later(schedules.step_lr(lr, step_size=s.step_size, gamma=s.gamma), into_period)


def multi_step(s: Any, group: int, lr: float) -> Schedule:
    ahead = [m - s.last_epoch for m in s.milestones.elements() if m > s.last_epoch]
    return schedules.multi_step_lr(lr, milestones=ahead, gamma=s.gamma)


def exponential(s: Any, group: int, lr: float) -> Schedule:
    return schedules.exponential_lr(lr, gamma=s.gamma)


def constant(s: Any, group: int, lr: float) -> Schedule:
    ahead = s.total_iters - s.last_epoch
    if ahead <= 0:
        return schedules.constant(lr)
    if s.factor == 0:
        raise NoClosedFormError("ConstantLR with a factor of 0 divides by it at its end")
    return schedules.constant_lr(lr / s.factor, factor=s.factor, total_iters=ahead)


def linear(s: Any, group: int, lr: float) -> Schedule:
    ahead = s.total_iters - s.last_epoch
    if ahead <= 0:
        return schedules.constant(lr)
    factor = (s.start_factor * ahead + s.end_factor * s.last_epoch) / s.total_iters
    return schedules.linear_lr(
        lr / factor, start_factor=factor, end_factor=s.end_factor, total_iters=ahead
    )


def polynomial(s: Any, group: int, lr: float) -> Schedule:
    ahead = s.total_iters - s.last_epoch
    if ahead <= 0:
        return schedules.constant(lr)
    return schedules.polynomial_lr(lr, total_iters=ahead, power=float(s.power))


def cosine(s: Any, group: int, lr: float) -> Schedule:
    """Scale the swing to the learning rate there is; each minimum starts again from the base."""
    base, low, period = known_of(s, group, s.base_lrs, group), float(s.eta_min), 2 * s.T_max
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
        raise NoClosedFormError("CosineAnnealingLR was given a learning rate below its eta_min")
    return schedules.sequential_lr(
        [later(swing(peak), phase), later(swing(base), s.T_max)], milestones=[ahead]
    )


def warm_restarts(s: Any, group: int, lr: float) -> Schedule:
    restarts = 0 if s.T_mult == 1 else round(math.log(s.T_i / s.T_0, s.T_mult))
    start = sum(s.T_0 * s.T_mult**i for i in range(restarts))
    if s.T_cur != int(s.T_cur) or s.T_i != s.T_0 * s.T_mult**restarts:
        raise NoClosedFormError("CosineAnnealingWarmRestarts was stepped to a fraction of a step")
    future = schedules.cosine_annealing_warm_restarts(
        known_of(s, group, s.base_lrs, group), T_0=s.T_0, T_mult=s.T_mult, eta_min=float(s.eta_min)
    )
    return later(future, start + int(s.T_cur))


def cyclic(s: Any, group: int, lr: float) -> Schedule:
    low, high = (known_of(s, group, values, group) for values in (s.base_lrs, s.max_lrs))
    return later(schedules.cyclic_lr(low, high, **cyclic_options(s)), s.last_epoch)


def cyclic_options(s: Any) -> dict[str, Any]:
    if s._scale_fn_custom is not None:
        raise NoClosedFormError("CyclicLR has a scale_fn, a Python function")
    up = round(s.total_size * s.step_ratio)
    if abs(up - s.total_size * s.step_ratio) > 1e-6 or s.total_size != int(s.total_size):
        raise NoClosedFormError("CyclicLR has a step_size that is not whole")
    down = int(s.total_size) - up
    return dict(step_size_up=up, step_size_down=down, mode=s.mode, gamma=float(s.gamma))


def one_cycle(s: Any, group: int, lr: float) -> Schedule:
    own = s.optimizer.param_groups[group]
    keys = "initial_lr", "max_lr", "min_lr"
    initial, peak, final = (known_of(s, group, own, key) for key in keys)
    if final == 0:
        raise NoClosedFormError("OneCycleLR ends at zero")
    future = schedules.one_cycle_lr(
        peak,
        div_factor=peak / initial,
        final_div_factor=initial / final,
        **one_cycle_options(s),
    )
    return later(future, s.last_epoch)


def one_cycle_options(s: Any) -> dict[str, Any]:
    return dict(
        total_steps=s.total_steps,
        pct_start=(s._schedule_phases[0]["end_step"] + 1) / s.total_steps,
        anneal_strategy=s._anneal_func_type,
        three_phase=len(s._schedule_phases) == 3,
    )


def python_function(s: Any, group: int, lr: float) -> Schedule:
    raise NoClosedFormError(f"{type(s).__name__} calls a Python function")
