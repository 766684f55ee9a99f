"""Targets that are there whole or not at all, whenever the process ends."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(target: Path, *, force: bool) -> Iterator[Path]:
    """Give a name beside the target to write a file or a folder to; it becomes the target.

    Everything is flushed to the disk before the rename and the rename after it. A process that is
    killed leaves at most a hidden ``.NAME.PID.part``. An old file is replaced in one step; an old
    folder is first renamed to ``.NAME.PID.old``, since folders cannot be exchanged in one.

    Raises:
        FileExistsError: the target is there, and not `force`.
    """
    target = target.absolute()
    part, old = (target.with_name(f".{target.name}.{os.getpid()}.{end}") for end in ("part", "old"))
    try:
        yield part
        _flush(part)
        if target.exists() and not force:
            raise FileExistsError(f"{target} is there by now")
        if target.is_dir() or (part.is_dir() and target.exists()):
            os.rename(target, old)
        os.replace(part, target)
        _sync(target.parent)
    finally:
        # Libraries that write to a name of their own first begin it with the one they were given.
        for left in [x for x in target.parent.iterdir() if x.name.startswith(part.name)]:
            _remove(left)
        # After a failure between the two renames the old one is all there is.
        if old.exists() and not target.exists():
            os.rename(old, target)
        _remove(old)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """What a library raises as it writes, as OSError: a full disk is another error in each."""
    try:
        yield
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        if "No space left" not in reason:
            free = shutil.disk_usage(path.absolute().parent).free
            reason += f" ({free:,} bytes are free where it lies)"
        raise OSError(f"TARGET cannot be written: {reason}") from error


def _flush(path: Path) -> None:
    """Flush a file, or all files and folders of a tree."""
    for folder, _, names in os.walk(path):
        for name in names:
            _sync(Path(folder, name))
        _sync(Path(folder))
    if path.is_file():
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
