"""Optuna's storages: a database by its URL, or a journal file that survives killed writers."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .._extras import require
from .log import locked

_ATTEMPTS = 5
_LINE = 2**20  # bytes; no line of a journal is longer


def open_storage(storage: str, name: str) -> tuple[Any, int]:
    """The storage and the study's number in it; made where it is not there."""
    require("optuna", "tune")
    import optuna
    from optuna.storages.journal import JournalFileBackend

    with _quiet(optuna):
        if "://" in storage:
            opened = _database(storage)
        else:
            lock: Any = _Lock(storage)
            backend = JournalFileBackend(storage, lock_obj=lock)
            opened = optuna.storages.JournalStorage(backend)
        with contextlib.suppress(optuna.exceptions.DuplicatedStudyError):
            opened.create_new_study([optuna.study.StudyDirection.MINIMIZE], name)
        return opened, opened.get_study_id_from_name(name)


def alone(storage: str) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    """What keeps other processes out while an entry changes its state.

    Servers and journals do so themselves. SQLite reads without a lock: two processes could both
    find an entry waiting, and both have it.
    """
    from sqlalchemy.engine import make_url

    url = make_url(storage) if "://" in storage else None
    if url is None or url.get_backend_name() != "sqlite" or not url.database:
        return contextlib.nullcontext
    return functools.partial(locked, Path(f"{url.database}.lock"))


def _database(url: str) -> Any:
    """A database, tried again: where two processes meet an empty one, both make its tables."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    for attempt in range(_ATTEMPTS):
        try:
            return optuna.storages.get_storage(url)
        except SQLAlchemyError:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(0.2 * (attempt + 1))
    return None


@contextlib.contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


class _Lock:
    """A journal's lock that the kernel releases; it removes a line that a killed process left.

    Optuna's own locks outlive their holder for 30 s, and it cannot read a journal with half a line.
    """

    def __init__(self, path: str):
        self._path = Path(path)
        self._held: Any = None

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._held = contextlib.ExitStack()
        file = self._held.enter_context(locked(self._path))
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - _LINE))
        tail = file.read()
        if torn := len(tail) - (tail.rfind(b"\n") + 1):
            file.truncate(end - torn)
        return True

    def release(self) -> None:
        """Let others in."""
        self._held.close()
