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
_PACKAGE = {"psycopg2": "psycopg2-binary", "psycopg": "'psycopg[binary]'", "MySQLdb": "mysqlclient"}


def open_study(storage: str, name: str) -> tuple[Any, int]:
    """The storage and the study's number in it; made where it is not there. See `open_storage`."""
    opened = open_storage(storage)
    import optuna

    with _quiet(optuna), reached(storage):
        with contextlib.suppress(optuna.exceptions.DuplicatedStudyError):
            opened.create_new_study([optuna.study.StudyDirection.MINIMIZE], name)
        return opened, opened.get_study_id_from_name(name)


def open_storage(storage: str) -> Any:
    """The storage of an URL or a path.

    Raises:
        ImportError: the database's driver, or optuna, is not installed.
        ValueError: the URL is none of a database.
        OSError: the server does not answer or does not let us in, or no such file can be written.
    """
    require("optuna", "tune")
    import optuna
    from optuna.storages.journal import JournalFileBackend

    with _quiet(optuna):
        if "://" in storage:
            return _database(storage)
        lock: Any = _Lock(storage)
        try:
            backend = JournalFileBackend(storage, lock_obj=lock)
            return optuna.storages.JournalStorage(backend)
        except OSError as error:
            raise OSError(f"storage {storage}: {error.strerror}") from error


@contextlib.contextmanager
def reached(storage: str) -> Iterator[None]:
    """Raise ConnectionError, in one line and without the password, where a database fails."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause: Any = error if isinstance(error, SQLAlchemyError) else error.__cause__ or error
        reason = str(getattr(cause, "orig", None) or cause).strip().splitlines()[0]
        raise ConnectionError(
            f"storage {_shown(storage)}: {reason}; where it answers the same call goes on"
        ) from error


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
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    with reached(url):
        for attempt in range(_ATTEMPTS):
            try:
                return optuna.storages.get_storage(url)
            except (ArgumentError, ValueError) as error:
                raise ValueError(
                    f"storage {_shown(url)}: is not the URL of a database, as "
                    f"postgresql://user:password@host/name: {error}"
                ) from error
            except ImportError as error:
                missing = getattr(error.__cause__, "name", None)
                if missing is None:
                    raise
                raise ImportError(
                    f"storage {_shown(url)}: needs {missing}: pip install "
                    f"{_PACKAGE.get(missing, missing)}"
                ) from error
            except SQLAlchemyError:
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(0.2 * (attempt + 1))
    return None


def _shown(storage: str) -> str:
    """Without the password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return make_url(storage).render_as_string() if "://" in storage else storage
    except (SQLAlchemyError, ValueError):
        return f"{storage.partition('://')[0]}://..."


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

    def __init__(self, path: str) -> None:
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
