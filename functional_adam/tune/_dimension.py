"""One hyperparameter to search: its range, and the scale on which equal distances count alike."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

import numpy as np

from .._check import is_decay_rate

Scale = Literal["log", "linear", "log_one_minus", "choice"]
Side = Literal["low", "high"]
SCALES: tuple[Scale, ...] = ("log", "linear", "log_one_minus", "choice")
# 1 - b is known to 1e-16: nearer to 1 a double has no digits of it.
BELOW_ONE = 1 - 1e-8


@dataclasses.dataclass(frozen=True)
class Dimension:
    """One hyperparameter with the scale that fits it.

    Positions u in [0, 1] are equal distances on the scale: of ``log(x)``, of ``x``, of
    ``log(1 - x)`` (for b1 and b2, whose memory is ``1 / (1 - b)`` steps) or of the index of a
    choice.

    Attributes:
        name: as in a configuration: `learning_rate`, `b1`, ..., or one of your own.
        low: smallest value; 0 where `choices` are given.
        high: largest value.
        scale: "log", "linear", "log_one_minus" or "choice".
        choices: what "choice" chooses from: numbers, bools or names.
        default: value where it is not searched; None: the middle, or the first choice.
        per: name of another hyperparameter that is multiplied: the range is that of the product.
            Decoupled decay shrinks parameters by ``learning_rate * weight_decay`` a step, so it is
            that product whose good values do not move with the learning rate.
        bounds: values no widening may pass; None: those the scale and the name have: a linear range
            that begins at zero or above stays there, decay rates and `warmup` stay below 1.

    Examples:
        >>> tune.Dimension("learning_rate", 1e-4, 1e-1, "log").name
        'learning_rate'
    """

    name: str
    low: float = 0.0
    high: float = 1.0
    scale: Scale = "linear"
    choices: tuple[Any, ...] = ()
    default: Any = None
    per: str | None = None
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise ValueError(f"name of a Dimension must be an identifier, got {self.name!r}")
        if self.scale not in SCALES:
            raise ValueError(
                f"scale of {self.name} must be one of {', '.join(SCALES)}; got {self.scale!r}"
            )
        if (self.scale == "choice") != bool(self.choices):
            raise ValueError(
                f"{self.name}: choices belong to scale 'choice', which needs at least one; got "
                f"scale={self.scale!r}, choices={self.choices!r}"
            )
        for field in ("low", "high", "default"):
            object.__setattr__(self, field, plain(getattr(self, field)))
        object.__setattr__(self, "choices", tuple(plain(x) for x in self.choices))
        if self.scale == "choice":
            if len(set(self.choices)) < len(self.choices):
                raise ValueError(f"choices of {self.name} must differ, got {self.choices!r}")
            if self.default is not None and self.default not in self.choices:
                raise ValueError(
                    f"default of {self.name} must be one of {self.choices!r}, got {self.default!r}"
                )
            return
        self._check_range()

    def _check_range(self):
        low, high = self.limits
        if not low <= self.low < self.high <= high or not math.isfinite(self.high):
            raise ValueError(
                f"{self.name} must have {low} <= low < high <= {high} and high finite, got "
                f"low={self.low}, high={self.high}"
            )
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"low of {self.name} must be > 0 on a log scale, got {self.low}")
        if self.scale == "log_one_minus" and self.high >= 1:
            raise ValueError(
                f"high of {self.name} must be < 1 on a log_one_minus scale, got {self.high}"
            )

    @property
    def limits(self) -> tuple[float, float]:
        """Values no widening may pass."""
        if self.bounds is not None:
            return self.bounds
        least = -math.inf if self.scale == "linear" and self.low < 0 else 0.0
        if self.scale == "log_one_minus":
            return least, 1.0
        below_one = self.name == "warmup" or is_decay_rate(self.name)
        return least, BELOW_ONE if below_one else math.inf

    def within(self, value: float) -> float:
        """A value, moved within `bounds`; that of a product as it is."""
        low, high = self.limits
        return value if self.per is not None else min(max(value, low), high)

    def to_unit(self, value: Any, config: Any = None) -> float:
        """Position of a value, in [0, 1] inside the range.

        Args:
            value: of the hyperparameter.
            config: the configuration it is part of, where the range is that of a product (`per`).

        Raises:
            ValueError: a choice that is not among `choices`, or a value the scale does not have.
        """
        if self.scale == "choice":
            if value not in self.choices:
                raise ValueError(f"{self.name} must be one of {self.choices!r}, got {value!r}")
            return (self.choices.index(value) + 0.5) / len(self.choices)
        value = float(value) * self.factor(config)
        low, high, at = (self._forward(x) for x in (self.low, self.high, value))
        return (at - low) / (high - low)

    def from_unit(self, u: float, config: Any = None) -> Any:
        """Value at a position; positions outside [0, 1] are moved to the nearer end.

        Args:
            u: position.
            config: as in `to_unit`.
        """
        u = min(max(float(u), 0.0), 1.0)
        if self.scale == "choice":
            return self.choices[min(int(u * len(self.choices)), len(self.choices) - 1)]
        low, high = self._forward(self.low), self._forward(self.high)
        value = self._backward((1 - u) * low + u * high)
        # The ends are the ends, not what is left of them after a logarithm and back.
        value = self.low if u == 0 else self.high if u == 1 else value
        return value / self.factor(config)

    def widened(self, side: Side) -> Dimension:
        """The dimension with one end moved outwards, as far as its `bounds` allow.

        By a factor of ten on log scales, by half the range on a linear one, but to no less than a
        tenth of a low end above zero, which others may be divided by; choices stay.
        """
        if side not in ("low", "high"):
            raise ValueError(f"side must be 'low' or 'high', got {side!r}")
        if self.scale == "choice":
            return self
        low, high = self._forward(self.low), self._forward(self.high)
        by = (high - low) / 2 if self.scale == "linear" else math.log(10)
        least, most = self.limits
        if side == "low":
            if self.scale == "linear" and self.low > 0:
                least = max(least, self.low / 10)
            return dataclasses.replace(self, low=max(self._backward(low - by), least))
        if self.scale == "log_one_minus":
            most = min(most, BELOW_ONE)
        return dataclasses.replace(self, high=min(self._backward(high + by), most))

    def middle(self, config: Any = None) -> Any:
        """The default, or the middle of the range, or the first choice."""
        if self.default is not None:
            return self.default
        return self.choices[0] if self.scale == "choice" else self.from_unit(0.5, config)

    def factor(self, config: Any) -> float:
        """What a value of a configuration is multiplied by in the range: 1, or the value of `per`.

        Raises:
            ValueError: the configuration does not have it.
        """
        if self.per is None:
            return 1.0
        if config is None or self.per not in config:
            raise ValueError(
                f"{self.name} is searched as its product with {self.per}: the configuration must "
                f"have {self.per}"
            )
        return float(config[self.per])

    def _forward(self, x: float) -> float:
        if self.scale == "linear":
            return x
        x = 1 - x if self.scale == "log_one_minus" else x
        at = math.log(x) if x > 0 else -math.inf
        return -at if self.scale == "log_one_minus" else at

    def _backward(self, at: float) -> float:
        if self.scale == "linear":
            return at
        return float(-np.expm1(-at)) if self.scale == "log_one_minus" else math.exp(at)


def plain(value: Any) -> Any:
    """A number of NumPy or JAX as one of Python; anything else as it is."""
    is_scalar = hasattr(value, "item") and getattr(value, "shape", None) == ()
    return value.item() if is_scalar else value
