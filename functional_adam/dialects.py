"""Dialects: what frameworks and papers mean by Adam, as explicit knobs with names.

A dialect changes scalars and a few branches of the one rule of an algorithm; it is never a second
formula. Every preset is read from the source named beside it.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from . import _check

EpsPlace = Literal["after_correction", "before_correction", "floor"]
BiasCorrection = Literal["both", "first", "second", "none"]
AMSGradOrder = Literal["maximum_then_correct", "correct_then_maximum", "uncorrected"]
DecayForm = Literal["factor", "in_update", "after_step"]
LookAhead = Literal["constant", "one_correction"]
NAdamMomentum = Literal["schedule", "constant", "one_correction", "dozat"]

_ABSENT = (
    "{name} has no {what}: {knob} is None. Choose it with dataclasses.replace({name}, {knob}=...)"
)


@dataclasses.dataclass(frozen=True)
class Dialect:
    """One reading of Adam. `dataclasses.replace(fa.KERAS, eps=1e-8)` makes another.

    Below c1 = 1 - b1**t and c2 = 1 - b2**t. None says that the framework does not have the
    algorithm; asking for it raises.

    Attributes:
        name: for messages and tables; two dialects that differ in nothing else are equal.
        source: where it is read from.
        eps_place: eps in Adam and AMSGrad: `sqrt(v / c2) + eps`, after the correction; `sqrt(v) +
            eps` with the correction in the step, before it (the papers' "epsilon hat"); or
            `max(sqrt(v / c2), eps)`, a floor.
        eps_root: whether there is a further `eps_root` inside the root, `sqrt(v / c2 + eps_root)`.
        bias_correction: which moments are corrected for their start at zero.
        amsgrad: whether the maximum is taken before its correction, after it, or of moments that
            are never corrected, neither the second nor the first.
        decay: whether `weight_decay` acts as the algorithm's name says, or on the parameter always.
        decay_form: decay on the parameter: `p * (1 - rate * decay)` before the step, one sum `p -
            rate * (direction + decay * p)`, or the factor after the step.
        decay_rate: what multiplies it: the learning rate, or only the schedule's multiplier,
            `learning_rate / base_learning_rate`.
        nesterov: momentum of `adam(nesterov=True)`: constant, the look-ahead corrected for the
            next step and the gradient for this one, or both with this step's correction.
        nadam: NAdam's momentum: torch's schedule with the decay `momentum_decay`, constant as
            `nesterov`, or the paper's (the schedule also decays m, and v / c2 is multiplied by b2).
        radam_threshold: length of the average from which RAdam uses the second moment.
        radam_compare: whether it must be exceeded or may be met.
        radam_eps: eps in RAdam, as in `eps_place`.
        adamax_eps: `max(b2 * v, |g| + eps)` or `max(b2 * v, |g|) + eps`.
        complex_mode: a complex number as two real ones, or its squared modulus in v.
        b2, eps, weight_decay, momentum_decay: defaults; `weight_decay` is that of decoupled decay,
            None where the user must name one.
    """

    name: str = dataclasses.field(compare=False)
    source: str = dataclasses.field(default="", compare=False)
    eps_place: EpsPlace = "after_correction"
    eps_root: bool = False
    bias_correction: BiasCorrection = "both"
    amsgrad: AMSGradOrder | None = "maximum_then_correct"
    decay: Literal["by_algorithm", "decoupled"] = "by_algorithm"
    decay_form: DecayForm = "factor"
    decay_rate: Literal["learning_rate", "schedule"] = "learning_rate"
    nesterov: LookAhead | None = "constant"
    nadam: NAdamMomentum | None = "schedule"
    radam_threshold: float | None = 5.0
    radam_compare: Literal[">", ">="] = ">"
    radam_eps: Literal["before_correction", "after_correction"] = "before_correction"
    adamax_eps: Literal["inside_maximum", "after_maximum"] | None = "inside_maximum"
    complex_mode: Literal["parts", "modulus"] = "parts"
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float | None = 1e-2
    momentum_decay: float = 4e-3

    def __post_init__(self) -> None:
        for knob, allowed in KNOBS.items():
            value = getattr(self, knob)
            if allowed and value not in allowed:
                choices = ", ".join(map(repr, allowed))
                raise ValueError(f"{knob} of a Dialect must be one of {choices}; got {value!r}")
        _check.number("b2", self.b2)
        _check.number("eps", self.eps)
        _check.number("momentum_decay", self.momentum_decay)
        if self.weight_decay is not None:
            _check.number("weight_decay", self.weight_decay)
        if self.radam_threshold is not None and not self.radam_threshold >= 4:
            raise ValueError(
                f"radam_threshold must be at least 4, where the rectifier is zero, or None; got "
                f"{self.radam_threshold}"
            )

    def __str__(self) -> str:
        """Name of the dialect."""
        return self.name

    def corrects(self, moment: Literal["first", "second"]) -> bool:
        """Whether a moment is corrected for its start at zero."""
        return self.bias_correction in ("both", moment)

    def require(self, knob: str, what: str) -> Any:
        """Return the value of a knob; raise ValueError where the framework has no such thing."""
        value = getattr(self, knob)
        if value is None:
            raise ValueError(_ABSENT.format(name=self.name, what=what, knob=knob))
        return value

    def require_corrections(self, what: str) -> None:
        """Raise ValueError unless both moments are corrected: `what` is built on it."""
        if self.bias_correction != "both":
            raise ValueError(
                f"{what} is made of bias corrections: bias_correction must be 'both', got "
                f"{self.bias_correction!r} in {self.name}"
            )

    @property
    def schedules_nadam(self) -> bool:
        """Whether NAdam's momentum follows the schedule that `momentum_decay` sets."""
        return self.nadam in ("schedule", "dozat")

    def fill(self, values: Mapping[str, Any], *, decoupled: bool) -> dict[str, Any]:
        """Hyperparameters with this dialect's defaults for None, without those it has no place for.

        Args:
            values: name -> `Hyperparameter` or None.
            decoupled: whether decay acts on the parameter.

        Returns:
            The values that the rule and the decay need.

        Raises:
            ValueError: one is given that has no meaning here, or has no default.
        """
        filled = dict(values)
        if not self.schedules_nadam and filled.pop("momentum_decay", None) is not None:
            raise ValueError(
                f"{self.name} keeps NAdam's momentum constant: momentum_decay has no meaning. "
                f'Leave it out, or use dataclasses.replace({self.name}, nadam="schedule")'
            )
        # Where decay is coupled by name, it is 0 unless it is given.
        own_decay = ["weight_decay"] if "base_learning_rate" in filled else []
        for name in ("b2", "eps", "momentum_decay", *own_decay):
            if name in filled and filled[name] is None:
                filled[name] = getattr(self, name)
                if filled[name] is None:
                    raise ValueError(f"{self.name} has no default {name}: give {name}=...")
        if "eps_root" in filled and filled["eps_root"] is None:
            filled["eps_root"] = 0.0
        if not self.eps_root:
            root = filled.pop("eps_root", 0.0)
            if not (_check.is_number(root) and root == 0):
                raise ValueError(
                    f"{self.name} has no eps_root, got {root}: use dialect=OPTAX, or "
                    f"dataclasses.replace({self.name}, eps_root=True)"
                )
        base = filled.pop("base_learning_rate", None)
        if self.decay_rate == "schedule" and decoupled:
            filled["base_learning_rate"] = self._base(base, filled["learning_rate"])
        elif base is not None:
            raise ValueError(
                f"{self.name} multiplies weight_decay by the learning rate: base_learning_rate "
                f"has no meaning. Use dialect=PAPER, or "
                f'dataclasses.replace({self.name}, decay_rate="schedule")'
            )
        return filled

    def _base(self, base: Any, learning_rate: Any) -> Any:
        if base is not None:
            return base
        if _check.is_number(learning_rate):
            return float(learning_rate)
        raise ValueError(
            f"{self.name} multiplies weight_decay by learning_rate / base_learning_rate: give "
            "base_learning_rate=..., the number that the schedule multiplies (its peak)"
        )


def by_dialect(rule: Callable[..., Any]) -> Callable[..., Any]:
    """Cache a function of a dialect and options; what is no dialect raises TypeError."""
    rule = functools.cache(rule)

    @functools.wraps(rule)
    def checked(dialect: Dialect, *options: Any) -> Any:
        if not isinstance(dialect, Dialect):
            raise TypeError(
                f"dialect must be a Dialect such as functional_adam.KERAS, got {dialect!r}; by "
                'name: functional_adam.DIALECTS["KERAS"]'
            )
        return rule(dialect, *options)

    return checked


def _choices() -> Mapping[str, tuple[Any, ...]]:
    found = {}
    for name, hint in typing.get_type_hints(Dialect).items():
        options = [hint, *typing.get_args(hint)]
        literal = [
            x for o in options if typing.get_origin(o) is Literal for x in typing.get_args(o)
        ]
        optional = [None] if type(None) in options else []
        found[name] = (*literal, *optional) if literal else ()
    del found["name"], found["source"]
    return MappingProxyType(found)


KNOBS: Mapping[str, tuple[Any, ...]] = _choices()
"""Every knob with the values it may have; of flags and numbers, none are listed."""

TORCH = Dialect("TORCH", "torch.optim 2.13: adam.py, nadam.py, radam.py, adamax.py; also torchao")
"""The default."""

OPTAX = Dialect(
    "OPTAX",
    "optax 0.2.8: _src/transform.py, _src/alias.py",
    eps_root=True,
    amsgrad="correct_then_maximum",
    decay_form="in_update",
    nadam="constant",
    radam_compare=">=",
    radam_eps="after_correction",
    complex_mode="modulus",
    weight_decay=1e-4,
)
"""Its `amsgrad(bias_correction_nu=False)` is `dataclasses.replace(OPTAX, bias_correction="first")`,
without `mu` "second", without both "none"; its `adamaxw` is `adamax` with `decay="decoupled"`."""

KERAS = Dialect(
    "KERAS",
    "Keras 3.15: optimizers/adam.py, nadam.py, adamax.py, base_optimizer.py",
    eps_place="before_correction",
    decay="decoupled",
    nesterov=None,
    radam_threshold=None,
    adamax_eps="after_maximum",
    eps=1e-7,
    weight_decay=4e-3,
    momentum_decay=1.0,
)
"""NAdam's eps comes after the correction there too."""

_ADAM_ONLY = Dialect(
    "ADAM_ONLY", amsgrad=None, nesterov=None, nadam=None, radam_threshold=None, adamax_eps=None
)

HF = dataclasses.replace(
    _ADAM_ONLY,
    name="HF",
    source="AdamW of Hugging Face: pytorch_transformers/optimization.py, until transformers 4",
    eps_place="before_correction",
    decay="decoupled",
    decay_form="after_step",
    eps=1e-6,
    weight_decay=0.0,
)
"""`correct_bias=False` is `dataclasses.replace(HF, bias_correction="none")`."""

BERT = dataclasses.replace(
    _ADAM_ONLY,
    name="BERT",
    source="BertAdam: pytorch_pretrained_bert/optimization.py",
    bias_correction="none",
    decay="decoupled",
    decay_form="in_update",
    eps=1e-6,
)
"""Without its clipping (`optax.clip_by_global_norm` of each tensor) and its schedule."""

APEX = dataclasses.replace(
    _ADAM_ONLY,
    name="APEX",
    source="FusedAdam of apex and of DeepSpeed: csrc/multi_tensor_adam.cu",
    decay_form="in_update",
    weight_decay=0.0,
)
"""`adamw` is its default, mode 1; `adam` is `adam_w_mode=False`."""

DEEPSPEED = dataclasses.replace(
    _ADAM_ONLY,
    name="DEEPSPEED",
    source="DeepSpeedCPUAdam: csrc/adam/cpu_adam_impl.cpp",
    weight_decay=0.0,
)
"""`adamw` is its default; its FusedAdam is APEX."""

BITSANDBYTES = dataclasses.replace(
    _ADAM_ONLY,
    name="BITSANDBYTES",
    source="bitsandbytes: backends/default/ops.py",
    decay="decoupled",
)
"""Also its class Adam decays the parameter."""

TIMM = dataclasses.replace(
    _ADAM_ONLY,
    name="TIMM",
    source="timm's NAdamW and RAdamLegacy: timm/optim/nadamw.py, radam.py",
    nesterov="one_correction",
    nadam="one_correction",
    radam_threshold=5.0,
    radam_compare=">=",
)
"""Its NAdam, Adam and AdamW are TORCH; its RAdamLegacy decays as `radamw`."""

OPTIMI = dataclasses.replace(
    _ADAM_ONLY,
    name="OPTIMI",
    source="optimi 0.3: adam.py, radam.py",
    radam_threshold=5.0,
    radam_eps="after_correction",
    b2=0.99,
    eps=1e-6,
)
"""`decouple_lr=True` is `dataclasses.replace(OPTIMI, decay_rate="schedule")`, its `max_lr` our
`base_learning_rate`. It keeps corrected moments: the path is the same, the state is not."""

HEAVYBALL = dataclasses.replace(
    _ADAM_ONLY,
    name="HEAVYBALL",
    source="AdamW of HeavyBall: heavyball/utils.py",
    eps_place="floor",
    decay="decoupled",
    b2=0.99,
    weight_decay=0.0,
)
"""It keeps corrected moments, as optimi does."""

PAPER = Dialect(
    "PAPER",
    "Kingma and Ba 2015; Loshchilov and Hutter 2019; Reddi 2018; Dozat 2016; Liu 2020",
    amsgrad="uncorrected",
    decay_form="in_update",
    decay_rate="schedule",
    nesterov=None,
    nadam="dozat",
    radam_threshold=4.0,
    radam_eps="after_correction",
    adamax_eps="after_maximum",
    weight_decay=None,
)
"""Adam and Adamax are Algorithms 1 and 2 of their paper, the others Algorithm 2 of theirs.

AMSGrad, RAdam and Adamax have no eps there; here it is added to what divides, so that a zero
gradient does not divide zero by zero. `eps=0` takes it away."""

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        dialect.name: dialect
        for dialect in (
            *(TORCH, OPTAX, KERAS, HF, BERT, APEX, PAPER),
            *(DEEPSPEED, BITSANDBYTES, TIMM, OPTIMI, HEAVYBALL),
        )
    }
)
"""Every preset by name."""
