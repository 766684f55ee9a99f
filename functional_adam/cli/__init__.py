"""The command line, `functional-adam`: the only place that may import both core and bridge.

A command imports what it needs when it runs, so that `--help` is quick and a missing extra is
named by the command that wants it.
"""

from __future__ import annotations

import importlib.util
import io
import os
import sys

from ._interrupt import interruptible
from ._noise import hush


def main() -> None:
    """Run the command line; without its extra, say how to install it."""
    for package in ("typer", "rich"):
        if sys.modules.get(package, ...) is None or importlib.util.find_spec(package) is None:
            sys.exit(f"functional-adam needs {package}: pip install 'functional_adam[cli]'")
    # A stream that cannot show a sign shows a question mark, and not a traceback after the work.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    hush()
    with interruptible():
        from .app import app

        try:
            app()
        except OSError as error:  # a full disk behind stdout, above all
            # What is left to be written would fail once more as the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.exit(f"functional-adam ended early: {error}")
