"""What is compared with what: the table of options, and from it the name of every row."""

from __future__ import annotations

import dataclasses
import fnmatch
import inspect
from collections.abc import Iterable
from typing import Any

import torch

from functional_adam import ALGORITHMS, Algorithm

from .. import reference
from .peers import Peer
from .peers_live import LIVE
from .peers_source import SOURCES
from .variants import COMMON, DECAY, DTYPES, HALVES, VARIANTS, Variant

PEERS = (*LIVE, *SOURCES)
"""Every dialect against every framework, in the order of the table."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison: an algorithm with options in a dtype, a subject and what it is held against.

    Attributes:
        subject: `jax` (moments float32 or wider), `jax-half` (moments in the dtype),
            `bridge-single`, `bridge-foreach`; a peer, shown beside ours, without bounds; or
            `jax-<dialect>`, ours in a dialect.
        against: `torch-single`, `torch-foreach`, `torch-fused`, `optax` or `reference`; of a
            dialect the framework that speaks it, or its source, `<framework>-source`.
    """

    algorithm: str
    variant: Variant
    dtype: str
    subject: str
    against: str

    @property
    def name(self) -> str:
        """Name in the table, the parts separated by slashes."""
        parts = (self.algorithm, self.variant.name, self.dtype, self.subject, self.against)
        return "/".join(parts)

    @property
    def in_dialect(self) -> bool:
        """Whether ours is held to the framework that speaks its dialect."""
        return isinstance(self.variant, Peer)

    @property
    def missing(self) -> str | None:
        """The extra that installs what it is compared with, where that is not installed."""
        return self.variant.missing if isinstance(self.variant, Peer) else None


def hyperparameters(algorithm: Algorithm, variant: Variant) -> dict[str, Any]:
    """Values for every hyperparameter that the algorithm has."""
    given = COMMON | {"weight_decay": DECAY[algorithm.decay]} | dict(variant.hyperparameters)
    own = {name: x for name, x in algorithm.defaults.items() if name not in given}
    return {name: {**own, **given}[name] for name in algorithm.hyperparameters}


def torch_modes(algorithm: Algorithm) -> tuple[str, ...]:
    """How torch can run an algorithm: single, foreach and, where there is one, fused; or not."""
    if algorithm.torch_twin is None:
        return ()
    has_fused = "fused" in inspect.signature(algorithm.torch_twin.of(torch.optim)).parameters
    return ("single", "foreach", "fused") if has_fused else ("single", "foreach")


def is_written(algorithm: Algorithm, variant: Variant) -> bool:
    """Whether the float64 oracle has it."""
    return hasattr(reference, algorithm.name + ("_nesterov" if variant.nesterov else ""))


def every_row() -> list[Row]:
    """All rows, in the order of the table."""
    plain = [
        Row(name, variant, dtype, subject, against)
        for name, algorithm in ALGORITHMS.items()
        for variant in VARIANTS
        if _has(algorithm, variant)
        for dtype in DTYPES
        for subject, against in _pairs(algorithm, variant, dtype)
    ]
    dialects = [
        Row(peer.algorithm, peer, dtype, peer.subject, peer.framework)
        for peer in PEERS
        for dtype in peer.dtypes
    ]
    return plain + dialects


def select(rows: Iterable[Row], patterns: Iterable[str]) -> list[Row]:
    """Rows of that name, or whose name contains a pattern or matches it as a glob; all without."""
    rows, wanted = list(rows), {*patterns} or {""}
    exact = wanted & {row.name for row in rows}
    return [
        row
        for row in rows
        if row.name in exact
        or any(each in row.name or fnmatch.fnmatchcase(row.name, each) for each in wanted - exact)
    ]


def _has(algorithm: Algorithm, variant: Variant) -> bool:
    """Whether an algorithm has these options."""
    if variant.nesterov and "nesterov" not in inspect.signature(algorithm.make).parameters:
        return False
    return {*variant.hyperparameters} <= {*algorithm.hyperparameters}


def _pairs(algorithm: Algorithm, variant: Variant, dtype: str) -> list[tuple[str, str]]:
    modes = () if variant.nesterov else torch_modes(algorithm)
    pairs = [("bridge-single", "torch-single"), ("bridge-foreach", "torch-foreach")][: len(modes)]
    if algorithm.torch_twin is None:
        oracle = "reference" if is_written(algorithm, variant) else "jax"
        pairs = [("bridge-single", oracle), ("bridge-foreach", "bridge-single")]
    pairs += [("jax", f"torch-{mode}") for mode in modes]
    if dtype in HALVES and dtype in variant.free:
        pairs += [("jax-half", f"torch-{mode}") for mode in modes]
    optax = algorithm.optax and "momentum_decay" not in variant.hyperparameters
    pairs += [("jax", "optax")] if optax else []
    pairs += [("jax", "reference")] if is_written(algorithm, variant) else []
    pairs += [("torch-fused", "torch-single")] if "fused" in modes else []
    pairs += [("optax", "torch-single")] if optax and modes else []
    return pairs
