"""What each knob of a `Dialect` means in words: the text of `explain`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

_ADAM = ("adam", "adamw")
_AMSGRAD = ("amsgrad", "amsgradw")
_NADAM = ("nadam", "nadamw")
_RADAM = ("radam", "radamw")
_EVERY = (*_ADAM, *_AMSGRAD, *_NADAM, *_RADAM, "adamax")


@dataclasses.dataclass(frozen=True)
class Words:
    """One knob.

    Attributes:
        algorithms: which read it.
        does: what it does to training.
        matters: when that is seen.
        values: its values in words; one that is missing here is shown as it is.
    """

    algorithms: tuple[str, ...]
    does: str
    matters: str
    values: Mapping[Any, str] = dataclasses.field(default_factory=dict)

    def value(self, value: Any) -> str:
        """A value in words."""
        if value is None:
            return self.values.get(None, "not in this framework")
        return self.values.get(value, f"{value:g}" if isinstance(value, float) else str(value))


WORDS: Mapping[str, Words] = {
    "eps_place": Words(
        (*_ADAM, *_AMSGRAD),
        "Before the correction eps weighs 1 / sqrt(1 - b2**t) times more: 32 times at step 1, 3 "
        "times at step 100 for b2 = 0.999. As a floor it leaves elements above it alone.",
        "Where gradients are not far above eps: sparse or tiny gradients, a large eps as in "
        "reinforcement learning; in the first 1 / (1 - b2) steps.",
        {
            "after_correction": "sqrt(v / c2) + eps",
            "before_correction": "sqrt(v) + eps, corrected in the step (epsilon hat)",
            "floor": "max(sqrt(v / c2), eps)",
        },
    ),
    "eps_root": Words(
        (*_ADAM, *_AMSGRAD, *_NADAM, *_RADAM),
        "A number inside the root bounds the slope of the square root at zero.",
        "Only if it is given: its default is 0. For gradients through the optimizer.",
        {True: "sqrt(v / c2 + eps_root) + eps", False: "nothing inside the root"},
    ),
    "bias_correction": Words(
        (*_ADAM, *_AMSGRAD, "adamax"),
        "Moments start at zero. Uncorrected, the first step is (1 - b1) / sqrt(1 - b2) times the "
        "corrected one, 3.2 times for 0.9 and 0.999, and steps stay too large until about "
        "1 / (1 - b2) of them are taken.",
        "From the first step to a few thousand; with a warm-up of the rate it is partly hidden.",
        {
            "both": "both moments",
            "first": "the first moment only",
            "second": "the second moment only",
            "none": "neither moment",
        },
    ),
    "amsgrad": Words(
        _AMSGRAD,
        "The maximum of corrected moments keeps the first, noisy estimates for ever; corrected "
        "afterwards, it is divided by a number that grows to 1, and steps shrink less. Without "
        "corrections the first steps are too large, as with bias_correction none.",
        "Always, from the second step on: it is another algorithm, not another rounding.",
        {
            "maximum_then_correct": "V = max(V, v), then sqrt(V / c2)",
            "correct_then_maximum": "V = max(V, v / c2), then sqrt(V)",
            "uncorrected": "V = max(V, v), then sqrt(V); m is not corrected either",
        },
    ),
    "decay": Words(
        ("adam", "amsgrad", "nadam", "radam", "adamax"),
        "Added to the gradient, decay is divided by the root of v like the gradient: parameters "
        "with large gradients decay less. On the parameter all decay alike.",
        "As soon as weight_decay is not 0, all through training.",
        {
            "by_algorithm": "as the name says: adam through the gradient, adamw on the parameter",
            "decoupled": "on the parameter, whatever the name",
        },
    ),
    "decay_form": Words(
        _EVERY,
        "Before the step or in one sum with it is the same but for rounding. After the step, the "
        "step itself shrinks too, by rate * weight_decay of it.",
        "Only to the last digits, or in the proportion rate * weight_decay of a step.",
        {
            "factor": "p * (1 - rate * weight_decay), then the step",
            "in_update": "p - rate * (direction + weight_decay * p)",
            "after_step": "the step, then p * (1 - rate * weight_decay)",
        },
    ),
    "decay_rate": Words(
        ("adamw", "amsgradw", "nadamw", "radamw"),
        "With the multiplier only, decay does not depend on the peak rate: weight_decay=w here is "
        "weight_decay=w/peak in torch. The same number decays 1000 times faster at a peak of 1e-3.",
        "Always where weight_decay is not 0; when the learning rate is tuned.",
        {
            "learning_rate": "learning_rate * weight_decay",
            "schedule": "learning_rate / base_learning_rate * weight_decay",
        },
    ),
    "nesterov": Words(
        ("adam(nesterov=True)", "radam(nesterov=True)"),
        "The look-ahead is one step newer than the moment, and may be corrected as such.",
        "With nesterov=True, in the first 1 / (1 - b1) steps.",
        {
            "constant": "b1 * m / (1 - b1**(t + 1)) + (1 - b1) * g / (1 - b1**t)",
            "one_correction": "(b1 * m + (1 - b1) * g) / (1 - b1**t)",
        },
    ),
    "nadam": Words(
        _NADAM,
        "On the schedule momentum starts near b1 / 2 and rises to b1, so early steps follow the "
        "latest gradient more. In the paper it also decays m, and v / c2 is multiplied by b2.",
        "For the first 25 / momentum_decay steps, with torch's 4e-3 many thousands.",
        {
            "schedule": "mu_t = b1 * (1 - 0.5 * 0.96**(t * momentum_decay))",
            "constant": "b1, the look-ahead corrected by 1 - b1**(t + 1)",
            "one_correction": "b1, both corrected by 1 - b1**t",
            "dozat": "the schedule, which also decays m; v / c2 times b2",
        },
    ),
    "momentum_decay": Words(
        _NADAM,
        "How fast NAdam's momentum rises: at 1 (Keras) half-way in 17 steps, at 4e-3 in 4,200.",
        "Until then; with Keras's number NAdam soon has constant momentum.",
    ),
    "radam_threshold": Words(
        _RADAM,
        "Until the average is this long, RAdam takes steps of plain momentum, which are not "
        "divided by the root of v: large gradients give large steps.",
        "At step 5 for b2 = 0.999: divided with a threshold of 4, with 5 only from step 6 on.",
    ),
    "radam_compare": Words(
        _RADAM,
        "Whether an average of exactly that length is long enough.",
        "Never in practice: the length is no whole number.",
    ),
    "radam_eps": Words(
        _RADAM,
        "Before the correction eps weighs 1 / sqrt(1 - b2**t) times more.",
        "In the first 1 / (1 - b2) steps, with an eps that is not small beside the gradients.",
        {
            "before_correction": "sqrt(v) + eps, corrected in the step",
            "after_correction": "sqrt(v / c2) + eps",
        },
    ),
    "adamax_eps": Words(
        ("adamax",),
        "Inside, eps is kept in the state and decays there with it; after, it is always added.",
        "Where gradients are not far above eps, or exactly zero.",
        {
            "inside_maximum": "max(b2 * v, |g| + eps)",
            "after_maximum": "max(b2 * v, |g|) + eps",
        },
    ),
    "complex_mode": Words(
        _EVERY,
        "As two real numbers, each part has its own step size, and the result depends on the "
        "phase; with the modulus a rotation of the gradient rotates the step.",
        "Only for complex parameters, there always.",
        {"parts": "real and imaginary part by themselves", "modulus": "v from |g|**2"},
    ),
    "b2": Words(
        _EVERY,
        "How long the second moment remembers: 1 / (1 - b2) steps.",
        "Where b2 is left to its default.",
    ),
    "eps": Words(
        _EVERY,
        "Elements with gradients below eps move less than the learning rate: a larger eps makes "
        "Adam more like plain momentum.",
        "Where eps is left to its default and gradients come near it.",
    ),
    "weight_decay": Words(
        ("adamw", "amsgradw", "nadamw", "radamw"),
        "How fast parameters shrink.",
        "Where weight_decay is left to its default.",
        {None: "none: it must be given"},
    ),
}
"""Every knob, in the order of explanations."""
