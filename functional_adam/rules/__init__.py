"""The table: every algorithm with its rule, its names and its twins in other frameworks.

Parity, conversion, tuning, benchmark and documentation read it. A new algorithm is one new file
beside this one, one row here and one import in the package's `__init__`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from .._check import is_decay_rate
from .._leaf import Decay
from .._leaf import Rule as Rule
from .._lift import lift as lift
from ..dialects import Dialect
from .adabelief import ADABELIEF, adabelief, scale_by_adabelief
from .adam import ADAM, adam, scale_by_adam
from .adamax import ADAMAX, adamax, scale_by_adamax
from .adamw import adamw
from .ademamix import ADEMAMIX, ademamix, scale_by_ademamix
from .adopt import ADOPT, adopt, scale_by_adopt
from .amsgrad import AMSGRAD, amsgrad, amsgradw, scale_by_amsgrad
from .laprop import LAPROP, laprop, scale_by_laprop
from .lion import LION, lion, scale_by_lion
from .nadam import NADAM, nadam, nadamw, scale_by_nadam
from .radam import RADAM, radam, radamw, scale_by_radam


@dataclasses.dataclass(frozen=True)
class Twin:
    """The same algorithm in another framework: its name there and the options that select it.

    Attributes:
        name: class in `torch.optim` or `keras.optimizers`, or function in `optax`, whose module
            may stand before it with a dot.
        options: keyword arguments that make it this algorithm.
        same: whether it is this formula; False where it needs that framework's dialect.
        also: its argument -> ours, of a number that it asks for twice.
        decays: whether it has an argument `weight_decay`, where ours decouples decay.
        fields: our state field -> its own, where they differ.
        state: name of its state in optax.
        counts: fields of that state that are its count once more.
    """

    name: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    same: bool = True
    also: Mapping[str, str] = dataclasses.field(default_factory=dict)
    decays: bool = True
    fields: Mapping[str, str] = dataclasses.field(default_factory=dict)
    state: str = "ScaleByAdamState"
    counts: tuple[str, ...] = ()

    def of(self, module: Any) -> Any:
        """The class or function, of the package it is in."""
        return functools.reduce(getattr, self.name.split("."), module)

    def arguments(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Its keyword arguments: these values, numbers it asks for twice, and its options."""
        twice = {theirs: values[ours] for theirs, ours in self.also.items() if ours in values}
        return {**values, **twice, **self.options}


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """One row of the table.

    Attributes:
        make: the transformation, `x(learning_rate, *, ...)`.
        scale: its direction only, `scale_by_x(*, ...)`.
        rule: formula, step scalars and state.
        decay: how its `weight_decay` acts.
        torch: its twin in `torch.optim`, or the name of the class that the bridge makes of this
            row, where torch has none.
        torch_state: our state field -> torch's state key.
        optax: its twin in optax, or None.
        keras: its twin in Keras, or None; its decay is decoupled always.
        keras_state: our state field -> the last part of the name of Keras's variable.
        hyperparameters: names that may be traced, scheduled, overridden and tuned; dialects may
            have more (`eps_root`, `base_learning_rate`) or not all (`momentum_decay`).
        paper: where it was published.
    """

    make: Callable[..., Any]
    scale: Callable[..., Any]
    rule: Rule
    decay: Decay
    torch: Twin | str
    torch_state: Mapping[str, str]
    optax: Twin | None
    paper: str
    hyperparameters: tuple[str, ...] = ("learning_rate", "b1", "b2", "eps", "weight_decay")
    keras: Twin | None = None
    keras_state: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the function that makes it."""
        return self.make.__name__

    @property
    def torch_twin(self) -> Twin | None:
        """Its twin in `torch.optim`, or None."""
        return self.torch if isinstance(self.torch, Twin) else None

    @property
    def torch_class(self) -> str:
        """Name of its class in the torch bridge."""
        return self.torch if isinstance(self.torch, str) else self.torch.name

    @property
    def torch_options(self) -> Mapping[str, Any]:
        """Options of that class that select it."""
        return {} if isinstance(self.torch, str) else self.torch.options

    @property
    def averages(self) -> tuple[str, ...]:
        """Its decay rates, in the order of torch's `betas`."""
        return tuple(name for name in self.hyperparameters if is_decay_rate(name))

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Defaults of its hyperparameters; None: the dialect's. The learning rate has none."""
        known = inspect.signature(self.make).parameters
        names = (name for name in self.hyperparameters if name != "learning_rate")
        return {name: known[name].default for name in names}

    @property
    def has_dialects(self) -> bool:
        """Whether frameworks read it differently: it takes `dialect`."""
        return "dialect" in inspect.signature(self.make).parameters

    def rule_in(self, dialect: Dialect) -> Rule:
        """Its rule in a dialect, by the function `rule` of its file."""
        make = getattr(sys.modules[self.scale.__module__], "rule", None)
        return self.rule if make is None else make(dialect)


_MOMENTS = {"mu": "exp_avg", "nu": "exp_avg_sq"}
_MAXIMUM = _MOMENTS | {"nu_max": "max_exp_avg_sq"}
_PRODUCT = _MOMENTS | {"mu_product": "mu_product"}
_NORM = {"mu": "exp_avg", "nu": "exp_inf"}
_KERAS = {"mu": "momentum", "nu": "velocity"}
_KERAS_MAXIMUM = _KERAS | {"nu_max": "velocity_hat"}
_KERAS_PRODUCT = _KERAS | {"mu_product": "_u_product"}  # an attribute: the variable has no name
_KERAS_NORM = {"mu": "momentum", "nu": "norm"}
_DECOUPLED = {"decoupled_weight_decay": True}
_MOMENTUM = ("learning_rate", "b1", "b2", "eps", "weight_decay", "momentum_decay")

