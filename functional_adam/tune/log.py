"""The log of a study: one JSON object a line, appended and fsynced; what is in it has happened.

A line is written by one call under a lock that the kernel releases when its holder is killed. Of a
line whose writing was cut off the rest is never written: the next one starts after a line break,
and readers pass over it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

NAME = "study.jsonl"
_WORK = ("config", "seed", "steps", "of")
_FIELDS = {
    "study": ("version", "task", "space", "strategy", "seed", "runs", "half"),
    "training": (*_WORK, "validation", "diverged", "curve", "metrics", "seconds", "trained"),
    "held_out": (*_WORK, "loss"),
}
_NUMBER = (int, float, str)  # NaN and infinity are strings
_TYPES: dict[str, Any] = {
    "version": int, "task": dict, "space": dict, "strategy": str, "seed": int, "runs": _NUMBER,
    "half": bool, "config": dict, "steps": int, "of": int, "validation": _NUMBER,
    "diverged": bool, "curve": list, "metrics": dict, "seconds": _NUMBER, "trained": int,
    "loss": _NUMBER,
}  # fmt: skip


class Log:
    """Records of a study, in a folder or in memory.

    Attributes:
        records: all that were read or written, in the order of the file.
        unreadable: lines that were cut off, or are no whole record.
    """

    def __init__(self, folder: Path | None) -> None:
        self.path: Path | None = None if folder is None else folder / NAME
        self.records: list[dict[str, Any]] = []
        self.unreadable: int = 0
        self._read_to = 0
        if self.path is not None:
            if not self.path.exists():  # a log may be read where nothing may be written
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.touch()
            self.refresh()

    def refresh(self) -> list[dict[str, Any]]:
        """Read what other processes have appended; returns the new records."""
        if self.path is None:
            return []
        with self.path.open("rb") as file:
            file.seek(self._read_to)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._read_to += len(whole)
        new = []
        for line in whole.splitlines():
            record = _parsed(line)
            if record is not None:
                new.append(record)
            elif line.strip():
                self.unreadable += 1
        self.records += new
        return new

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record; it survives whatever happens after this call."""
        if self.path is None:
            self.records.append(json.loads(_line(record)))
            return
        with locked(self.path) as file:
            _append(file, _line(record))
        self.refresh()

    def append_unless(self, record: Mapping[str, Any], known: Any) -> None:
        """Write one record unless, once others' lines are read under the lock, it is known.

        Args:
            record: what to write.
            known: () -> whether it is there already, asked after a refresh.
        """
        if self.path is None:
            if not known():
                self.append(record)
            return
        with locked(self.path) as file:
            self.refresh()
            if known():
                return
            _append(file, _line(record))
        self.refresh()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[Any]:
    """The file, open for appending and reading, with other processes kept out."""
    with path.open("a+b", buffering=0) as file:
        if fcntl := _fcntl():
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _append(file: Any, line: bytes) -> None:
    end = file.seek(0, os.SEEK_END)
    if end:
        file.seek(end - 1)
        if file.read(1) != b"\n":
            line = b"\n" + line
    written = 0
    while written < len(line):
        written += file.write(line[written:])
    os.fsync(file.fileno())


def _fcntl() -> Any:
    """The module that locks files, or None on systems without it, where one process may write."""
    try:
        import fcntl
    except ImportError:
        return None
    return fcntl


def can_be_shared() -> bool:
    """Whether several processes may append to one log here."""
    return _fcntl() is not None


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(_strict(record), separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        return None
    fields = _FIELDS.get(record["kind"], ())
    whole = all(isinstance(record.get(name), _TYPES[name]) for name in fields)
    return record if whole else None


def _strict(value: Any) -> Any:
    """JSON without NaN and infinity: they become the strings that `float` reads."""
    if isinstance(value, Mapping):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
