"""What is wrong with a checkpoint: one function for parameters, one for the groups' numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from functional_adam import ALGORITHMS, Algorithm
from functional_adam._leaf import is_signed
from functional_adam.diagnostics import _figures
from functional_adam.diagnostics._words import SHARE
from functional_adam_torch.moving.record import learning_rate_of

from .read import Patient

_HALF = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
_BETAS = ("b1", "b2", "b3")  # what torch's options call betas
_B2 = 0.999  # where nothing says it
_FIELDS = {field for row in ALGORITHMS.values() for field in row.rule.moments}


class Finding(NamedTuple):
    """One thing that was seen.

    Attributes:
        wrong: whether it is wrong; else worth knowing.
        where: parameter, group or file.
        what: in words, with what to do.
    """

    wrong: bool
    where: str
    what: str


def examine(patient: Patient) -> list[Finding]:
    """Everything that is wrong, in the order of the file."""
    found = [*_groups(patient)]
    if patient.strays:
        shown = ", ".join(patient.strays[:5]) + (", ..." if patient.strays[5:] else "")
        what = f"state has entries that belong to no parameter of any group: {shown}"
        found.append(Finding(True, "file", what))
    kept: dict[int, set[str]] = {}
    for name, index in patient.group.items():
        kept.setdefault(index, set()).update(patient.entries.get(name, {}))
    for name, entry in patient.entries.items():
        found += _parameter(patient, name, entry, kept.get(patient.group.get(name, -1), {*entry}))
    for name, value in patient.values.items():
        optimized = name in patient.entries or not patient.named
        found += _finite("file", f"parameter {name}" if optimized else name, value, optimized)
    return [*found, *_steps(patient)]


def _parameter(
    patient: Patient, name: str, entry: dict[str, Any], kept: set[str]
) -> Iterator[Finding]:
    """What is wrong with one parameter's state, of a group that keeps these fields."""
    if not entry:
        yield Finding(False, name, "has no state: it never had a gradient")
        return
    moments = _moments(kept)
    if lacking := [field for field in ("step", *moments) if field not in entry]:
        yield Finding(True, name, f"has no {', '.join(lacking)}: not a state of Adam")
        return
    for field, x in entry.items():
        yield from _finite(name, field, x)
    p = patient.values.get(name)
    shape = np.shape(entry[moments[0]] if p is None else p)
    for field in moments:
        if np.shape(entry[field]) != shape:
            yield Finding(True, name, f"{field} has shape {np.shape(entry[field])}, not {shape}")
            return
    wide = {field: np.asarray(entry[field]).astype(_wide(entry[field])) for field in moments}
    sizes = [field for field in moments if not is_signed(field)]
    for field in sizes:
        if negative := int((np.real(wide[field]) < 0).sum()):
            own = "v" if field == sizes[0] else field
            what = f"{negative} of {own} are negative: no square is. Reset the state"
            yield Finding(True, name, what)
    if not sizes:
        return
    m, v = wide[moments[0]], wide[sizes[0]]
    if dead := int(_figures.dead((v != 0) | ((m != 0) & ~np.isnan(m)), v).sum()):
        yield Finding(
            True, name, f"{dead} of v are 0 where m is not: divided by eps alone. Keep v in float32"
        )
    yield from _memory(patient, name, entry[sizes[0]], v)
    if "nu_max" in wide and (wide["nu_max"].astype(v.dtype) < v).any():
        yield Finding(False, name, "nu_max is below nu: optax's AMSGrad, which corrects before it")


def _moments(kept: set[str]) -> tuple[str, ...]:
    """Moments of the algorithm that keeps these fields; of none: of the one that comes nearest."""

    def distance(row: Algorithm) -> int:
        return len(_FIELDS & kept ^ {*row.rule.moments})

    return min(ALGORITHMS.values(), key=distance).rule.moments


def _memory(patient: Patient, name: str, v: Any, wide: Any) -> Iterator[Finding]:
    """Half precision that cannot forget."""
    if v.dtype not in _HALF or name in patient.random:
        return
    b2 = _b2(patient, name)
    kept = (b2 * wide).astype(v.dtype).astype(wide.dtype)
    standing = _figures.stands(wide, kept, wide, b2 * wide).sum()
    stuck = _figures.share(standing, (wide > 0).sum())
    if stuck > SHARE:
        yield Finding(
            True, name, f"{stuck:.0%} of v in {v.dtype} cannot forget: b2 * v rounds to v, "
            f"b2 = {b2:g}. Keep v in float32, or round at random (moments='bfloat16')"
        )  # fmt: skip


