"""The list of commands: one file each, beside this one."""

from __future__ import annotations

import os
import shutil

import typer

from .bench import bench
from .code import code
from .compare import compare
from .convert import convert
from .demo import demo
from .distance import distance
from .doctor import doctor
from .explain import explain
from .parity import parity
from .plan import plan
from .report import report
from .schedules import schedules
from .tune import tune


def _has_room_for_boxes() -> bool:
    """Whether help may have columns: below this width they cut the names of options."""
    return os.environ.get("TERM") != "dumb" and shutil.get_terminal_size().columns >= 80


app = typer.Typer(
    name="functional-adam",
    help="One definition of every Adam: the same numbers in JAX and in PyTorch.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if _has_room_for_boxes() else None,
)
app.command()(bench)
app.command()(code)
app.command()(compare)
app.command()(convert)
app.command()(demo)
app.command()(distance)
app.command()(doctor)
app.command()(explain)
app.command()(parity)
app.command()(plan)
app.command()(report)
app.command()(schedules)
app.command()(tune)