_ADAM_PAPER = "Kingma and Ba 2015, https://arxiv.org/abs/1412.6980"
_ADAMW_PAPER = "Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101"
_AMSGRAD_PAPER = "Reddi et al. 2018, https://arxiv.org/abs/1904.09237"
_NADAM_PAPER = "Dozat 2016, https://openreview.net/pdf?id=OM0jvwB8jIp57ZJjtNEZ"
_RADAM_PAPER = "Liu et al. 2020, https://arxiv.org/abs/1908.03265"

# fmt: off
_ROWS = (
    Algorithm(adam, scale_by_adam, ADAM, "coupled",
              Twin("Adam"), _MOMENTS, Twin("adam"), _ADAM_PAPER,
              keras=Twin("Adam", same=False), keras_state=_KERAS),
    Algorithm(adamw, scale_by_adam, ADAM, "decoupled",
              Twin("AdamW"), _MOMENTS, Twin("adamw"), _ADAMW_PAPER,
              keras=Twin("AdamW", same=False), keras_state=_KERAS),
    Algorithm(amsgrad, scale_by_amsgrad, AMSGRAD, "coupled",
              Twin("Adam", {"amsgrad": True}), _MAXIMUM, Twin("amsgrad", same=False),
              _AMSGRAD_PAPER,
              keras=Twin("Adam", {"amsgrad": True}, same=False), keras_state=_KERAS_MAXIMUM),
    Algorithm(amsgradw, scale_by_amsgrad, AMSGRAD, "decoupled",
              Twin("AdamW", {"amsgrad": True}), _MAXIMUM, None, _AMSGRAD_PAPER,
              keras=Twin("AdamW", {"amsgrad": True}, same=False), keras_state=_KERAS_MAXIMUM),
    Algorithm(nadam, scale_by_nadam, NADAM, "coupled",
              Twin("NAdam"), _PRODUCT, Twin("nadam", same=False), _NADAM_PAPER, _MOMENTUM,
              keras=Twin("Nadam", same=False), keras_state=_KERAS_PRODUCT),
    Algorithm(nadamw, scale_by_nadam, NADAM, "decoupled",
              Twin("NAdam", _DECOUPLED), _PRODUCT, Twin("nadamw", same=False), _NADAM_PAPER,
              _MOMENTUM, keras=Twin("Nadam", same=False), keras_state=_KERAS_PRODUCT),
    Algorithm(radam, scale_by_radam, RADAM, "coupled",
              Twin("RAdam"), _MOMENTS, Twin("radam", same=False), _RADAM_PAPER),
    Algorithm(radamw, scale_by_radam, RADAM, "decoupled",
              Twin("RAdam", _DECOUPLED), _MOMENTS, None, _RADAM_PAPER),
    Algorithm(adamax, scale_by_adamax, ADAMAX, "coupled",
              Twin("Adamax"), _NORM, Twin("adamax"), _ADAM_PAPER,
              keras=Twin("Adamax", same=False), keras_state=_KERAS_NORM),
    Algorithm(adabelief, scale_by_adabelief, ADABELIEF, "decoupled",
              "AdaBelief", {"mu": "exp_avg", "nu_centered": "exp_avg_var"},
              Twin("adabelief", also={"eps_root": "eps"}, decays=False,
                   fields={"nu_centered": "nu"}, state="ScaleByBeliefState"),
              "Zhuang et al. 2020, https://arxiv.org/abs/2010.07468"),
    Algorithm(lion, scale_by_lion, LION, "decoupled",
              "Lion", {"mu": "exp_avg"}, Twin("lion", state="ScaleByLionState"),
              "Chen et al. 2023, https://arxiv.org/abs/2302.06675",
              ("learning_rate", "b1", "b2", "weight_decay")),
    Algorithm(adopt, scale_by_adopt, ADOPT, "decoupled",
              "ADOPT", _MOMENTS, Twin("contrib.adopt", decays=False),
              "Taniguchi et al. 2024, https://arxiv.org/abs/2411.02853"),
    Algorithm(ademamix, scale_by_ademamix, ADEMAMIX, "decoupled",
              "AdEMAMix", {"mu": "exp_avg_fast", "mu_slow": "exp_avg_slow", "nu": "exp_avg_sq"},
              Twin("contrib.ademamix", fields={"mu": "m1", "mu_slow": "m2"},
                   state="contrib._ademamix.ScaleByAdemamixState", counts=("count_m2",)),
              "Pagliardini et al. 2024, https://arxiv.org/abs/2409.03137",
              ("learning_rate", "b1", "b2", "b3", "alpha", "eps", "weight_decay")),
    Algorithm(laprop, scale_by_laprop, LAPROP, "decoupled",
              "LaProp", _MOMENTS, None, "Ziyin et al. 2020, https://arxiv.org/abs/2002.04839"),
)
# fmt: on

ALGORITHMS: Mapping[str, Algorithm] = MappingProxyType({row.name: row for row in _ROWS})
"""Every algorithm by name, in the order of the documentation."""
