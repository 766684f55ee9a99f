"""How two dialects differ: in words, and in the size of the effect on given gradients."""

from __future__ import annotations

import dataclasses
import html
import textwrap
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ._knobs import WORDS
from .dialects import DIALECTS, KNOBS, Dialect
from .rules import ALGORITHMS

_MARKS = (1, 10, 100, 1000, 10_000)
_DECAY = 1e-2  # where a dialect has no default
_WIDTH = 100


@dataclasses.dataclass(frozen=True)
class Difference:
    """One knob in which two dialects differ.

    Attributes:
        knob: name of the field of `Dialect`.
        a: value in the first dialect.
        b: value in the second.
        applies: whether the algorithm reads it.
        effect: after each of the steps that were looked at, how far the first dialect with only
            this knob changed ends from the first, over how far that moved; None: not measured.
        why: why this knob cannot be changed alone, or "".
    """

    knob: str
    a: Any
    b: Any
    applies: bool
    effect: tuple[float, ...] | None = None
    why: str = ""


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What `explain` found; `print` it, or let a notebook show it.

    Attributes:
        a: first dialect.
        b: second dialect.
        algorithm: what was measured.
        differences: every knob that differs.
        steps: after which steps.
        together: as `Difference.effect`, of all knobs at once.
        why: why nothing could be measured, or "".
    """

    a: Dialect
    b: Dialect
    algorithm: str
    differences: tuple[Difference, ...]
    steps: tuple[int, ...]
    together: tuple[float, ...] | None
    why: str = ""

    def __str__(self) -> str:
        """Text of at most 100 columns."""
        if not self.differences:
            return f"{self.a} and {self.b} differ in nothing."
        lines = [f"{self.a} and {self.b}, measured with {self.algorithm}", ""]
        shown = [x for x in self._sorted() if x.applies or None not in (x.a, x.b)]
        for difference in shown:
            words = WORDS[difference.knob]
            lines.append(difference.knob + ("" if difference.applies else f" ({_only(words)})"))
            for dialect, value in ((self.a, difference.a), (self.b, difference.b)):
                lines += _wrapped(words.value(value), f"  {dialect}: ")
            lines += _wrapped(words.does, "  ") + _wrapped(words.matters, "  When: ")
            if difference.effect is not None or difference.why:
                lines += _wrapped(self._effect(difference.effect, difference.why), "  Effect: ")
            lines.append("")
        for dialect, values in ((self.a, "a"), (self.b, "b")):
            absent = [
                x.knob for x in self._sorted() if x not in shown and getattr(x, values) is None
            ]
            if absent:
                lines += [*_wrapped(", ".join(absent), f"{dialect} has no "), ""]
        lines += _wrapped(self._effect(self.together, self.why), "All together: ")
        return "\n".join(lines)

    def _repr_markdown_(self) -> str:
        """A table for notebooks."""
        if not self.differences:
            return str(self)
        steps = " | ".join(f"step {step:,}" for step in self.steps)
        head = f"| {self.algorithm} | {self.a} | {self.b} | does | when | {steps} |"
        rows = [head, "|" + " --- |" * (5 + len(self.steps))]
        for difference in self._sorted():
            words = WORDS[difference.knob]
            values = (words.value(difference.a), words.value(difference.b))
            cells = [f"`{difference.knob}`", *values, words.does, words.matters]
            rows.append(_row(cells, difference.effect, len(self.steps)))
        rows.append(_row(["all together", "", "", "", self.why], self.together, len(self.steps)))
        return "\n".join(rows)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "a": str(self.a),
            "b": str(self.b),
            "algorithm": self.algorithm,
            "steps": list(self.steps),
            "differences": [
                dataclasses.asdict(each)
                | {"does": WORDS[each.knob].does, "matters": WORDS[each.knob].matters}
                for each in self._sorted()
            ],
            "together": self.together,
            "why": self.why,
        }

    def _sorted(self) -> list[Difference]:
        return sorted(self.differences, key=lambda difference: not difference.applies)

    def _effect(self, effect: tuple[float, ...] | None, why: str) -> str:
        if effect is None:
            return f"not measured: {why}"
        if not any(effect):
            return "none here"
        parts = (f"{_size(x)} at step {t:,}" for x, t in zip(effect, self.steps, strict=True))
        return ", ".join(parts) + " of the distance travelled"


def explain(
    a: Dialect | str,
    b: Dialect | str,
    *,
    algorithm: str = "adamw",
    params: Any = None,
    gradients: Iterable[Any] | None = None,
    steps: int = 100,
    learning_rate: float = 1e-3,
    weight_decay: float | None = None,
) -> Explanation:
    """Say how two dialects differ, what it does to training, when it matters and how much.

        print(fa.explain(fa.TORCH, fa.KERAS))
        fa.explain("torch", "optax", algorithm="amsgrad", params=params, gradients=recorded)

    Both take the same gradients in the same order; each knob is changed alone, then all.

    Args:
        a: a dialect, or the name of a preset.
        b: another one.
        algorithm: name in `ALGORITHMS` to measure with.
        params: tree of arrays to start from; None: 256 seeded numbers.
        gradients: trees like `params`, one for each step; None: seeded, each element of its own
            size between 1e-8 and 1, a twentieth of them zero.
        steps: how many to take; with gradients, at most as many as there are.
        learning_rate: of all of them.
        weight_decay: None: each dialect's default for the algorithm; 1e-2 where it has none.

    Returns:
        `Explanation`.

    Raises:
        ValueError: an unknown name, no gradients, or `params` without `gradients`.

    Examples:
        >>> found = fa.explain("torch", "keras", algorithm="adam")
        >>> "eps" in str(found)
        True
    """
    a, b = _dialect(a), _dialect(b)
    if algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm must be one of {', '.join(ALGORITHMS)}; got {algorithm!r}")
    if not ALGORITHMS[algorithm].has_dialects:
        raise ValueError(f"{algorithm} has no dialects: every framework is given the same one")
    if (params is None) != (gradients is None):
        raise ValueError("give both params and gradients, or neither")
    if params is None:
        params, gradients = _problem(steps)
    assert gradients is not None
    taken = [g for _, g in zip(range(steps), gradients, strict=False)]
    if not taken:
        raise ValueError(f"there must be at least one step; got steps={steps} and no gradients")
    marks = tuple(sorted({*(t for t in _MARKS if t <= len(taken)), len(taken)}))

    def run(dialect):
        options = {} if weight_decay is None else {"weight_decay": weight_decay}
        if ALGORITHMS[algorithm].decay == "decoupled" and dialect.weight_decay is None:
            options = {"weight_decay": _DECAY} | options
        tx = ALGORITHMS[algorithm].make(learning_rate, dialect=dialect, **options)
        return _positions(tx, params, taken, marks)

    knobs = [knob for knob in KNOBS if getattr(a, knob) != getattr(b, knob)]
    try:
        start = run(a)
        together, why = _effects(params, start, run(b)), ""
    except ValueError as error:
        start, together, why = None, None, str(error)
    found = (_difference(a, b, knob, algorithm, params, start, run) for knob in knobs)
    return Explanation(a, b, algorithm, tuple(found), marks, together, why)


def _difference(a, b, knob, algorithm, params, start, run):
    values = (getattr(a, knob), getattr(b, knob))
    if algorithm not in WORDS[knob].algorithms:
        return Difference(knob, *values, applies=False)
    if start is None:
        return Difference(knob, *values, applies=True)
    try:
        moved = run(dataclasses.replace(a, **{knob: values[1]}))
    except ValueError as error:
        return Difference(knob, *values, applies=True, why=f"impossible alone: {error}")
    return Difference(knob, *values, applies=True, effect=_effects(params, start, moved))


def _dialect(value: Dialect | str) -> Dialect:
    if isinstance(value, Dialect):
        return value
    if value.upper() not in DIALECTS:
        raise ValueError(f"unknown dialect {value!r}; there are {', '.join(DIALECTS)}")
    return DIALECTS[value.upper()]


def _problem(steps: int) -> tuple[Any, Iterable[Any]]:
    rng = np.random.default_rng(0)
    size = 10.0 ** rng.uniform(-8, 0, 256)

    def draw():
        signal = size * (0.5 + rng.standard_normal(256)) * (rng.random(256) > 0.05)
        return jnp.asarray(signal, jnp.float32)

    return jnp.asarray(rng.standard_normal(256), jnp.float32), (draw() for _ in range(steps))


def _positions(tx, params, gradients, marks):
    """Parameters after the steps of `marks`, in double precision."""

    @jax.jit
    def step(p, state, g):
        updates, state = tx.update(g, state, p)
        return optax.apply_updates(p, updates), state

    p, state, kept = params, tx.init(params), []
    for t, g in enumerate(gradients, 1):
        p, state = step(p, state, g)
        if t in marks:
            kept.append(_flat(p))
    return kept


def _effects(params, start, moved):
    origin = _flat(params)
    pairs = zip(start, moved, strict=True)
    return tuple(_ratio(np.linalg.norm(y - x), np.linalg.norm(x - origin)) for x, y in pairs)


def _ratio(difference, distance):
    return float(difference / distance) if distance else float(difference > 0)


def _flat(tree):
    leaves = [np.asarray(leaf).ravel() for leaf in jax.tree.leaves(tree)]
    wide = np.complex128 if any(map(np.iscomplexobj, leaves)) else np.float64
    return np.concatenate([leaf.astype(wide) for leaf in leaves])


def _size(x: float) -> str:
    return "nothing" if x == 0 else f"{x:.1%}" if x >= 1e-3 else f"{x:.0e}"


def _only(words):
    return f"only {', '.join(words.algorithms)}"


def _wrapped(text: str, first: str) -> list[str]:
    indent = " " * (len(first) - len(first.lstrip()) + 2)
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=indent)


def _row(cells: list[str], effect: tuple[float, ...] | None, count: int) -> str:
    sizes = ["" for _ in range(count)] if effect is None else list(map(_size, effect))
    text = (html.escape(cell, quote=False).replace("|", "\\|") for cell in (*cells, *sizes))
    return "| " + " | ".join(text) + " |"
