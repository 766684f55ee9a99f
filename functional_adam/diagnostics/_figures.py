"""Every figure's formula, once: for JAX arrays, torch tensors and NumPy arrays.

What is asked of a coordinate is written with operators. `ops` has the rest: `total(x)` and
`count(mask)` of the last axis, `abs(x)`, `sqrt(x)`, `where(c, a, b)`. Sums add over leaves, and
figures are made of sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np


class Columns(NamedTuple):
    """What is looked at of some coordinates: real arrays of one shape, float32 or wider."""

    u: Any  # update
    p: Any  # parameter before it
    landed: Any  # p + u in the parameter's dtype
    m: Any  # first moment after the step
    v: Any  # second moment after the step
    kept: Any  # b2 * v in the dtype that v is kept in
    last: Any  # the moment that the step is divided by: v, or AMSGrad's maximum
    g: Any  # gradient, or None


class Scalars(NamedTuple):
    """What coordinates of one state share; numbers, or arrays that broadcast."""

    b1: Any
    b2: Any
    c1: Any  # 1 - b1**t
    c2: Any  # 1 - b2**t
    cut: Any  # where the last moment is smaller, eps dominates; None: not known
    rate: Any  # learning rate, or None


class Sums(NamedTuple):
    """Sums over coordinates; None without gradients, or where a scalar is not known."""

    seen: Any
    live: Any
    positive: Any
    u2: Any
    p2: Any
    u: Any
    m_hat: Any
    moving: Any
    lost: Any
    dead: Any
    stuck: Any
    small: Any
    steps2: Any
    g_live: Any
    agree: Any
    spike: Any
    spiked: Any
    unsound: Any


class Figures(NamedTuple):
    """Of one leaf, one group, or everything; float32 scalars. None: not known here.

    A coordinate is live where m, v or g is not zero.

    Attributes:
        update_ratio: norm of the update over norm of the weights; infinite for zero weights.
        effective_rate: sum of |u| over sum of |m / c1|: the rate at which plain momentum would
            go as far, decay included.
        eps_dominates: share of live coordinates where the step would be more than twice as long
            without eps: ``sqrt(v / c2) < eps`` where eps is added after the correction.
        dead: share of live coordinates with v = 0.
        stuck: share of positive v that cannot forget: ``b2 * v`` rounds to v where it is kept.
        lost: share of nonzero updates with ``p + u == p`` in the parameter's dtype.
        spike: root of the mean of ``g**2 / (v / c2)`` where v > 0; at most ``sqrt(c2 / (1 - b2))``.
            Wortsman et al. 2023, section 3.4, https://arxiv.org/abs/2304.13013.
        agreement: share of nonzero gradients whose sign is the momentum's; `chance` if there are
            none.
        chance: the agreement of gradients that are noise, ``1/2 + asin(sqrt(1 - b1**2)) / pi``.
        c1: 1 - b1**t, how full the first average is.
        c2: 1 - b2**t.
        step_size: root of the mean of ``(u / learning_rate)**2`` over live coordinates.
        live: share of coordinates.
        unsound: 1 where a sum of |u|, |m| or v (or of |g|) is not finite, or a v is negative.
    """

    update_ratio: Any
    effective_rate: Any
    eps_dominates: Any
    dead: Any
    stuck: Any
    lost: Any
    spike: Any
    agreement: Any
    chance: Any
    c1: Any
    c2: Any
    step_size: Any
    live: Any
    unsound: Any


def underflows(g: Any, square: Any) -> Any:
    """A gradient that v does not see."""
    return (g != 0) & (square == 0)


def dead(live: Any, v: Any) -> Any:
    """Divided by eps alone."""
    return live & (v == 0)


def stands(old: Any, new: Any, exact: Any, moved: Any) -> Any:
    """A moment that stood still (old, new) where an exact one moved (exact, moved)."""
    return (old > 0) & (new == old) & (moved != exact)


def small(live: Any, last: Any, cut: Any) -> Any:
    """Where eps dominates."""
    return live & (last < cut)


def lost(u: Any, p: Any, landed: Any) -> Any:
    """An update that does not move the parameter."""
    return (u != 0) & (landed == p)


def agree(g: Any, m: Any) -> Any:
    """Gradient and momentum of one sign."""
    return ((g > 0) & (m > 0)) | ((g < 0) & (m < 0))


def share(some: Any, of: Any) -> Any:
    """One count over another; 0 of nothing is 0."""
    return some / _xp(of).maximum(of, 1.0)


def sums(ops: Any, x: Columns, at: Scalars, linear: bool = False) -> Sums:
    """Sums over the last axis; `linear` where v grows as the gradient, not as its square."""
    live = (x.v > 0) | (x.m != 0)
    live = live if x.g is None else live | (x.g != 0)
    positive = x.v > 0
    sizes = [ops.abs(x.u), ops.abs(x.m), ops.where(x.v < 0, math.nan, x.v)]
    sizes += [] if x.g is None else [ops.abs(x.g)]
    totals = [ops.total(size) for size in sizes]
    g_live = agreeing = spike = None
    if x.g is not None:
        root = ops.where(positive, x.v, 1.0) / at.c2
        ratio = x.g / (ops.where(positive, x.v, 1.0) if linear else ops.sqrt(root))
        spike = ops.total(ops.where(positive, ratio * ratio, 0.0))
        g_live, agreeing = ops.count(x.g != 0), ops.count(agree(x.g, x.m))
    live_count, u2 = ops.count(live), ops.total(x.u * x.u)
    return Sums(
        seen=ops.count(x.u == x.u) + ops.count(x.u != x.u),
        live=live_count,
        positive=ops.count(positive),
        u2=u2,
        p2=ops.total(x.p * x.p),
        u=totals[0],
        m_hat=totals[1] / _flat(at.c1),
        moving=ops.count(x.u != 0),
        lost=ops.count(lost(x.u, x.p, x.landed)),
        dead=ops.count(dead(live, x.v)),
        stuck=ops.count(stands(x.v, x.kept, x.v, at.b2 * x.v)),
        small=None if at.cut is None else ops.count(small(live, x.last, at.cut)),
        steps2=None if at.rate is None else u2 / _flat(at.rate) ** 2,
        g_live=g_live,
        agree=agreeing,
        spike=spike,
        spiked=None if spike is None else ops.count(positive),
        unsound=sum(ops.where(total - total == 0, 0.0, 1.0) for total in totals),
    )


def figures(s: Sums, b1: Any, c1: Any, c2: Any) -> Figures:
    """Figures of sums: of scalars, or Python floats."""
    xp = _xp(s.live)
    divisor = xp.where(s.p2 > 0, s.p2, 1.0)
    ratio = xp.where(s.p2 > 0, xp.sqrt(s.u2 / divisor), xp.where(s.u2 > 0, math.inf, 0.0))
    some = s.m_hat > 0
    rate = xp.where(some, s.u / xp.where(some, s.m_hat, 1.0), 0.0)
    gradients = s.g_live is not None
    chance = 0.5 + xp.arcsin(xp.sqrt(1 - b1 * b1)) / math.pi if gradients else None
    return Figures(
        update_ratio=ratio,
        effective_rate=rate,
        eps_dominates=None if s.small is None else share(s.small, s.live),
        dead=share(s.dead, s.live),
        stuck=share(s.stuck, s.positive),
        lost=share(s.lost, s.moving),
        spike=None if s.spike is None else xp.sqrt(share(s.spike, s.spiked)),
        agreement=xp.where(s.g_live > 0, share(s.agree, s.g_live), chance) if gradients else None,
        chance=chance,
        c1=c1,
        c2=c2,
        step_size=None if s.steps2 is None else xp.sqrt(share(s.steps2, s.live)),
        live=share(s.live, s.seen),
        unsound=xp.where(s.unsound > 0, 1.0, 0.0),
    )


def added(many: Sequence[Sums], weights: Sequence[float]) -> Sums:
    """Sums over several leaves; what one of them does not know is not known of all.

    Args:
        many: of the coordinates that were looked at.
        weights: how many coordinates each of these stands for, by leaf.
    """

    def total(column: Sequence[Any]) -> Any:
        if any(x is None for x in column):
            return None
        xp = _xp(column[0])
        dtype = getattr(column[0], "dtype", None)
        return (xp.stack(column) * xp.asarray(weights, dtype)).sum()

    return Sums(*map(total, zip(*many, strict=True)))


def _flat(x: Any) -> Any:
    """A scalar of rows without their last axis."""
    return x[..., 0] if getattr(x, "ndim", 0) else x


def _xp(x: Any) -> Any:
    return np if isinstance(x, float | np.ndarray | np.floating) else jnp
