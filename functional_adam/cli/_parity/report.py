"""The conformance table as text, as JSON and as a table for the README."""

from __future__ import annotations

import json
import math
import platform
from importlib.metadata import version

from functional_adam import ALGORITHMS
from functional_adam._leaf import is_signed

from .bounds import broken, held
from .cells import groups, of, text, worst
from .dialects_report import dialects_as_markdown
from .figures import Figures
from .measure import Sizes, Table
from .rows import Row

_LEGEND = """\
One step from the same state: 'p ulp' is the largest difference of parameters, in ulp of the largest
of them, 'p off' the fraction that differ; 'm ulp' and 'v ulp' are the largest differences of the
moments, in ulp of each element. Running freely: 'free' is the largest difference over the distance
travelled, 'torch' the same between torch's own fused and single modes, 'truth' and 'theirs' the
same from float64 to the first and the second of the pair. A dot: shown beside ours, no bound."""

_FIELDS = tuple(dict.fromkeys(x for row in ALGORITHMS.values() for x in row.rule.moments))
_COLUMNS = {
    "p ulp": ("p_ulp",),
    "p off": ("p_off",),
    "m ulp": tuple(f"{field}_ulp" for field in _FIELDS if is_signed(field)),
    "v ulp": tuple(f"{field}_ulp" for field in _FIELDS if not is_signed(field)),
    "free": ("free",),
    "torch": ("spread",),
    "truth": ("truth",),
    "theirs": ("truth_other",),
}


def as_lines(table: Table, *, full: bool) -> list[str]:
    """The table in lines of 100 columns: one for all options of a pair, or one for each."""
    lines = [*_LEGEND.splitlines(), "", " " * 29 + "".join(f"{title:>8}" for title in _COLUMNS)]
    shown = None
    for (*heading, pair), rows in groups(table, lambda row: _key(row, full=full)).items():
        if heading != shown:
            shown = heading
            options = "" if full else f", sets of options: {len({row.variant for row in rows})}"
            lines.append(" ".join(heading) + options)
        figures = worst([table[row] for row in rows])
        cells = (text(of(figures, names)) for names in _COLUMNS.values())
        numbers = "".join(f"{cell:>8}" for cell in cells) if figures else ""
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
            "within": None if row.missing else not broken(row, figures),
            "not_installed": row.missing,
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
    difference to torch's single mode over the distance travelled. Of what torch has not: against
    the paper in float64 (second moments only), and optax against ours."""


def as_markdown(table: Table) -> str:
    """A line for each algorithm; where dialects were measured, a second table with theirs."""
    dialects = {row: table[row] for row in table if row.in_dialect}
    plain = {row: table[row] for row in table if row not in dialects}
    if dialects and not plain:
        return dialects_as_markdown(dialects)
    lines = ["| " + " | ".join(_HEADS) + " |", "|---" + "|---:" * (len(_HEADS) - 1) + "|"]
    for (name,), rows in groups(plain, lambda row: (row.algorithm,)).items():
        cells = (f"`{name}`", *_headline(plain, rows))
        lines.append("| " + " | ".join(cells) + " |")
    first = "\n".join(lines) + "\n" + _NOTE + "\n"
    return first + "\n" + dialects_as_markdown(dialects) if dialects else first


def _headline(table: Table, rows: list[Row]) -> list[str]:
    """Cells of an algorithm."""

    def figures(subject: str, against: str) -> Figures:
        pair = (subject, against)
        return worst(
            [table[r] for r in rows if (r.subject, r.against) == pair and r.dtype == "float32"]
        )

    bridge = worst([table[row] for row in rows if row.subject.startswith("bridge")])
    if not any(row.against.startswith("torch") for row in rows):
        return _without_torch(figures("jax", "reference"), figures("jax", "optax"))
    has_fused = any(row.against == "torch-fused" for row in rows)
    ours = figures("jax", "torch-fused" if has_fused else "torch-foreach")
    off = of(ours, ("p_off",))
    return [
        text([value for name, value in bridge.items() if name.endswith("_off")]),
        text(of(ours, _COLUMNS["m ulp"] + _COLUMNS["v ulp"])),
        text(of(ours, ("p_ulp",))),
        _percent(off),
        text(of(figures("jax", "torch-single"), ("free",))),
        text(of(figures("torch-fused", "torch-single"), ("free",))),
        text(of(figures("optax", "torch-single"), ("free",))),
    ]


def _without_torch(ours: Figures, optax: Figures) -> list[str]:
    """Cells of an algorithm that torch.optim has not: against float64, optax against ours."""
    off = of(ours, ("p_off",))
    figures = [
        text(of(ours, _COLUMNS["v ulp"])),
        text(of(ours, ("p_ulp",))),
        _percent(off),
        text(of(ours, ("free",))),
    ]
    return ["-", *figures, "-", text(of(optax, ("free",)))]


def _key(row: Row, *, full: bool) -> tuple[str, ...]:
    options = (row.variant.name,) if full else ()
    subject = "jax-*" if row.in_dialect else row.subject
    return (row.algorithm, *options, row.dtype, f"{subject}/{row.against}")


def _verdict(table: Table, rows: list[Row]) -> str:
    if any(row.missing for row in rows):
        return f"not installed: pip install 'functional_adam[{rows[0].missing}]'"
    if any(broken(row, table[row]) for row in rows):
        return "BEYOND"
    return "ok" if any(held(row, table[row]) for row in rows) else "."


def _percent(off: list[float]) -> str:
    """Share of elements with equal bits; 100% only of all of them."""
    if not off:
        return "-"
    return f"{100 * (1 - off[0]):.3f}%" if off[0] else "100%"


def _jsonable(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
