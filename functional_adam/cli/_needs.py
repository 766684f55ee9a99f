"""What to say when a command wants a package that is not installed."""

from __future__ import annotations

import importlib.util

import typer

_EXTRA = {
    "torch": "torch",
    "matplotlib": "cli",
    "sklearn": "cli",
    "optuna": "tune",
    "orbax": "convert",
    "safetensors": "convert",
}


def need(*packages: str) -> None:
    """Exit with status 2 and the extra to install where one of the packages is missing."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        extras = ",".join(sorted({_EXTRA[name] for name in missing}))
        typer.echo(
            f"this command needs {', '.join(missing)}: pip install 'functional_adam[{extras}]'",
            err=True,
        )
        raise typer.Exit(2)
