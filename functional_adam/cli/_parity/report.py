"""The conformance table as text, as JSON and as a table for the README."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable, Iterable
from importlib.metadata import version

import numpy as np

from .bounds import broken, held
from .figures import Figures
from .measure import Sizes, Table
from .rows import Row

_LEGEND = """\
One step from the same state: 'p ulp' is the largest difference of parameters, in ulp of the largest
of them, 'p off' the fraction that differ; 'm ulp' and 'v ulp' are the largest differences of the
moments, in ulp of each element. Running freely: 'free' is the largest difference over the distance
travelled, 'torch' the same between torch's own fused and single modes, 'truth' and 'theirs' the
same from float64 to the first and the second of the pair. A dot: shown beside ours, no bound."""

_COLUMNS = {
    "p ulp": ("p_ulp",),
    "p off": ("p_off",),
    "m ulp": ("mu_ulp",),
    "v ulp": ("nu_ulp", "nu_max_ulp"),
    "free": ("free",),
    "torch": ("spread",),
    "truth": ("truth",),
    "theirs": ("truth_other",),
}


def as_lines(table: Table, *, full: bool) -> list[str]:
    """The table in lines of 100 columns: one for all options of a pair, or one for each."""
    lines = [*_LEGEND.splitlines(), "", " " * 29 + "".join(f"{title:>8}" for title in _COLUMNS)]
    shown = None
    for (*heading, pair), rows in _groups(table, lambda row: _key(row, full=full)).items():
        if heading != shown:
            shown = heading
            options = "" if full else f", sets of options: {len({row.variant for row in rows})}"
            lines.append(" ".join(heading) + options)
        figures = _worst([table[row] for row in rows])
        cells = (_text(_of(figures, names)) for names in _COLUMNS.values())
        numbers = "".join(f"{cell:>8}" for cell in cells)
        lines.append(f" {pair:<28}{numbers} {_verdict(table, rows)}")
    return lines


def as_json(table: Table, sizes: Sizes) -> str:
    """Every row with its figures and bounds; figures that are no numbers as strings."""
    rows = [
        {
            "name": row.name,
            "algorithm": row.algorithm,
            "variant": row.variant.name,
            "dtype": row.dtype,
            "subject": row.subject,
            "against": row.against,
            "figures": {name: _jsonable(value) for name, value in figures.items()},
            "bounds": held(row, figures),
            "within": not broken(row, figures),
        }
        for row, figures in table.items()
    ]
    about = {
        "versions": {name: version(name) for name in ("jax", "optax", "torch", "numpy")},
        "machine": platform.machine(),
        "sizes": vars(sizes),
    }
    return json.dumps(about | {"rows": rows}, indent=1, allow_nan=False) + "\n"


_HEADS = (
    "algorithm",
    "bridge, any dtype: elements off",
    "JAX[^p], one step: moments",
    "parameters",
    "equal bits",
    "JAX, running freely",
    "torch's fused mode",
    "optax",
)
_NOTE = """
[^p]: float32, the worst of all options, against torch's fused mode where there is one, else its
    foreach mode: moments in ulp, parameters in ulp of the largest. Running freely: the largest
    difference to torch's single mode over the distance travelled."""


def as_markdown(table: Table) -> str:
    """A line for each algorithm."""
    lines = ["| " + " | ".join(_HEADS) + " |", "|---" + "|---:" * (len(_HEADS) - 1) + "|"]
    for (name,), rows in _groups(table, lambda row: (row.algorithm,)).items():
        cells = (f"`{name}`", *_headline(table, rows))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n" + _NOTE + "\n"


def _headline(table: Table, rows: list[Row]) -> list[str]:
    """Cells of an algorithm."""

    def figures(subject: str, against: str) -> Figures:
        pair = (subject, against)
        return _worst(
            [table[r] for r in rows if (r.subject, r.against) == pair and r.dtype == "float32"]
        )

    bridge = _worst([table[row] for row in rows if row.subject.startswith("bridge")])
    has_fused = any(row.against == "torch-fused" for row in rows)
    ours = figures("jax", "torch-fused" if has_fused else "torch-foreach")
    off = _of(ours, ("p_off",))
    return [
        _text([value for name, value in bridge.items() if name.endswith("_off")]),
        _text(_of(ours, ("mu_ulp", "nu_ulp", "nu_max_ulp"))),
        _text(_of(ours, ("p_ulp",))),
        _percent(off),
        _text(_of(figures("jax", "torch-single"), ("free",))),
        _text(_of(figures("torch-fused", "torch-single"), ("free",))),
        _text(_of(figures("optax", "torch-single"), ("free",))),
    ]


def _key(row: Row, *, full: bool) -> tuple[str, ...]:
    options = (row.variant.name,) if full else ()
    return (row.algorithm, *options, row.dtype, f"{row.subject}/{row.against}")


def _groups(rows: Iterable[Row], key: Callable[[Row], tuple[str, ...]]) -> dict:
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def _worst(many: list[Figures]) -> Figures:
    """The largest of each figure; one that is no number is worse than all others."""
    names = dict.fromkeys(name for figures in many for name in figures)
    return {name: float(np.max([f[name] for f in many if name in f])) for name in names}


def _verdict(table: Table, rows: list[Row]) -> str:
    if any(broken(row, table[row]) for row in rows):
        return "BEYOND"
    return "ok" if any(held(row, table[row]) for row in rows) else "."


def _percent(off: list[float]) -> str:
    """Share of elements with equal bits; 100% only of all of them."""
    if not off:
        return "-"
    return f"{100 * (1 - off[0]):.3f}%" if off[0] else "100%"


def _of(figures: Figures, names: tuple[str, ...]) -> list[float]:
    return [figures[name] for name in names if name in figures]


def _text(values: list[float]) -> str:
    """The largest, in at most seven characters; a dash where nothing was measured."""
    if not values:
        return "-"
    value = float(np.max(values))
    if not math.isfinite(value):
        return f"{value}"
    if value == 0 or 0.01 <= value < 1000:
        return f"{value:.3g}"
    return f"{value:.1e}"


def _jsonable(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
