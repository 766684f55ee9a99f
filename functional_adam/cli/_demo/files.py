"""Where the results go: checked before the work, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def prepare(folder: Path) -> None:
    """Make the folder and try to write there.

    Raises:
        OSError: it is not a folder, cannot be made or cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file, not a folder")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def write(path: Path, content: bytes) -> None:
    """Replace a file in one step: a reader, or Ctrl-C, never meets half of it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
