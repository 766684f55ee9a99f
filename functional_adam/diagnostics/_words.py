"""Thresholds, each with its reason, and what to change: one table."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax

from ..convert import names
from ._figures import Figures

SHARE = 0.05  # of coordinates from which on something is said


class Limit(NamedTuple):
    """One row of the table.

    Attributes:
        above: value from which on something is said; None: there is none.
        below: value under which something is said; None: there is none.
        words: what it means, after the figure.
        remedy: what to change.
        reason: why this threshold.
    """

    above: float | None
    below: float | None
    words: str
    remedy: str
    reason: str


_FEW = "a twentieth is more than sampling or single coordinates make"

LIMITS: dict[str, Limit] = {
    "unsound": Limit(0.5, None, "an update, a moment or a gradient is not finite, or v is negative",
        "Go back to the last sound checkpoint; skip such steps with optax.apply_if_finite.",
        "no such number belongs in a state of Adam"),
    "update_ratio": Limit(0.1, 1e-6, "is the step over the weights, in norm",
        "Lower the learning rate (or raise it, if too small).",
        "around 1e-3 is usual; 0.1 replaces the weights in ten steps, 1e-6 needs a million"),
    "eps_dominates": Limit(SHARE, None,
        "of live coordinates have sqrt(v) below eps: for them Adam is momentum",
        "Use a smaller eps.", _FEW),
    "dead": Limit(SHARE, None, "of live coordinates have v = 0: they are divided by eps alone",
        "Keep v in float32.", _FEW),
    "stuck": Limit(SHARE, None, "of v that are not 0 do not move when they should",
        "Keep v in float32, or use moments='bfloat16', which is rounded at random.", _FEW),
    "lost": Limit(0.5, None, "of updates do not move their weight, which is rounded back",
        "Keep float32 weights behind it: with_master, or master_bits in torch.",
        "weights far larger than their step always lose some; half is stagnation"),
    "spike": Limit(2.3, None, "is the gradient over sqrt(v): v is older than the gradients",
        "Clip gradients, or lower b2, so that v follows faster.",
        "loss spikes follow at 2.3, Wortsman et al. 2023, https://arxiv.org/abs/2304.13013"),
    "agreement": Limit(None, -0.1, "of gradients have the sign of the momentum, fewer than chance",
        "Steps overshoot: lower the learning rate, or b1.",
        "noise agrees by chance; a tenth less means that gradients turn around"),
    "c2": Limit(None, 0.05, "of the second average is filled",
        "Warm up the learning rate over the first steps, about 0.05 / (1 - b2) of them.",
        "v is then the mean of few gradients, and the step as noisy"),
}  # fmt: skip
"""What `summarize` says something about. `agreement` is compared with `chance`."""

# The probe of `tune` sees gradients squared in their own dtype, which a state does not show.
UNDERFLOW = Limit(
    SHARE, None, "of nonzero gradients have a square of 0: v does not see them",
    "Keep v in float32.", _FEW,
)  # fmt: skip


def said(name: str, value: float, limit: Limit) -> str:
    """The sentence for a figure beyond its limit."""
    shown = f"{value:.0%}" if name in _SHARES else "" if name == "unsound" else f"{value:.2g}"
    return f"{shown} {limit.words}. {limit.remedy}".strip()


_UNCERTAIN = (
    "eps_dominates, spike: not known, for the state may be Adam's, Adamax's or RAdam's: name it, "
    "health(..., algorithm='adam')."
)
_SHARES = ("underflow", "eps_dominates", "dead", "stuck", "lost", "agreement", "c2")


def summarize(health: Any) -> list[str]:
    """Say in words what to change and why; worst leaves by name.

    Args:
        health: `Health`, of arrays that are not traced.

    Returns:
        A sentence for each entry of `LIMITS` that everything together, or a leaf, is beyond, with
        the figure of everything, or where that is within, of the worst leaf; one that all is well
        where there is none.
    """
    found = jax.device_get(health)
    own = jax.tree_util.tree_leaves_with_path(
        found.leaves, is_leaf=lambda x: isinstance(x, Figures)
    )
    parts = {names.dotted(path): x for path, x in own}
    lines = []
    for name, limit in LIMITS.items():
        value = getattr(found.total, name)
        excess = {leaf: _excess(name, x, limit) for leaf, x in parts.items()}
        beyond = sorted((x for x in parts if excess[x] > 0), key=lambda x: -excess[x])
        whole = _excess(name, found.total, limit) > 0
        if value is not None and (beyond or whole):
            where = ", ".join(beyond[:3]) + (f" and {len(beyond) - 3} more" if beyond[3:] else "")
            if not whole:
                value = getattr(parts[beyond[0]], name)
            own_line = said(name, float(value), limit)
            lines.append(f"{name}: {own_line}" + (f" In: {where}." if where else ""))
    if found.total.eps_dominates is None:
        lines.append(_UNCERTAIN)
    return lines or ["Nothing is wrong: every figure is within its limit."]


def _excess(name: str, figures: Figures, limit: Limit) -> float:
    """How far a figure is beyond its limit; not above 0: it is within."""
    value = getattr(figures, name)
    # Weights that are zero have no ratio.
    if value is None or (name == "update_ratio" and (value == 0 or math.isinf(value))):
        return 0.0
    if name == "agreement":
        value = value - figures.chance
    above = math.inf if limit.above is None else limit.above
    below = -math.inf if limit.below is None else limit.below
    return float(max(value - above, below - value))
