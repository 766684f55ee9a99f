"""Step implementations side by side: once from the same state, and freely."""

from __future__ import annotations

import dataclasses
import functools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed

import numpy as np

from functional_adam import ALGORITHMS

from . import figures
from .figures import Figures
from .implementations import Implementation, double_precision, leader_of, make, on_the_host
from .inputs import Leaves, State, beginning, gradients
from .peers import Peer
from .rows import HALVES, Row, Variant, every_row, is_written, torch_modes


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        one_step: elements of each leaf stepped from the same state; torch's fused kernel contracts
            otherwise in the tail that is left beside multiples of 64.
        free: elements of each leaf that runs freely, odd on purpose.
        common_steps: steps from the same state.
        free_steps: steps of a free run.
    """

    one_step: int = 65_536
    free: int = 4_099
    common_steps: int = 24
    free_steps: int = 1_000


# Half of the common steps are taken at the start of training, half here.
_LATE = 2_000

Table = dict[Row, Figures]


def groups(rows: Iterable[Row]) -> list[list[Row]]:
    """Rows that are measured together: those of one algorithm and variant, float64 apart."""
    found: dict[tuple[str, str, bool], list[Row]] = {}
    for row in rows:
        found.setdefault((row.algorithm, row.variant.name, row.dtype == "float64"), []).append(row)
    return list(found.values())


def measure(rows: list[Row], sizes: Sizes, done: Callable[[Row], None], jobs: int = 1) -> Table:
    """Figures of every row, in the order of the rows, by so many processes.

    A row whose framework is not installed has none. `done` is called with the first row of each of
    the `groups` when that is measured.
    """
    table: Table = {row: {} for row in rows if row.missing}
    for found in _each(groups(row for row in rows if not row.missing), sizes, jobs):
        table |= found
        done(next(iter(found)))
    return {row: table[row] for row in rows}


def _each(grouped: list[list[Row]], sizes: Sizes, jobs: int) -> Iterator[Table]:
    if jobs == 1:
        yield from (_measure_group(group, sizes) for group in grouped)
        return
    # Forking a process that has threads, JAX's or torch's, may never return.
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
    try:
        futures = {
            pool.submit(_measure_named, [row.name for row in group], sizes): group
            for group in grouped
        }
        for future in as_completed(futures):
            yield dict(zip(futures[future], future.result(), strict=True))
    finally:
        pool.shutdown(cancel_futures=True)


def _measure_named(names: list[str], sizes: Sizes) -> list[Figures]:
    """In a process of its own, which is told names: rows may hold schedules, which have none."""
    found = {row.name: row for row in every_row()}
    return list(_measure_group([found[name] for name in names], sizes).values())


def _measure_group(rows: list[Row], sizes: Sizes) -> Table:
    """Figures of the rows of one algorithm and variant, all in float64 or none.

    The dtypes are the leaves of one model, so that each framework compiles once for all of them.
    """
    algorithm, variant = rows[0].algorithm, rows[0].variant
    table: Table = {row: {} for row in rows}
    with on_the_host(), double_precision(rows[0].dtype == "float64"):
        common = [row for row in rows if row.subject != "jax-half"]
        if common:
            for row, found in _from_the_same_state(algorithm, variant, common, sizes).items():
                table[row] |= found
        running = [row for row in rows if row.dtype in variant.free]
        if running:
            for row, found in _free(algorithm, variant, running, sizes).items():
                table[row] |= found
    return table


def _from_the_same_state(
    algorithm: str, variant: Variant, rows: list[Row], sizes: Sizes
) -> dict[Row, Figures]:
    """Steps of every implementation from the states that one of torch's goes through."""
    dtypes = _dtypes(rows)
    leader = leader_of(algorithm, variant)
    names = {leader} | {name for row in rows for name in (row.subject, row.against)}
    implementations = {name: make(name, algorithm, variant) for name in sorted(names)}
    state = start = beginning(ALGORITHMS[algorithm], dtypes, sizes.one_step)
    seen: dict[Row, list[Figures]] = {row: [] for row in rows}
    for step in range(sizes.common_steps):
        if step == sizes.common_steps // 2:
            state = dataclasses.replace(state, count=_LATE)
        g = gradients(dtypes, sizes.one_step, step + 1)
        for implementation in implementations.values():
            implementation.load(state)
            implementation.step(g)
        after = {name: each.state() for name, each in implementations.items()}
        led = after[leader]
        after = {name: _double(each) for name, each in after.items()}
        for row in rows:
            pair = after[row.subject], after[row.against]
            seen[row].append(figures.one_step(*pair, row.dtype))
        state = _finite(led, start)
    return {row: figures.worst(found) for row, found in seen.items()}


def _free(algorithm: str, variant: Variant, rows: list[Row], sizes: Sizes) -> dict[Row, Figures]:
    """Where every implementation gets to, each on its own way."""
    names = {name for row in rows for name in (row.subject, row.against)}
    if not isinstance(variant, Peer):
        if is_written(ALGORITHMS[algorithm], variant):
            names.add("reference")
        if not variant.nesterov:
            names |= {f"torch-{mode}" for mode in torch_modes(ALGORITHMS[algorithm])}
    begin = functools.partial(beginning, ALGORITHMS[algorithm], size=sizes.free)
    dtypes = _dtypes(rows)
    origin = figures.double(begin(dtypes).params)
    ends: dict[str, Leaves] = {}
    for name in sorted(names):
        ends[name] = {}
        # A dtype to keep moments in holds for all leaves: one run for each.
        parts = [(half,) for half in HALVES if half in dtypes] if name == "jax-half" else [dtypes]
        for part in parts:
            implementation = make(name, algorithm, variant, moments=part[0])
            ends[name] |= _run(implementation, begin(part), sizes)
    return {row: _apart(row, ends, origin) for row in rows}


def _apart(row: Row, ends: dict[str, Leaves], origin: Leaves) -> Figures:
    """Figures of a row from the ends of all runs."""

    def apart(a: str, b: str) -> Figures:
        return figures.free(ends[a], ends[b], origin, row.dtype)

    f = apart(row.subject, row.against)
    if "reference" not in ends:
        return f
    f["truth"] = apart(row.subject, "reference")["free"]
    if row.against != "reference":
        f["truth_other"] = apart(row.against, "reference")["free"]
        f["times_truth"] = figures.ratio(f["truth"], f["truth_other"])
    if "torch-fused" in ends:
        f["spread"] = apart("torch-fused", "torch-single")["free"]
        f["times_spread"] = figures.ratio(f["free"], f["spread"])
    return f


def _run(implementation: Implementation, start: State, sizes: Sizes) -> Leaves:
    implementation.load(start)
    dtypes = tuple(start.params)
    for t in range(1, sizes.free_steps + 1):
        implementation.step(gradients(dtypes, sizes.free, t))
    return figures.double(implementation.state().params)


def _finite(state: State, start: State) -> State:
    """The state, with parameters that are no numbers any more (float16) put back to the start."""
    params = {
        name: np.where(np.isfinite(p), p, start.params[name]) for name, p in state.params.items()
    }
    return dataclasses.replace(state, params=params)


def _double(state: State) -> State:
    moments = {field: figures.double(leaves) for field, leaves in state.moments.items()}
    return dataclasses.replace(state, params=figures.double(state.params), moments=moments)


def _dtypes(rows: list[Row]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row.dtype for row in rows))
