"""From a live torch optimizer to JAX: the transformation, the parameters and the state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch.optim import Optimizer, lr_scheduler

from functional_adam import ALGORITHMS

from ..schedulers._schedules import from_torch, momentum_from_torch
from . import _in_jax
from ._layouts import Layout, permutations
from ._parameters import Names, Paths, dotted_paths, group_of, groups_of, is_frozen, named
from ._tensors import to_array
from .record import Record, permuted, renamed
from .state_entries import read_entry


class InJax(NamedTuple):
    """A run, to go on with in JAX."""

    transformation: Any  # optax.GradientTransformationExtraArgs
    params: Any  # tree of jax.Array in torch's dtypes
    state: Any  # of the transformation, at torch's step


def to_jax(
    optimizer: Optimizer,
    names: Names = None,
    *,
    paths: Paths = None,
    layout: Layout = None,
    like: Any = None,
    scheduler: lr_scheduler.LRScheduler | None = None,
    total_steps: int | None = None,
) -> InJax:
    """Take a run from torch to JAX in the middle of training, without loss.

    One group whose parameters are all at the same step becomes the plain transformation.
    Otherwise it is an `optax.partition` with the labels ``group0``, ``group1``, ... ; torch counts
    each parameter's steps and JAX those of a transformation, so parameters of one group at
    different steps (a missing gradient held one up) are parted further, ``group0_0``, ``group0_1``,
    fewest steps first. Those that never had a gradient are at step 0. Parameters in `names` that
    the optimizer does not have, or that have `requires_grad=False` and no gradient, are frozen:
    label ``frozen``, zero updates. What torch's optimizer has kept of them stays there.

    Everything is copied: neither side sees what the other does later. Buffers (the running
    averages of a batch normalisation) are no parameters: carry them over yourself.

    Args:
        optimizer: Adam, AdamW, NAdam, RAdam or Adamax of torch.optim, or any class of ours; left
            alone.
        names: ``model.named_parameters()``; a shared parameter is one leaf, under its first name.
        paths: torch's name -> path in the tree of parameters, keys with dots between or a sequence
            of them; default torch's own name, so that ``layers.0.weight`` is
            ``params["layers"]["0"]["weight"]``.
        layout: `jax_layout(model)`, or another mapping from torch's name to the order that its
            axes get, or a function of name and shape to that or None; moments follow.
        like: a tree with the structure wanted for the parameters; None: nested dicts.
        scheduler: of this optimizer: the learning rate becomes its schedule, and b1 too where it
            cycles the momentum, from where it stands.
        total_steps: see `from_torch`.

    Returns:
        `InJax`: transformation, parameters, state. Moments keep their dtype, or their bits where
        the group has `moments` or `master_bits`: the transformation then is of these `moments`,
        inside of `with_master`, and 8-bit codes go over as they are (encoded anew where a layout
        moves the last axis, which has their blocks).

    Raises:
        TypeError: another optimizer; float64 while x64 is off; sharded or sparse tensors.
        ValueError: a name is missing, unknown or used twice; a layout is no permutation; state
            of another algorithm; `like` has other leaves.

    Examples:
        >>> model = torch.nn.Linear(3, 2)
        >>> optimizer = ft.AdamW(model.parameters(), lr=1e-3)
        >>> model(torch.ones(4, 3)).sum().backward()
        >>> optimizer.step()
        >>> tx, params, state = ft.to_jax(optimizer, model.named_parameters())
        >>> sorted(params), params["weight"].shape
        (['bias', 'weight'], (2, 3))
    """
    record, aliases = read_optimizer(optimizer, names)
    shapes = {name: x.shape for name, x in record.values.items()}
    record = permuted(record, permutations(layout, shapes, aliases))
    record = renamed(record, dotted_paths(paths, {*shapes, *aliases}))
    rates = None
    if scheduler is not None:
        if scheduler.optimizer is not optimizer:
            raise ValueError("scheduler must be one of this optimizer")
        rates = _rates(scheduler, total_steps)
    tx = _in_jax.transformation(record, rates, like)
    state = _in_jax.state(record, tx, like)
    params = _in_jax.arrange(record.values, like)
    return InJax(tx, *_in_jax.in_jax_arrays((params, state)))


def read_optimizer(optimizer: Optimizer, names: Names) -> tuple[Record, dict[str, str]]:
    """Read a live optimizer, and the further names of shared parameters."""
    parameters, aliases = named(optimizer, names)
    members, groups = group_of(optimizer), groups_of(optimizer)
    order = sorted(
        (name for name, p in parameters.items() if id(p) in members and not is_frozen(p)),
        key=lambda name: members[id(parameters[name])],
    )
    leaves = {}
    for name in order:
        p = parameters[name]
        index = members[id(p)]
        algorithm = ALGORITHMS[groups[index].algorithm]
        leaves[name] = read_entry(optimizer.state.get(p, {}), algorithm, index, name)
    values = {name: to_array(p, name) for name, p in parameters.items()}
    return Record(tuple(groups), leaves, values), aliases


def _rates(scheduler: lr_scheduler.LRScheduler, total_steps: int | None) -> _in_jax.Rates:
    def rates(group: int, start: int) -> Mapping[str, Any]:
        options = dict(group=group, total_steps=total_steps)
        found = {"learning_rate": _from(start, from_torch(scheduler, **options))}
        if getattr(scheduler, "cycle_momentum", False):
            found["b1"] = _from(start, momentum_from_torch(scheduler, **options))
        return found

    return rates


def _from(start: int, schedule: Any) -> Any:
    """Torch's schedule begins now, where the transformation has counted `start` steps."""
    return lambda count: schedule(count - start)
