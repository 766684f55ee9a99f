"""The table of dialects: how near each is to the framework that speaks it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from .cells import groups, of, text, worst
from .figures import Figures
from .measure import Table
from .peers import Peer
from .rows import Row

_HEADS = (
    "framework",
    "dialect",
    "algorithms",
    "sets of options",
    "one step[^d], float32",
    "float64",
    "running freely[^e], float32",
    "float64",
)
_NOTE = """
[^d]: the worst of all options, from the same state, in ulp of the largest parameter.
[^e]: the largest difference over the distance travelled. In float32 it is the framework's own
    rounding, of 1 - b2**t most of all, except of sources, which are float64 always."""
_DISTRIBUTIONS = {"optimi": "torch-optimi"}


def dialects_as_markdown(table: Table) -> str:
    """A line for each framework."""
    lines = ["| " + " | ".join(_HEADS) + " |", "|---|---|---|" + "---:|" * (len(_HEADS) - 3)]
    for (framework, dialect, equal), rows in groups(table, _key).items():
        names = ", ".join(f"`{name}`" for name in dict.fromkeys(row.algorithm for row in rows))
        note = "" if equal else ", rounds otherwise[^m]"
        sets = len({(row.algorithm, row.variant.name) for row in rows})
        numbers = [_cell(table, rows, *cell) for cell in _CELLS]
        if rows[0].missing:
            numbers = ["not installed", "", "", ""]
        cells = [_framework(framework) + note, f"`{dialect}`", names, str(sets), *numbers]
        lines.append("| " + " | ".join(cells) + " |")
    notes = _NOTE
    if any(isinstance(row.variant, Peer) and not row.variant.equal for row in table):
        notes += (
            "\n[^m]: with `mu_dtype=bfloat16` optax rounds b1 * mu to it before it adds; ours "
            "computes in float32\n    and rounds once. No bound."
        )
    return "\n".join(lines) + "\n" + notes + "\n"


_CELLS = (("float32", "p_ulp"), ("float64", "p_ulp"), ("float32", "free"), ("float64", "free"))


def _key(row: Row) -> tuple[str, str, bool]:
    assert isinstance(row.variant, Peer)
    return row.variant.framework, row.variant.dialect, row.variant.equal


def _cell(table: Table, rows: list[Row], dtype: str, figure: str) -> str:
    found: list[Figures] = [table[row] for row in rows if row.dtype == dtype]
    return text(of(worst(found), (figure,)))


def _framework(name: str) -> str:
    """The name with its version, or that it was read."""
    if name.endswith("-source"):
        return f"{name.removesuffix('-source')}, from its source".replace(
            "papers, from its source", "the papers"
        )
    try:
        return f"{name} {version(_DISTRIBUTIONS.get(name, name))}"
    except PackageNotFoundError:
        return name
