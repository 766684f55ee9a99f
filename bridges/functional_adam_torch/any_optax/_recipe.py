"""How a transformation is made: a factory, its hyperparameters, and which of them are data.

Group entries are torch's side, with `lr`; the factory's arguments are optax's, `learning_rate`.
"""

from __future__ import annotations

import functools
import inspect
import numbers
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import optax
import torch
from torch.optim.optimizer import required

import functional_adam as fa

from ._exchange import x64_enabled
from ._special import Special, require_picklable

_ADVICE = "Give the factory and its hyperparameters: OptaxOptimizer(params, optax.adamw, lr=1e-3)"


class Recipe:
    """A factory (or a ready transformation) and the hyperparameters it was given.

    Attributes:
        defaults: group entry -> number, string, None, or torch's `required`.
        special: argument -> default of any other kind: schedules, masks, dtypes.
    """

    def __init__(self, factory_or_tx: Any, hyperparameters: Mapping[str, Any]) -> None:
        self.ready = _is_transformation(factory_or_tx)
        self._make = factory_or_tx
        if self.ready and hyperparameters:
            raise TypeError(
                f"a ready transformation takes no hyperparameters, got {sorted(hyperparameters)}. "
                + _ADVICE
            )
        if not (self.ready or callable(factory_or_tx)):
            raise TypeError(
                "factory_or_tx must be an optax.GradientTransformation or a function that makes "
                f"one, got {factory_or_tx!r}"
            )
        known = {} if self.ready else self._signature()
        self._has_lr_argument = "lr" in known
        given = {self.argument(name): value for name, value in hyperparameters.items()}
        if len(given) != len(hyperparameters):
            raise TypeError("lr and learning_rate are the same hyperparameter: give one of them")
        if not self._takes_any and not given.keys() <= known.keys():
            raise TypeError(
                f"{self.name} does not take {sorted(given.keys() - known.keys())}; it takes "
                f"{['lr' if name == 'learning_rate' else name for name in known]}"
            )
        self._arguments = list({**known, **given})
        plain, special = self._split({**known, **given})
        self.special = Special(special)
        self.defaults = {self.entry(name): value for name, value in plain.items()}

    def _signature(self) -> dict[str, Any]:
        parameters = inspect.signature(self._make).parameters.values()
        if any(p.kind is p.POSITIONAL_ONLY for p in parameters):
            raise TypeError(f"{self.name} must take its hyperparameters by name")
        return {
            p.name: required if p.default is p.empty else p.default
            for p in parameters
            if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        }

    @property
    def _takes_any(self) -> bool:
        if self.ready:
            return False
        parameters = inspect.signature(self._make).parameters.values()
        return any(p.kind is p.VAR_KEYWORD for p in parameters)

    @property
    def name(self) -> str:
        """What to call it in errors."""
        make = self._make.func if isinstance(self._make, functools.partial) else self._make
        return getattr(make, "__name__", type(make).__name__)

    def argument(self, entry: str) -> str:
        """The factory's argument of a group entry."""
        return "learning_rate" if entry == "lr" and not self._has_lr_argument else entry

    def entry(self, argument: str) -> str:
        """The group entry of an argument of the factory."""
        return "lr" if argument == "learning_rate" else argument

    def entries(self, special: Mapping[str, Any]) -> list[str]:
        """The group entries that are hyperparameters, where `special` ones are none."""
        return [self.entry(name) for name in self._arguments if name not in special]

    def _split(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Part arguments into those that live in the group and all others."""
        values = {name: _number(value) for name, value in values.items()}
        plain = {name: value for name, value in values.items() if _is_plain(value)}
        return plain, {name: value for name, value in values.items() if name not in plain}

    def claim(self, group: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Part a user's group into entries and special arguments, the defaults among them."""
        entries, special = {}, dict(self.special)
        for key, value in group.items():
            name, value = self.argument(key), _number(value)
            if name not in self._arguments:
                entries[key] = value
            elif self.entry(name) != key and self.entry(name) in group:
                raise TypeError(f"a param group has both {self.entry(name)} and {key}: give one")
            elif _is_plain(value):
                special.pop(name, None)
                entries[self.entry(name)] = value
            else:
                special[name] = value
        return entries, special

    def no_lr(self) -> str:
        """Why a group has no `lr`, and what to do."""
        if self.ready:
            return f"a ready transformation has no lr that could be set or scheduled. {_ADVICE}"
        if "learning_rate" in self.special:
            return (
                f"{self.name} was given a schedule as learning_rate, so there is no lr to set: "
                "give a number to use a torch scheduler"
            )
        return f"{self.name} has no argument learning_rate, so there is no lr to set or schedule"

    def make(self, values: Mapping[str, Any], data: Mapping[str, Any]) -> Any:
        """Make the transformation, of constants and of (traced) data."""
        if self.ready:
            return optax.with_extra_args_support(self._make)
        try:
            tx = self._make(**values, **data)
        except jax.errors.ConcretizationTypeError as error:
            raise TypeError(
                f"{self.name} looks at the value of a hyperparameter that is data of the compiled "
                f"step ({', '.join(map(self.entry, data))}). Numbers that never change are "
                "constants; leave out of `traced` what the factory must see, and do not change it"
            ) from error
        if not _is_transformation(tx):
            raise TypeError(f"{self.name} must return an optax.GradientTransformation, got {tx!r}")
        return optax.with_extra_args_support(tx)

    def as_data(self, value: Any) -> Any:
        """A hyperparameter as an argument of the compiled step, with the digits it can keep.

        A Python float is weakly typed data: it meets arrays of any dtype as a constant would.
        functional_adam's own factories take all digits of a double.
        """
        value = float_of(value)
        exact = _unwrap(self._make) in _OWN and not x64_enabled()
        return fa.two_float(value) if exact else value

    def __deepcopy__(self, memo: Any) -> Recipe:
        return self

    def __getstate__(self) -> dict[str, Any]:
        what = "a ready transformation is made of inner functions and"
        require_picklable(self._make, what if self.ready else f"the factory {self.name}", _ADVICE)
        return self.__dict__


def float_of(value: Any) -> Any:
    """A number, a 0-d tensor or a tuple of numbers as Python floats."""
    return tuple(map(float, value)) if isinstance(value, tuple) else float(value)


_OWN = {make for row in fa.ALGORITHMS.values() for make in (row.make, row.scale)}


def _unwrap(make: Callable[..., Any]) -> Any:
    return make.func if isinstance(make, functools.partial) else make


def _is_transformation(x: Any) -> bool:
    return isinstance(x, optax.GradientTransformation) or (
        hasattr(x, "init") and hasattr(x, "update") and not isinstance(x, type)
    )


def _number(value: Any) -> Any:
    """Scalars of NumPy and JAX as Python's; all else as it is."""
    if isinstance(value, np.generic | np.ndarray | jax.Array) and value.shape == ():
        is_key = jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)
        return value if is_key else value.item()
    if isinstance(value, numbers.Real) and not isinstance(value, bool | int | float):
        return float(value)
    return value


def _is_plain(value: Any) -> bool:
    if type(value) is tuple:
        return all(isinstance(x, bool | int | float) for x in value)
    if isinstance(value, torch.Tensor):
        return value.ndim == 0
    return value is None or value is required or isinstance(value, bool | int | float | str)
