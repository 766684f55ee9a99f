"""JAX's persistent compilation cache, so that a second start does not compile again."""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import jax
from jax.experimental.compilation_cache import compilation_cache as _jax_cache

VARIABLE = "FUNCTIONAL_ADAM_CACHE"
_DIRECTORY = "jax_compilation_cache_dir"
_chosen: contextvars.ContextVar[Path | Literal[False] | None] = contextvars.ContextVar(
    "functional_adam_cache", default=None
)
_lock = threading.RLock()
_depth = 0


def directory() -> Path | None:
    """Where compiled programs are kept, or None where they are not.

    What `compilation_cache` says; else the environment variable FUNCTIONAL_ADAM_CACHE, a directory
    or "off"; else ``functional_adam/jax`` in XDG_CACHE_HOME or ``~/.cache``.
    """
    chosen = _chosen.get()
    if chosen is not None:
        return chosen or None
    named = os.environ.get(VARIABLE)
    if named:
        return None if named.lower() in ("off", "0", "no") else Path(named).expanduser()
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "functional_adam" / "jax"


@contextlib.contextmanager
def compilation_cache(where: str | os.PathLike[str] | Literal[False]) -> Iterator[None]:
    """Keep what is compiled inside in another directory, or nowhere.

    Args:
        where: directory, made if missing; False: nothing is kept.
    """
    token = _chosen.set(False if where is False else Path(where))
    try:
        yield
    finally:
        _chosen.reset(token)


@contextlib.contextmanager
def active() -> Iterator[None]:
    """Compile with the cache on; a cache that is already configured in JAX stays what it is."""
    where = directory()
    if where is None or (getattr(jax.config, _DIRECTORY) and not _depth):
        yield
        return
    try:
        where.mkdir(parents=True, exist_ok=True)
    except OSError:
        # A home that cannot be written costs a compilation, not the study.
        yield
        return
    with _switched(str(where)):
        yield


@contextlib.contextmanager
def _switched(where: str) -> Iterator[None]:
    """JAX keeps one cache for the whole process: set it, and put back what was."""
    global _depth
    settings = {
        _DIRECTORY: where,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    with _lock:
        before = {name: getattr(jax.config, name) for name in settings}
        _depth += 1
        try:
            for name, value in settings.items():
                jax.config.update(name, value)
            _jax_cache.reset_cache()
            yield
        finally:
            _depth -= 1
            for name, value in before.items():
                jax.config.update(name, value)
            _jax_cache.reset_cache()
