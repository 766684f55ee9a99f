"""The report of a study: one HTML file that needs no other, and its pictures as PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..._extras import require
from ._html import page
from ._pictures import pictures


def write_report(study: Any, folder: str | Path | None = None) -> Path:
    """Write `report.html` and the pictures; see `Study.report`.

    Raises:
        ValueError: the study is in memory and no folder is given, or nothing was trained yet.
        ImportError: matplotlib is not installed.
    """
    where: Path | None = study.folder if folder is None else Path(folder)
    if where is None:
        raise ValueError("folder: a study in memory has none, say where to write the report")
    if not study.trained:
        raise ValueError("there is nothing to report: no training has ended yet")
    require("matplotlib", "cli")
    where.mkdir(parents=True, exist_ok=True)
    drawn = pictures(study)
    for name, (png, _) in drawn.items():
        _replace(where / f"{name}.png", png)
    path = where / "report.html"
    _replace(path, page(study, drawn).encode())
    return path


def _replace(path: Path, content: bytes) -> None:
    """A reader never meets half of a file."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
