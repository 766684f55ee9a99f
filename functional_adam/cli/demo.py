"""`functional-adam demo`: one network, trained in JAX and in PyTorch, with the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._interrupt import INTERRUPTED
from ._needs import need
from ._output import fail, show

if TYPE_CHECKING:
    from ._demo.compare import Comparison

OPTIMIZERS = ("adam", "adamw", "amsgrad", "nadam", "radam", "adamax")
DTYPES = ("float32", "float64")
HALF = ("bfloat16", "float16")
WIDTH = 128  # columns of the table where there is no terminal to ask


def demo(
    optimizer: Annotated[
        list[str] | None,
        typer.Option(help="Train with this one; may be repeated.", show_default="six of them"),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, max=10_000, help="Steps of 64 images.")] = 1000,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    out: Annotated[Path, typer.Option(help="Folder for demo.png and demo.json.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Of split, weights and batches.")] = 0,
) -> None:
    """Train one network in JAX, in PyTorch and with torch.optim, and compare.

    Exit status: 0 parity holds, 1 parity is broken, 2 wrong usage, 130 interrupted.
    """
    names = _names(optimizer or list(OPTIMIZERS))
    _check_dtype(dtype)
    need("torch", "matplotlib", "sklearn")
    try:
        _prepare(out)
        comparisons = _train(names, steps, dtype, seed)
        _show_and_keep(comparisons, dtype, seed, out)
        failures = _failures(comparisons)
    except KeyboardInterrupt:
        typer.echo("interrupted: no file is left half-written", err=True)
        raise typer.Exit(INTERRUPTED) from None
    for failure in failures:
        typer.echo(f"parity is broken: {failure}", err=True)
    if failures:
        raise typer.Exit(1)


def _names(wanted: list[str]) -> list[str]:
    from functional_adam import ALGORITHMS

    for name in wanted:
        if name not in ALGORITHMS:
            fail(f"--optimizer {name}: unknown; there are {', '.join(ALGORITHMS)}")
        if ALGORITHMS[name].torch_twin is None:
            fail(f"--optimizer {name}: torch.optim has none that it could be compared with")
    return list(dict.fromkeys(wanted))


def _check_dtype(dtype: str) -> None:
    if dtype in HALF:
        fail(
            f"--dtype {dtype}: there is no parity to show. torch.optim keeps its moments in the "
            f"parameters' dtype, functional_adam in float32, where they do not underflow: the "
            f"numbers differ on purpose. Use float32; to train in {dtype}, keep float32 "
            "parameters and cast them in the forward pass"
        )
    if dtype not in DTYPES:
        fail(f"--dtype {dtype}: must be one of {', '.join(DTYPES)}")


def _prepare(out: Path) -> None:
    from ._demo.files import prepare

    try:
        prepare(out)
    except OSError as error:
        fail(f"--out {out}: cannot write there: {error}")


def _train(names: list[str], steps: int, dtype: str, seed: int) -> list[Comparison]:
    from functional_adam import ALGORITHMS

    from ._demo import data, network
    from ._demo.arithmetic import arithmetic
    from ._demo.compare import compare
    from ._demo.progress import display
    from ._demo.ways import Setup

    start = network.initial_weights(seed, dtype)
    neighbour = network.one_ulp_away(start, seed)
    setup = Setup(data.load(seed), start, neighbour, data.batches(seed, steps))
    comparisons = []
    with arithmetic(dtype), display(len(names) * steps) as shown:
        for name in names:
            shown.begin(name)
            comparisons.append(compare(ALGORITHMS[name], setup, shown.advance))
            shown.end(comparisons[-1])
    return comparisons


def _show_and_keep(comparisons: list[Comparison], dtype: str, seed: int, out: Path) -> None:
    from ._demo.files import write
    from ._demo.picture import picture
    from ._demo.table import as_json, narrow_tables, table

    show(table(comparisons), narrow_tables(comparisons), wide=WIDTH)
    contents = {
        "demo.png": picture(comparisons, dtype=dtype, seed=seed),
        "demo.json": as_json(comparisons, dtype=dtype, seed=seed),
    }
    try:
        for name, content in contents.items():
            write(out / name, content)
            typer.echo(f"written: {out / name}")
    except OSError as error:
        fail(f"--out {out}: cannot write there: {error}")


def _failures(comparisons: list[Comparison]) -> list[str]:
    from ._demo.verdict import broken

    return [line for comparison in comparisons for line in broken(comparison)]
