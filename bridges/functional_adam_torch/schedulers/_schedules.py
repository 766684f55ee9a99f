"""A live torch scheduler as a pure schedule: what it will do from where it is.

torch's schedulers step the learning rate from its own last value, so a future depends on two
things: the scheduler's position and the learning rate that the optimizer has now. `_futures` writes
that future in closed form. Where there is none (a Python function, a chain that is
not a product) the future is a table, made by stepping a copy of the scheduler.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from torch.optim import lr_scheduler as torch_schedulers

from functional_adam import schedules
from functional_adam.schedules import Schedule

from ..moving.record import learning_rate_of
from ._any_future import UnknownSchedulerError, future_of
from ._futures import NoClosedFormError, cyclic_options, known_of, later, one_cycle_options


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

    Examples:
        >>> optimizer = ft.Adam([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
        >>> schedule = ft.from_torch(scheduler)
        >>> [float(schedule(t)) for t in range(4)]
        [1.0, 1.0, 0.5, 0.5]
    """
    index = _group_index(scheduler, group)
    now = learning_rate_of(scheduler.optimizer.param_groups[index])
    try:
        future = future_of(scheduler, index, now)
    except NoClosedFormError as reason:
        return _table(
            scheduler, total_steps, reason, lambda groups: learning_rate_of(groups[index])
        )
    # The user may have set a learning rate that the scheduler is going to overwrite.
    return schedules.sequential_lr([schedules.constant(now), later(future, 1)], milestones=[1])


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

    Examples:
        >>> optimizer = ft.Adam([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=10)
        >>> round(float(ft.momentum_from_torch(scheduler)(2)), 3)
        0.85
    """
    index = _group_index(scheduler, group)
    if not getattr(scheduler, "cycle_momentum", True):
        raise ValueError(f"{type(scheduler).__name__} was made with cycle_momentum=False")
    try:
        if type(scheduler) is torch_schedulers.CyclicLR:
            ends = scheduler.base_momentums, scheduler.max_momentums
            low, high = (known_of(scheduler, index, x, index) for x in ends)
            future = schedules.cyclic_momentum(low, high, **cyclic_options(scheduler))
        elif type(scheduler) is torch_schedulers.OneCycleLR:
            own = scheduler.optimizer.param_groups[index]
            keys = "base_momentum", "max_momentum"
            low, high = (known_of(scheduler, index, own, key) for key in keys)
            future = schedules.one_cycle_momentum(low, high, **one_cycle_options(scheduler))
        elif total_steps is None:
            raise TypeError(f"{type(scheduler).__name__} does not cycle a momentum")
        else:
            raise NoClosedFormError(f"{type(scheduler).__name__} does not cycle a momentum itself")
    except NoClosedFormError as reason:
        return _table(scheduler, total_steps, reason, lambda groups: _momentum(groups[index]))
    return later(future, scheduler.last_epoch)


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
    reason: NoClosedFormError,
    read: Callable[[list[dict[str, Any]]], float],
) -> Schedule:
    """Step a copy of the scheduler, on a stub of its optimizer."""
    if total_steps is None:
        kind = TypeError if isinstance(reason, UnknownSchedulerError) else ValueError
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
