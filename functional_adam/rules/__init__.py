"""The table: every algorithm with its rule, its names and its twins in other frameworks.

Parity, conversion, tuning, benchmark and documentation read it. A new algorithm is one new file
beside this one, one row here and one import in the package's `__init__`.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from .._leaf import Decay, Rule
from ..dialects import Dialect
from .adam import ADAM, adam, scale_by_adam
from .adamax import ADAMAX, adamax, scale_by_adamax
from .adamw import adamw
from .amsgrad import AMSGRAD, amsgrad, amsgradw, scale_by_amsgrad
from .nadam import NADAM, nadam, nadamw, scale_by_nadam
from .radam import RADAM, radam, radamw, scale_by_radam


@dataclasses.dataclass(frozen=True)
class Twin:
    """The same algorithm in another framework: its name there and the options that select it.

    Attributes:
        name: class in `torch.optim` or `keras.optimizers`, or function in `optax`.
        options: keyword arguments that make it this algorithm.
        same: whether it is this formula; False where it needs that framework's dialect.
    """

    name: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    same: bool = True


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """One row of the table.

    Attributes:
        make: the transformation, `x(learning_rate, *, ...)`.
        scale: its direction only, `scale_by_x(*, ...)`.
        rule: formula, step scalars and state.
        decay: how its `weight_decay` acts.
        torch: its twin in `torch.optim`.
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
    torch: Twin
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
)
# fmt: on

ALGORITHMS: Mapping[str, Algorithm] = MappingProxyType({row.name: row for row in _ROWS})
"""Every algorithm by name, in the order of the documentation."""
