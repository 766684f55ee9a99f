"""The table of schedules as text, as markdown and as JSON."""

from __future__ import annotations

import dataclasses
import json
from importlib.metadata import version

from .measure import Line

_PACKAGES = ("functional_adam", "torch", "optax", "jax")
_LEGEND = """\
Largest differences in float64 over all settings and the first {steps:,} updates, as a share of the
largest value of the schedule: 'torch' between ours and torch, 'exact' between ours and the formula
in 80 digits, 'its own' between torch and that formula, 'optax' between optax and torch in so many
sets of arguments."""


def as_lines(lines: list[Line], steps: int) -> list[str]:
    """The table in lines of at most 100 columns."""
    heads = f"{'':<28}{'ours':<31}{'sets':>5}{'torch':>9}{'exact':>9}{'its own':>9}{'optax':>9}"
    table = [*_LEGEND.format(steps=steps).splitlines(), "", heads.rstrip()]
    for line in lines:
        cells = (line.to_torch, line.to_exact, line.torch_to_exact, line.optax_to_torch)
        numbers = "".join(f"{_text(cell):>9}" for cell in cells)
        mark = "" if line.within else " BEYOND"
        table.append(f"{line.torch:<28}{line.ours:<31}{line.sets:>5}{numbers}{mark}")
    return table


def as_markdown(lines: list[Line]) -> str:
    """The table of the README."""
    heads = (
        "`torch.optim.lr_scheduler`",
        "`functional_adam.schedules`",
        "optax",
        "sets",
        "ours to torch",
        "ours to the formula",
        "torch to the formula",
        "optax to torch",
    )
    rows = ["| " + " | ".join(heads) + " |", "|---|---|---|" + "---:|" * 5]
    for line in lines:
        name, _, momentum = line.torch.partition(" ")
        optax = line.optax or "none"
        if optax.count("_"):
            optax = ", ".join(f"`{each}`" for each in optax.split(", "))
        if line.optax and line.optax_sets < line.sets:
            optax += f" ({line.optax_sets} of {line.sets})"
        cells = [f"`{name}`" + momentum.replace("momentum", ": momentum"), f"`{line.ours}`", optax]
        cells += [str(line.sets), _text(line.to_torch), _text(line.to_exact)]
        cells += [_text(line.torch_to_exact), _text(line.optax_to_torch)]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def as_json(lines: list[Line], steps: int) -> str:
    """Every line with its figures, and the versions."""
    found = [dataclasses.asdict(line) | {"within": line.within} for line in lines]
    about = {"versions": {name: version(name) for name in _PACKAGES}, "steps": steps}
    return json.dumps(about | {"schedules": found}, indent=1, allow_nan=False) + "\n"


def _text(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2g}" if value == 0 or value >= 0.01 else f"{value:.1e}"
