"""What is said where a package of an extra is missing: its name, and the extra that brings it."""

from __future__ import annotations

import importlib


def require(package: str, extra: str) -> None:
    """Raise ImportError that names the extra, where the package cannot be imported."""
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"this needs {package}: pip install 'functional_adam[{extra}]'"
        ) from error
