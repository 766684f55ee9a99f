"""`functional-adam plan`: what weights, gradients and optimizer state take on many devices."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from ._output import STDOUT, check_writable, fail, write

_LETTERS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


def plan(
    params: Annotated[
        list[str] | None,
        typer.Option(help="Parameters: 70e9 or 70B; repeatable.", show_default="1B, 70B, 1T"),
    ] = None,
    devices: Annotated[
        list[int] | None,
        typer.Option(min=1, max=10**9, help="Devices; repeatable.", show_default="8, 256, 4096"),
    ] = None,
    sharding: Annotated[
        list[str] | None,
        typer.Option(
            help="replicated, zero1 (state cut over the devices), fsdp (weights and gradients, "
            "too); repeatable.",
            show_default="replicated, zero1, fsdp",
        ),
    ] = None,
    tensor_parallel: Annotated[
        int, typer.Option(min=1, help="Devices that share one copy of the model in any case.")
    ] = 1,
    only: Annotated[
        list[str] | None, typer.Option(help="Ways to store whose name contains this; repeatable.")
    ] = None,
    memory: Annotated[
        float | None, typer.Option(min=0, help="GB of a device: mark what fits.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures here; - for stdout.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a table here; - for stdout.")] = None,
) -> None:
    """Bytes per parameter and per device, for each way to store weights and moments.

    From the shapes that the transformations themselves make; nothing is allocated. Activations,
    temporaries and the layers that FSDP gathers for a moment come on top. Exit status: 0, 2 wrong
    usage.
    """
    check_writable(json, markdown)
    if memory is not None and not math.isfinite(memory):
        fail(f"--memory {memory}: must be a finite number")
    from ._plan.memory import SHARDINGS, rows
    from ._plan.report import as_json, as_lines, as_markdown
    from ._precision.subjects import SUBJECTS

    sizes = list(dict.fromkeys(_amount(text) for text in params or ["1B", "70B", "1T"]))
    counts = list(dict.fromkeys(devices or [8, 256, 4096]))
    names = list(dict.fromkeys(sharding or ["replicated", "zero1", "fsdp"]))
    for name in names:
        if name not in SHARDINGS:
            fail(f"--sharding {name}: there are {', '.join(SHARDINGS)}")
    for count in counts:
        if count % tensor_parallel:
            fail(f"--tensor-parallel {tensor_parallel} does not divide --devices {count}")
    chosen = [s for s in SUBJECTS if not only or any(part in s.name for part in only)]
    if not chosen:
        fail(f"--only {' '.join(only or [])}: there are {[s.name for s in SUBJECTS]}")
    found = list(rows(sizes, counts, names, tensor_parallel, chosen))
    settings = dict(tensor_parallel=tensor_parallel, memory_gb=memory)
    if STDOUT not in (json, markdown):
        typer.echo("\n".join(as_lines(found, memory)))
    write(json, lambda: as_json(found, settings))
    write(markdown, lambda: as_markdown(found, memory))


def _amount(text: str) -> float:
    """70e9, 70B or 70b."""
    letter = text[-1:].upper()
    digits, size = (text[:-1], _LETTERS[letter]) if letter in _LETTERS else (text, 1.0)
    try:
        value = float(digits) * size
    except ValueError:
        value = math.nan
    if not 1 <= value <= 1e18:
        fail(f"--params {text}: a number from 1 to 1e18 such as 70e9, 70B or 350M")
    return value
