"""The command line, `functional-adam`: the only place that may import both core and bridge.

A command imports what it needs when it runs, so that `--help` is quick and a missing extra is
named by the command that wants it.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; without its extra, say how to install it."""
    try:
        from .app import app
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("typer", "rich"):
            raise
        sys.exit(f"functional-adam needs {package}: pip install 'functional_adam[cli]'")
    app()
