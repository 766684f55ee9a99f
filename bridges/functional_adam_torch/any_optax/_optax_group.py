"""A param group of `OptaxOptimizer`: what torch sees as a dict, and what it must not see."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from torch import Tensor

from . import _exchange, _optax_state
from ._extra import Extra
from ._optax_step import as_tree, compiled_step, strong
from ._recipe import Recipe, float_of
from ._special import Special

# Memory of results from this size on is used again: fresh pages cost more than the computation.
_SPARE = 1 << 20


class NoLearningRateError(KeyError):
    """An `lr` that nothing would read was asked for or set."""

    def __str__(self) -> str:
        return str(self.args[0])


class Group(dict):
    """A param group; its state, its programs and what is no number are attributes, not entries.

    Attributes:
        recipe: how its transformation is made.
        special: arguments of the factory that are no entries of the dict.
        index: position in the optimizer, for names in errors.
        state: the transformation's state, or None before the first step.
        constants: entry -> number that is part of the compiled step.
    """

    def __init__(
        self, entries: Mapping[str, Any], recipe: Recipe, special: Special, index: int
    ) -> None:
        super().__init__(entries)
        self.recipe = recipe
        self.special = special
        self.index = index
        self.state: Any = None
        self.constants: dict[str, Any] = {}
        self._labels: list[str] = []
        self._addresses: list[int] = []
        self._programs: dict[Any, Any] = {}
        self._spare: list[jax.Array] = []

    def __missing__(self, key: str) -> Any:
        raise NoLearningRateError(self.recipe.no_lr()) if key == "lr" else KeyError(key)

    def __setitem__(self, key: str, value: Any) -> None:
        if key == "lr" and key not in self:
            raise NoLearningRateError(self.recipe.no_lr())
        super().__setitem__(key, value)

    def __reduce__(self) -> Any:
        self.settle()
        return (
            _restore,
            (dict(self), self.recipe, self.special, self.index),
            {"state": self.state},
        )

    @property
    def names(self) -> list[str] | None:
        """Names of the parameters, if the optimizer was given any."""
        return self.get("param_names")

    def check(self) -> None:
        """Raise where the group cannot be stepped, whatever its gradients will be."""
        known = self.recipe.entries(self.special)
        if "lr" in self and "lr" not in known:
            raise NoLearningRateError(self.recipe.no_lr())
        unknown = [entry for entry in self["traced"] if entry not in {*known, "lr"}]
        if unknown:
            raise ValueError(f"traced names {unknown}, the group has {known}")
        names = self.names or []
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"the name {twice!r} stands for two parameters of group {self.index}")
        first: dict[int, str] = {}
        for p, label in zip(self["params"], self._labelled(), strict=True):
            if first.setdefault(id(p), label) != label:
                raise ValueError(f"{label} is {first[id(p)]}: give each parameter once")
            _exchange.check_kind(p, label)
            _exchange.check_memory(p, label)

    def loaded(self, entries: dict[str, Any], tensors: Mapping[str, Tensor] | None) -> Group:
        """The same group with the entries and the state of a state_dict.

        Raises:
            ValueError: they do not fit; the message names what is missing or different.
        """
        missing = {"traced", *self.recipe.entries(self.special)} - entries.keys()
        if missing:
            raise ValueError(f"group {self.index} of the state_dict lacks {sorted(missing)}")
        names = entries.get("param_names")
        if self.names and names and {*names} == {*self.names} and [*names] != [*self.names]:
            raise ValueError(
                f"group {self.index} of the state_dict holds {', '.join(names)} in this order, the "
                f"optimizer {', '.join(self.names)}: give it the parameters in the same one"
            )
        group = Group(entries, self.recipe, self.special, self.index)
        group._programs = self._programs if group.names == self.names else {}
        if tensors is not None:
            group.state = _optax_state.load(group.structure(), tensors, f"group {self.index}")
        return group

    def step(self, extra: Mapping[str, Any]) -> None:
        """Step every parameter that has a gradient; without any, nothing happens."""
        params: list[Tensor] = self["params"]
        grads = [p.grad for p in params]
        missing = sum(g is None for g in grads)
        if missing == len(params):
            return
        if "lr" in self and "lr" not in self.recipe.entries(self.special):
            raise NoLearningRateError(self.recipe.no_lr())
        views = self.lent_params()
        addresses = list(map(Tensor.data_ptr, params))
        if addresses != self._addresses:  # they may be tied at any time
            _exchange.check_apart(params, views, self._labels)
            self._addresses = addresses
        arguments = [
            view if g is None else _exchange.lent(g, label, "the gradient of ")
            for g, view, label in zip(grads, views, self._labels, strict=True)
        ]
        present = np.array([g is not None for g in grads]) if missing else None
        constants, data = self._hyperparameters()
        call = Extra.split(extra)
        with _exchange.device_of(params[0]):
            if self.state is None:
                # A state may hold what it was given, even twice: each leaf gets its own memory.
                state = self._init([_exchange.kept(view) for view in views], constants, data)
                self.state = jax.tree.map(_exchange.kept, state)
            key = (tuple(constants.items()), tuple(data), call.form)
            if key not in self._programs:
                self._check_structure()
                build = functools.partial(self.recipe.make, self.special | constants)
                self._programs[key] = compiled_step(build, self.names, call.rebuild)
            spare, self._spare = self._spare if _fit(self._spare, views) else [], []
            values = {name: self.recipe.as_data(value) for name, value in data.items()}
            self.state, new = self._programs[key](
                views, arguments, self.state, present, values, call.traced, spare
            )
        _exchange.returned((new, self.state))
        _exchange.write(params, views, new)
        self._spare = [x for x, v in zip(new, views, strict=True) if v.nbytes >= _SPARE]

    def settle(self) -> None:
        """Note which numbers have changed since the first step: a copy treats them as this does."""
        if self.state is not None:
            self._hyperparameters()

    def _check_structure(self) -> None:
        """Raise where options that were changed need another state."""
        if jax.tree.structure(self.structure()) != jax.tree.structure(self.state):
            raise ValueError(
                f"the state of group {self.index} is not one of {self.recipe.name} with the options"
                " it has now: an option that shapes the state was changed; make a new optimizer"
            )

    def structure(self) -> Any:
        """Shapes and dtypes of the state that the first step would make."""
        with _exchange.device_of(self["params"][0]):
            constants, data = self._hyperparameters()
            init = functools.partial(self._init, constants=constants, data=data)
            return jax.eval_shape(init, self.lent_params())

    def lent_params(self) -> list[Any]:
        """Every parameter, lent to JAX."""
        pairs = zip(self["params"], self._labelled(), strict=True)
        return [_exchange.lent(p, label) for p, label in pairs]

    def _labelled(self) -> list[str]:
        """What errors call the parameters."""
        count = len(self["params"])
        if len(self._labels) != count:
            plain = [f"params[{i}] of group {self.index}" for i in range(count)]
            self._labels = self.names or plain
        return self._labels

    def _init(self, leaves, constants, data):
        values = {name: float_of(value) for name, value in data.items()}
        tx = self.recipe.make(self.special | constants, values)
        return jax.tree.map(strong, tx.init(as_tree(leaves, self.names)))

    def _hyperparameters(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Arguments of the factory: constants, and data. A number that changes becomes data."""
        constants, data = {}, {}
        for entry in self.recipe.entries(self.special):
            value = self[entry]
            first = self.constants.setdefault(entry, value)
            if entry not in self["traced"] and _becomes_data(first, value):
                self["traced"] = [*self["traced"], entry]
            kind = data if entry in self["traced"] and value is not None else constants
            kind[self.recipe.argument(entry)] = value
        return constants, data


def _restore(*arguments: Any) -> Group:
    return Group(*arguments)


def _becomes_data(first: Any, value: Any) -> bool:
    if isinstance(value, Tensor):
        return True
    first = first.item() if isinstance(first, Tensor) else first
    some_float = any(isinstance(x, float) for y in (first, value) for x in _flat(y))
    return some_float and None not in (first, value) and first != value


def _flat(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def _fit(spare: list[jax.Array], views: list[Any]) -> bool:
    forms = [(v.shape, v.dtype) for v in views if v.nbytes >= _SPARE]
    return forms == [(x.shape, x.dtype) for x in spare]
