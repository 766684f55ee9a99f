"""How far apart two may be: every bound of the conformance table, with what sets it.

A row is held to all bounds that match it; of two for the same figure the later one counts. Rows
that match none are reported only: peers among themselves, optax where it is another formula, and
torch's half precision against ours where torch rounds after every operation.
"""

from __future__ import annotations

import dataclasses

from functional_adam import ALGORITHMS

from .figures import Figures
from .peers import Peer
from .rows import HALVES, Row, torch_modes

# torch has a fused mode of these, the one another backend can reach bit for bit; of others not.
_ADAMS = tuple(name for name, a in ALGORITHMS.items() if "fused" in torch_modes(a))
_OTHERS = tuple(name for name in ALGORITHMS if name not in _ADAMS)
_WIDE = ("float32", "float64")
_TORCH = ("torch-single", "torch-foreach", "torch-fused")


@dataclasses.dataclass(frozen=True)
class Bound:
    """Largest allowed values of figures in the rows that match; empty: any.

    A measured figure that is no number is beyond any bound.
    """

    figures: Figures
    subjects: tuple[str, ...]
    against: tuple[str, ...]
    algorithms: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()

    def matches(self, row: Row) -> bool:
        """Whether the row is held to this bound."""
        pairs = (
            (self.subjects, row.subject),
            (self.against, row.against),
            (self.algorithms, row.algorithm),
            (self.variants, row.variant.name),
            (self.dtypes, row.dtype),
        )
        return all(not allowed or value in allowed for allowed, value in pairs)


_FIELDS = {field for a in ALGORITHMS.values() for field in a.rule.moments}
_EQUAL_MOMENTS: Figures = {f"{field}_off": 0 for field in sorted(_FIELDS)}

BOUNDS = (
    # The bridge makes the calls that torch makes: bit for bit, NaN of float16 included.
    Bound(
        _EQUAL_MOMENTS | {"p_off": 0, "free_off": 0},
        subjects=("bridge-single", "bridge-foreach"),
        against=_TORCH,
    ),
    # In half precision torch's `_foreach_mul_` rounds the number it multiplies by, `mul_` does not.
    Bound(
        _EQUAL_MOMENTS | {"p_off": 0, "free_off": 0},
        subjects=("bridge-foreach",),
        against=("bridge-single",),
        dtypes=_WIDE,
    ),
    Bound({"p_ulp": 2, "truth": 1e-3}, ("bridge-single",), ("reference",), dtypes=("float32",)),
    Bound({"p_ulp": 200, "free": 1e-12}, ("bridge-single",), ("reference",), dtypes=("float64",)),
    # torch's single and foreach modes take a square root that is not correctly rounded (an ulp in
    # one element of six); its fused mode and XLA round it correctly.
    Bound(
        _EQUAL_MOMENTS | {"p_ulp": 4},
        subjects=("jax",),
        against=("torch-single", "torch-foreach"),
        algorithms=_ADAMS,
        dtypes=_WIDE,
    ),
    # Bit for bit but where optax's contract shows: AdamW's update is the difference of two
    # parameters, itself rounded where they differ by more than a factor of two.
    Bound(
        _EQUAL_MOMENTS | {"p_off": 1e-3, "p_ulp": 2},
        subjects=("jax",),
        against=("torch-fused",),
        dtypes=_WIDE,
    ),
    # torch has no fused mode of these: root as above, and its two modes gather the factors of
    # RAdam in two orders.
    Bound(
        {"mu_ulp": 1, "nu_ulp": 1, "p_ulp": 4},
        subjects=("jax",),
        against=("torch-single", "torch-foreach"),
        algorithms=_OTHERS,
        dtypes=_WIDE,
    ),
    # In half precision the fused mode computes in float32, as we do, and rounds the new parameter
    # once; optax's contract rounds the update and then the sum, so near-ties fall otherwise.
    Bound(
        _EQUAL_MOMENTS | {"p_off": 0.03, "p_ulp": 1},
        subjects=("jax",),
        against=("torch-fused",),
        dtypes=HALVES,
    ),
    # Against float64: the rounding of the parameter, of the update (half precision), and of
    # AdamW's factor 1 - learning_rate * weight_decay. A second moment is a sum of positive terms,
    # so its ulp mean something: three roundings, unless decay has cancelled in the gradient.
    Bound({"p_ulp": 2}, subjects=("jax",), against=("reference",)),
    Bound(
        {"nu_ulp": 3, "nu_max_ulp": 3},
        subjects=("jax",),
        against=("reference",),
        variants=("plain", "maximize", "b2=.95", "b2=.99999", "b1=.3"),
    ),
    # Of a centered moment, g - m is squared: the rounding of m is 1 / b1 times as large a part of
    # that as of m.
    Bound(
        {"nu_centered_ulp": 16},
        subjects=("jax",),
        against=("reference",),
        variants=("plain", "maximize", "b2=.95", "b2=.99999", "b1=.3"),
    ),
    # In float64 step scalars are torch's: at b2 = .99999, 1 - b2**t is off by 1e-11 in the first
    # steps and RAdam's rho_t by 1e-6. 200 ulp are 4e-14.
    Bound({"p_ulp": 200}, subjects=("jax",), against=("reference",), dtypes=("float64",)),
    # Free running: never further from torch than three times its own two modes from one another,
    # and never further from the truth than torch, but for chance (in float64 a matter of one ulp).
    Bound(
        {"free": 1e-5, "times_spread": 3},
        subjects=("jax",),
        against=_TORCH,
        dtypes=("float32",),
    ),
    Bound(
        {"times_truth": 1.25},
        subjects=("jax", "jax-half"),
        against=_TORCH,
        dtypes=("float32", *HALVES),
    ),
    Bound({"free": 1e-12}, subjects=("jax",), against=(*_TORCH, "reference"), dtypes=("float64",)),
    # float32, 1000 steps of rounding; with decay the rounding of the factor is systematic.
    Bound({"truth": 1e-3}, subjects=("jax",), against=("reference",), dtypes=("float32",)),
    # Parameters near 1 in half precision hardly move at this rate: not worse than standing still.
    Bound({"truth": 1.05}, subjects=("jax",), against=("reference",), dtypes=HALVES),
    # Lion's steps are of one size: one that rounds to a whole spacing does so every time, and from
    # half of a spacing on that is up to twice as far.
    Bound({"truth": 2}, ("jax",), ("reference",), ("lion",), dtypes=HALVES),
)

