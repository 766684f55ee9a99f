"""How far ours, torch and optax are from one another and from the truth, a line for each class."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import plateau
from .cases import CASES, OURS, Case
from .exact import digits
from .in_optax import NAMES, in_optax

EXACT = 1e-13  # bound: ours from the exact value
TORCH = 1e-12  # bound: ours from torch, where torch itself has not strayed from the exact value

_PLATEAU = "ReduceLROnPlateau"
_OURS = {name: getattr(make, "func", make).__name__ for name, make in OURS.items()} | {
    "SequentialLR": "sequential_lr",
    "ChainedScheduler": "chained_lr",
    _PLATEAU: "reduce_lr_on_plateau",
}


@dataclasses.dataclass(frozen=True)
class Line:
    """The largest differences of one class over all its settings and counts.

    In float64, as a share of the largest value of the schedule; None where there is no such thing.

    Attributes:
        torch: name of the class; with "momentum" what it does to b1.
        ours: name of our function.
        optax: name of optax's, or None.
        sets: how many sets of arguments.
        to_torch: between ours and torch.
        to_exact: between ours and the exact value.
        torch_to_exact: between torch and the exact value.
        optax_sets: how many of the sets optax can express.
        optax_to_torch: between optax and torch in those.
    """

    torch: str
    ours: str
    optax: str | None
    sets: int
    to_torch: float
    to_exact: float | None
    torch_to_exact: float | None
    optax_sets: int
    optax_to_torch: float | None

    @property
    def within(self) -> bool:
        """Whether ours is where it must be: at the exact value, and at torch but for its drift."""
        drift = self.torch_to_exact or 0.0
        return (self.to_exact or 0.0) <= EXACT and self.to_torch <= TORCH + drift


def names(patterns: Iterable[str] = ()) -> list[str]:
    """Classes of torch whose name contains a pattern or matches it as a glob; all without."""
    wanted = {*patterns} or {""}
    known = [*dict.fromkeys(case.name for case in CASES), _PLATEAU]
    return [
        name
        for name in known
        if any(each in name or fnmatch.fnmatch(name, each) for each in wanted)
    ]


def measure(wanted: Iterable[str], steps: int) -> Iterator[Line]:
    """Compare the first updates of every set of settings of each of these classes, in float64."""
    for name in wanted:
        with jax.enable_x64(True):
            yield _plateau(steps) if name == _PLATEAU else _line(name, steps)


def _line(name: str, steps: int) -> Line:
    cases = [case for case in CASES if case.name == name]
    found = [_differences(case, steps) for case in cases]
    expressed = [each for *_, each in found if each is not None]
    to_torch, to_exact, torch_to_exact, _ = zip(*found, strict=True)
    return Line(
        *(name, _OURS[name], NAMES.get(name), len(cases)),
        *(max(to_torch), max(to_exact), max(torch_to_exact)),
        *(len(expressed), max(expressed, default=None)),
    )


def _differences(case: Case, steps: int) -> tuple[float, float, float, float | None]:
    counts = jnp.arange(steps)
    torchs, ours = np.array(case.run_torch(steps)), np.asarray(case.ours()(counts))
    truth = [case.exact(count) for count in range(steps)]
    peak = max(abs(value) for value in truth)
    optax = in_optax(case.name, case.lr, case.settings)
    theirs = None if optax is None else np.asarray(jax.vmap(optax)(counts))
    return (
        _apart(ours, torchs),
        _from_truth(ours, truth, peak),
        _from_truth(torchs, truth, peak),
        None if theirs is None else _apart(theirs, torchs),
    )


def _plateau(steps: int) -> Line:
    to_torch, to_optax = [], []
    for seed, options in enumerate(plateau.SETTINGS):
        losses = plateau.losses(seed, -(-steps // 4))[:steps]
        torchs, _ = plateau.in_torch(losses, plateau.RATE, options)
        ours, _ = plateau.ours(losses, plateau.RATE, options)
        optax = plateau.in_optax(losses, plateau.RATE, options)
        to_torch.append(_apart(ours, torchs))
        if optax is not None:
            to_optax.append(_apart(optax, torchs))
    return Line(
        *(_PLATEAU, _OURS[_PLATEAU], "contrib.reduce_on_plateau", len(to_torch)),
        *(max(to_torch), None, None, len(to_optax), max(to_optax)),
    )


def _apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference over the largest value; what is no number is infinitely far."""
    gap = np.abs(ours - theirs)
    return float(np.max(np.where(np.isnan(gap), np.inf, gap)) / np.max(np.abs(theirs)))


def _from_truth(values: Any, truth: list[Decimal], peak: Decimal) -> float:
    with digits():
        pairs = zip(values.tolist(), truth, strict=True)
        return float(max(abs(Decimal(value) - exact) for value, exact in pairs) / peak)
