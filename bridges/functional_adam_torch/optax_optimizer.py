"""Any optax transformation as a torch optimizer."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import torch

from .any_optax import _exchange, _optax_state
from .any_optax._optax_group import Group
from .any_optax._optax_step import as_tree
from .any_optax._recipe import Recipe
from .any_optax._special import Special

_GROUP = "group {}"


class OptaxOptimizer(torch.optim.Optimizer):
    """Any optax transformation in torch: `OptaxOptimizer(params, optax.adamw, lr=1e-3)`.

    Each param group is stepped by one jitted function: update, `optax.apply_updates`, and nothing
    of torch in between. Numbers are those of the same functions jitted in JAX.

    Args:
        params: parameters, param groups or named parameters. The transformation and its masks see
            a list of arrays, in the group's order, or, where there are names, a dict by name.
        factory_or_tx: a function that makes the transformation from hyperparameters (`optax.adamw`,
            `functional_adam.adamw`, one of yours), or a ready transformation. Only a factory has
            numbers that can be changed, and can be pickled.
        traced: entries of the groups that are data of the compiled step from the start.
        **hyperparameters: for the factory, by its own names; `lr` is `learning_rate`. Numbers,
            strings, bools and None become entries of the param groups, with the factory's
            defaults; all else (schedules `count -> value`, masks, dtypes) is kept beside them. A
            group may have its own values of all of them.

    A number in a group is a constant of the compiled step, with the digits of a Python double, and
    becomes data once it changes: one compilation more, never one for each value. `lr` is data from
    the start, so torch's schedulers never recompile; 0-d tensors are data as well. An int, bool or
    string that changes is compiled in again.

    Memory: the state, and from 1 MiB on each parameter's last result, whose memory the next takes.

    Kept of torch's contract: param groups with their own hyperparameters, `add_param_group`, named
    parameters, learning rate schedulers (float and 0-d tensor `lr`; momentum where it is called
    `momentum`), closures (the loss reaches `update` as `value`), all hooks, `zero_grad`, deepcopy,
    pickle, `state_dict` and `load_state_dict` (tensors only; `torch.load(weights_only=True)`; every
    misfit is listed by name; dtypes are kept, where torch casts to the parameter's), GradScaler,
    gradients that are None, layouts and views of any kind, complex parameters (with torch's
    gradients, which need no conjugation), updates in place that move version counters.

    Not kept:
        - A group has one count of steps. A parameter whose gradient is None stands still, with all
          state of its own; what the group shares (counts, norms, averages) goes on if any
          parameter of the group has a gradient. State of its own is what stands in a dict by their
          names or, without names, in a list as long as the parameters.
        - What a transformation computes over all parameters (`clip_by_global_norm`) is over the
          group; absent gradients count as zero.
        - State is the group's, not the parameter's: `optimizer.state` is empty, `state_dict` has
          one entry for each group, and checkpoints of torch's own classes do not load. `to_jax`
          gives the state as JAX sees it.
        - `foreach`, `fused`, `capturable`, `differentiable` and `maximize` do not exist; a factory
          may offer the last.
        - What wants a container of its own for parameters (`optax.lookahead`) cannot be stepped.
        - A state is of the dtypes that the parameters have: after `model.bfloat16()` steps go on
          from the old one, but a checkpoint of it does not load. Make a new optimizer.
        - float64, complex128 and int64 need `jax_enable_x64`; without, an error, never narrowing.
        - Sparse gradients, DTensors and meta tensors are refused. The step waits for its result and
          is no part of a `torch.compile` or CUDA graph.

    Raises:
        TypeError: no transformation or factory, or hyperparameters that it does not take.
        ValueError: unknown names in `traced`, a tensor whose elements share memory, or one that is
            given twice; in `step`, two tensors of a group that share memory.
        KeyError: an `lr` is given, asked for or set that nothing would read.

    Reference: https://optax.readthedocs.io/en/latest/api/transformations.html.

    Examples:
        >>> p = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = ft.OptaxOptimizer([p], optax.sgd, lr=0.5)
        >>> p.sum().backward()
        >>> optimizer.step()
        >>> p.data
        tensor([0.5000, 0.5000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        factory_or_tx: Any,
        *,
        traced: Sequence[str] = ("lr",),
        **hyperparameters: Any,
    ) -> None:
        self._recipe = Recipe(factory_or_tx, hyperparameters)
        super().__init__(params, {**self._recipe.defaults, "traced": list(traced)})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, with hyperparameters and a state of its own.

        Args:
            param_group: `params` and hyperparameters that differ from the defaults.

        Raises:
            TypeError: hyperparameters for a ready transformation, or a tensor that is not for JAX.
            ValueError: names of parameters or in `traced` that are not unique or not there.
        """
        recipe = self._recipe
        entries, special = recipe.claim(param_group)
        group = Group(entries, recipe, Special(special), len(self.param_groups))
        super().add_param_group(group)
        for name in special:
            group.pop(recipe.entry(name), None)
        try:
            group.check()
        except (KeyError, TypeError, ValueError):
            self.param_groups.pop()
            raise

    @torch._disable_dynamo
    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None, **extra: Any) -> Any:  # pyright: ignore
        """Take one step and return the closure's loss, if one is given.

        Args:
            closure: re-evaluates the model and returns the loss, run with gradients enabled; a
                scalar loss reaches the transformation as `value`.
            **extra: extra arguments of the transformation's `update`: numbers, tensors and trees
                of them are data; functions, strings and bools are constants of the step.

        Raises:
            TypeError: a tensor that JAX would narrow or cannot take.
            KeyError: an `lr` was set that nothing reads.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
            if "value" not in extra and _is_scalar(loss):
                extra["value"] = _value(loss)
        for group in self._groups:
            group.step(extra)
        return loss

    def to_jax(self, group: int = 0) -> tuple[Any, Any]:
        """Copy a group's parameters and state to JAX, as the transformation sees them.

        For functions of a state, `optax.contrib.schedule_free_eval_params` for one.

        Args:
            group: index of the param group.

        Returns:
            Parameters, a list or a dict by name, and the state; before the first step, None.
        """
        own = self._groups[group]
        leaves = [_exchange.kept(view) for view in own.lent_params()]
        return as_tree(leaves, own.names), jax.tree.map(jnp.copy, own.state)

    def state_dict(self) -> dict[str, Any]:
        """Return `param_groups` as torch does, and the state of each group as named tensors.

        ``state["group 0"]["[0].mu['weight']"]`` is a copy of that leaf of group 0.
        """
        for group in self._groups:
            group.settle()
        stepped = [group for group in self._groups if group.state is not None]
        saved = {_GROUP.format(g.index): _optax_state.save(g.state) for g in stepped}
        self.state.update(saved)  # pyright: ignore
        try:
            return super().state_dict()
        finally:
            for key in saved:
                self.state.pop(key)  # pyright: ignore

    @property
    def _groups(self) -> list[Group]:
        return self.param_groups  # pyright: ignore

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_recipe": self._recipe}

    def __setstate__(self, state: dict[str, Any]) -> None:
        old = self.__dict__.get("param_groups")
        if old is not None:
            state = {**state, **_loaded(old, state)}
        super().__setstate__(state)


def _loaded(old: list[Group], state: dict[str, Any]) -> dict[str, Any]:
    """Groups and states of a state_dict, checked before anything of the optimizer changes."""
    tensors = dict(state["state"])
    groups = []
    for own, entries in zip(old, state["param_groups"], strict=True):
        groups.append(own.loaded(entries, tensors.pop(_GROUP.format(own.index), None)))
    if tensors:
        raise ValueError(
            f"this is not a state_dict of an OptaxOptimizer with {len(old)} groups: its state has "
            f"the keys {[k if isinstance(k, str) else 'of a parameter' for k in tensors][:3]}, "
            f"expected {[_GROUP.format(g.index) for g in old]}"
        )
    return {"param_groups": groups, "state": collections.defaultdict(dict)}


def _value(loss: Any) -> Any:
    """The loss as an argument of `update`."""
    if not isinstance(loss, torch.Tensor):
        return loss
    _exchange.lent(loss, "the closure's loss, the argument value,")  # for its errors
    return loss.reshape(())


def _is_scalar(loss: Any) -> bool:
    if isinstance(loss, torch.Tensor):
        return loss.numel() == 1
    return isinstance(loss, float | int) and not isinstance(loss, bool)