_SAME_AS_OPTAX = tuple(name for name, a in ALGORITHMS.items() if a.optax and a.optax.same)

# optax computes 1 - b**t in float32: its error, not ours, is what these measure; in float64 the
# two agree. Its first moment is written b1 * m + (1 - b1) * g, which rounds otherwise wherever the
# terms cancel, so ulp of its elements say nothing.
OPTAX_BOUNDS = (
    Bound({"p_ulp": 2, "nu_ulp": 4, "free": 1e-12}, ("jax",), ("optax",), dtypes=("float64",)),
    Bound({"p_ulp": 2, "nu_ulp": 4, "free": 1e-3}, ("jax",), ("optax",), dtypes=("float32",)),
    Bound({"p_ulp": 32}, ("jax",), ("optax",), (), ("b2=.99999",), ("float32",)),
    Bound({"nu_centered_ulp": 16}, ("jax",), ("optax",), dtypes=("float32", "float64")),
    # There b2 is a float32 array before 1 - b2 is formed, which has then lost its digits.
    Bound({"nu_ulp": 1e3}, ("jax",), ("optax",), ("adopt",), (), ("float32",)),
    Bound({"nu_ulp": 3e4}, ("jax",), ("optax",), ("adopt",), ("b2=.99999",), ("float32",)),
    # A sign that falls otherwise is two whole steps of the thousand.
    Bound({"free": 1e-2}, ("jax",), ("optax",), ("lion",), (), ("float32",)),
)


# A dialect against the framework that speaks it, or against its source in float64. In float32 the
# running figure is that of their 1 - b**t in float32; sources compute in float64 always.
PEER_BOUNDS: dict[str, Figures] = {
    "float32": {"p_ulp": 4, "free": 1e-3},
    "float64": {"p_ulp": 4, "free": 1e-12},
}


def limits(row: Row) -> Figures:
    """What the row is held to: figure -> largest allowed value."""
    if isinstance(row.variant, Peer):
        return PEER_BOUNDS[row.dtype] if row.variant.equal else {}
    table = BOUNDS if row.against != "optax" else OPTAX_BOUNDS
    if row.against == "optax" and row.algorithm not in _SAME_AS_OPTAX:
        return {}
    found: Figures = {}
    for bound in table:
        if bound.matches(row):
            found |= bound.figures
    return found


def held(row: Row, figures: Figures) -> Figures:
    """The limits whose figures were measured: not all options also run freely."""
    return {name: limit for name, limit in limits(row).items() if name in figures}


def broken(row: Row, figures: Figures) -> list[str]:
    """Name the figures of a row that are beyond their bounds, with both."""
    return [
        f"{row.name}: {name} is {figures[name]:.3g}, bound {limit:.3g}"
        for name, limit in held(row, figures).items()
        if not figures[name] <= limit
    ]