def _finite(where: str, field: str, x: Any, optimized: bool = True) -> Iterator[Finding]:
    """What is not finite; infinite is no fault of a buffer, which may be a mask."""
    x = np.asarray(x)
    if x.dtype.kind in "biu":
        return
    wide = x.astype(_wide(x))
    for word, bad in (("NaN", np.isnan(wide)), ("infinite", np.isinf(wide))):
        if count := int(bad.sum()):
            wrong = optimized or word == "NaN"
            yield Finding(wrong, where, f"{count} of {x.size} of {field} are {word}")


def _steps(patient: Patient) -> Iterator[Finding]:
    steps = {n: float(np.max(e["step"])) for n, e in patient.entries.items() if "step" in e}
    for name, step in steps.items():
        if not (0 <= step < 2**31 and step == int(step)):
            yield Finding(True, name, f"step is {step}: must be a whole number in [0, 2**31)")
        moved = any(np.any(x) for field, x in patient.entries[name].items() if field in _FIELDS)
        if step == 0:
            what = "step is 0, but moments are not 0: the correction divides by 0"
            yield Finding(moved, name, what if moved else "step is 0: nothing was learned yet")
        dtype = np.asarray(patient.entries[name]["step"]).dtype
        limit = 256 if dtype == ml_dtypes.bfloat16 else 2048 if dtype == np.float16 else 2**24
        if dtype.kind not in "iu" and dtype != np.float64 and step >= limit:
            yield Finding(True, name, f"step is {step:g} in {dtype}, which counts no further")
    if len({*steps.values()}) > 1:
        low, high = (f(steps, key=steps.__getitem__) for f in (min, max))
        yield Finding(
            False, "file", f"counts differ: {low} is at {steps[low]:g}, {high} at {steps[high]:g}. "
            "Right if some had no gradient at times, or were added later"
        )  # fmt: skip


def _groups(patient: Patient) -> Iterator[Finding]:
    if not patient.groups:
        yield Finding(False, "file", f"holds no hyperparameters: b2 = {_B2} is assumed")
    for index, group in enumerate(patient.groups):
        where = f"group {index}"
        if damaged := _damaged(group):
            yield Finding(True, where, damaged)
            continue
        for name, b in zip(_BETAS, map(_number, group.get("betas", ())), strict=False):
            if not 0 <= b < 1:
                why = ": it became 1 in a narrow dtype; keep it in float32" if b == 1 else ""
                yield Finding(True, where, f"{name} is {b}, not in [0, 1){why}")
        eps, own = (
            _number(group.get("eps", 1e-8)),
            [n for n, i in patient.group.items() if i == index],
        )
        if not 0 <= eps < np.inf:
            yield Finding(True, where, f"eps is {eps}, not a finite number >= 0")
        dtypes = {
            np.asarray(x).dtype
            for n in own
            for field, x in patient.entries.get(n, {}).items()
            if field in _FIELDS and not is_signed(field)
        }
        low = any(n in patient.random for n in own)
        if eps == 0 or (not low and np.dtype(np.float16) in dtypes and np.float16(eps) == 0):
            shown = "eps is 0" if eps == 0 else f"eps {eps:g} is 0 in float16"
            yield Finding(True, where, f"{shown}: a zero gradient divides 0 by 0")
        if "lr" in group and not 0 <= learning_rate_of(group) < np.inf:
            yield Finding(True, where, f"lr is {_number(group['lr'])}, not a finite number >= 0")
        if "correct_bias" not in group and eps == 1e-6:
            yield Finding(False, where, "eps is 1e-6, the default of Hugging Face, BERT and optimi")
        if eps == 1e-7:
            yield Finding(False, where, "eps is 1e-7, the default of Keras")


def _damaged(group: Mapping[str, Any]) -> str:
    """Which option is no number, or no pair of them."""
    for name in ("betas", "eps", "lr"):
        value = group.get(name, ())
        try:
            _ = [_number(x) for x in (value if isinstance(value, tuple | list) else [value])]
        except (TypeError, ValueError):
            return f"{name} is {value!r}: not a number"
    betas = group.get("betas", _BETAS)
    if not isinstance(betas, tuple | list) or len(betas) < 2:
        return f"betas is {betas!r}: not a pair of numbers"
    return ""


def _b2(patient: Patient, name: str) -> float:
    """Of the parameter's group; the default where nothing says it."""
    index = patient.group.get(name)
    if index is None or "betas" not in patient.groups[index] or _damaged(patient.groups[index]):
        return _B2
    return _number(patient.groups[index]["betas"][1])


def _number(x: Any) -> float:
    return float(x)


def _wide(x: Any) -> Any:
    return (
        np.promote_types(np.float32, np.asarray(x).dtype)
        if np.asarray(x).dtype not in _HALF
        else np.float32
    )
