"""From what is written on the command line to a task and its space."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._output import UsageError, fail

DTYPES = ("float32", "bfloat16", "float16", "float64")


def prepared(name: str, dtype: str | None, steps: int | None, search: list[str]) -> Any:
    """The task, with its dtype and length replaced where they are given, and its space.

    Raises:
        UsageError: there is no such task, or a name or value is not allowed.
        ValueError, TypeError: the task's parts do not fit each other.
    """
    if dtype not in (None, *DTYPES):
        raise UsageError(f"--dtype {dtype}: must be one of {', '.join(DTYPES)}")
    if dtype == "float64":
        import jax

        jax.config.update("jax_enable_x64", True)
    from functional_adam.tune._hyper import check_space

    task = _task(name)
    changes = {"dtype": dtype, "steps": steps}
    if dtype is not None and "dtype" not in {field.name for field in dataclasses.fields(task)}:
        raise UsageError(f"--dtype {dtype}: the dtype of a torch task is that of its module")
    task = dataclasses.replace(task, **{k: x for k, x in changes.items() if x is not None})
    try:
        space = _space(search, task.steps)
        if not task.own:
            check_space(space, ())
    except ValueError as error:
        raise UsageError(f"--search: {error}") from None
    task.check()
    return task, space


def check_asked(
    strategies: Sequence[str], budgets: Sequence[float], seconds: float | None = None
) -> None:
    """Refuse, with status 2, what a study would refuse once its folder is made."""
    from functional_adam.tune.budget import Plan
    from functional_adam.tune.strategies import strategy_named

    try:
        for name in strategies:
            strategy_named(name)
        for runs in budgets:
            Plan(runs, steps=1, seed=0)
    except ValueError as error:
        fail(f"--{error}")
    except ImportError as error:
        fail(str(error))
    if seconds is not None and not 0 < seconds < math.inf:
        fail(f"--seconds {seconds:g}: must be a positive number")


def _space(search: list[str], steps: int) -> Any:
    """The space of --search; `algorithm=lion` is one of Lion, `algorithm=adamw,lion` of both."""
    from functional_adam.tune import Dimension, adamw_space

    start, names, algorithms = "algorithm=", [], ["adamw"]
    for part in search:
        if part.startswith(start):
            algorithms = part.removeprefix(start).split(",")
        else:
            names.append(part)
    space, *others = (adamw_space(*names, steps=steps, algorithm=name) for name in algorithms)
    if not others:
        return space
    choices = tuple(algorithms)
    return space.with_(algorithm=Dimension("algorithm", scale="choice", choices=choices))


def _task(name: str) -> Any:
    if ":" in name or name.endswith(".py"):
        return _from_file(*_split(name))
    from functional_adam.tune.tasks import BUILTIN

    if name not in BUILTIN:
        raise UsageError(
            f"TASK {name}: must be one of {', '.join(BUILTIN)}, or path/to/file.py:name"
        )
    return BUILTIN[name]()


def _split(name: str) -> tuple[Path, str]:
    path, colon, attribute = name.rpartition(":")
    if not colon or not attribute.isidentifier():
        raise UsageError(f"TASK {name}: must be path/to/file.py:name")
    return Path(path), attribute


def _from_file(path: Path, attribute: str) -> Any:
    """The Task of that name in a file; a function is called for it."""
    if not path.is_file():
        raise UsageError(f"TASK {path}: there is no such file")
    name = f"_task_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"TASK {path}: is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # What the file imports from beside it is found, as if the file were run.
    sys.path.insert(0, str(path.parent.absolute()))
    # Dataclasses look their module up.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"TASK {path}: {type(error).__name__}: {error}") from error
    found = getattr(module, attribute, None)
    if found is None:
        raise UsageError(f"TASK {path}: has no {attribute}")
    if callable(found) and not hasattr(found, "check"):
        try:
            found = found()
        except Exception as error:
            raise UsageError(f"TASK {path}:{attribute}: {type(error).__name__}: {error}") from error
    if not hasattr(found, "check") or not dataclasses.is_dataclass(found):
        raise UsageError(f"TASK {path}:{attribute}: must be a Task, got {type(found).__name__}")
    return found
