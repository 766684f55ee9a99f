"""`functional-adam tune`: the hyperparameters of Adam for a task, and how good they really are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ._interrupt import INTERRUPTED
from ._needs import need
from ._output import STDOUT, UsageError, check_folder, check_writable, fail, told, write
from ._tune.processes import STORAGE

BUDGET = 48.0


def tune(
    task: Annotated[
        str, typer.Argument(help="A built-in task, or path/to/file.py:name of a Task.")
    ],
    budget: Annotated[
        float | None,
        typer.Option(
            help="Full trainings for search and confirmation, 6 or more; those of untuned Adam "
            "come on top.",
            show_default="48",
        ),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="The budget as time, in place of --budget.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder of the log; the same one goes on where it ends.")
    ] = Path("tuned"),
    strategy: Annotated[
        str, typer.Option(help="auto, ladder, quasi, halving, fan_box, random, tpe, gp.")
    ] = "auto",
    search: Annotated[
        list[str] | None,
        typer.Option(
            help="Search this as well: eps, amsgrad, warmup, final, dialect, algorithm, or what "
            "only the algorithm has. algorithm=lion: tune that; algorithm=adamw,lion: search both. "
            "Repeatable."
        ),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16, float16 or float64; the task's.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Length of a full training; the task's.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the study.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the study.")] = 1,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Where processes, also of other machines, share it: postgresql://..., "
            "mysql+pymysql://..., or a journal file.",
            envvar=STORAGE,
            show_default="a journal file in --out, with several --workers",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not tell of the course.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the result here; - for stdout.")] = None,
    part_of: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Tune Adam for a task: search, confirm on fresh seeds, measure once on held-out data.

    Exit status: 0 tuned, 1 the task cannot be trained, 2 wrong usage, 130 interrupted (what is
    finished is in the log; the same command goes on).
    """
    if budget is not None and seconds is not None:
        fail("--budget and --seconds: give one of them")
    if seconds is None and budget is None:
        budget = BUDGET
    if workers > 1 or storage is not None:
        need("optuna")
    check_writable(json)
    from ._tune.tasks import check_asked

    check_asked([strategy], [] if budget is None else [budget], seconds)
    check_folder("--out", out)
    arguments: dict[str, Any] = dict(
        budget=budget, seconds=seconds, strategy=strategy, seed=seed, dtype=dtype
    )
    try:
        if workers > 1 and part_of is None:
            study = _in_processes(
                task, out, workers, storage, arguments, steps, search or [], quiet
            )
        else:
            study = _here(task, out, storage, part_of or 1, arguments, steps, search or [], quiet)
    except KeyboardInterrupt:
        if part_of is None:
            typer.echo(f"interrupted: the same command with --out {out} goes on", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if part_of is not None:
        return
    try:
        _ = study.best
    except ValueError as error:
        fail(str(error), 1)
    if study.plan.half:
        _probe(task, study, dtype, steps)
    from ._tune.result import as_json, show

    if json != STDOUT:
        show(study)
    write(json, lambda: as_json(study))


def _here(
    name: str,
    out: Path,
    storage: str | None,
    workers: int,
    arguments: dict[str, Any],
    steps: int | None,
    search: list[str],
    quiet: bool,
) -> Any:
    """Tune in this process."""
    from functional_adam.tune import tune as tune_

    from ._tune.course import shown
    from ._tune.tasks import prepared

    try:
        task, space = prepared(name, arguments.pop("dtype"), steps, search)
        with shown(arguments["budget"], quiet=quiet) as calls:
            return tune_(
                task,
                space=space,
                out=out,
                storage=storage,
                workers=workers,
                **calls,
                **arguments,
            )
    except UsageError as error:
        fail(str(error))
    except (ValueError, TypeError, ImportError, OSError) as error:
        fail(told(error), 1)


def _probe(name: str, study: Any, dtype: str | None, steps: int | None) -> None:
    """Log for the report what the dtype would do to an Adam that is wholly in it."""
    if any(record["kind"] == "probe" for record in study.log.records):
        return
    from functional_adam.tune import precision_probe

    from ._tune.tasks import prepared

    task, _ = prepared(name, dtype, steps, [])
    try:
        study.log.append(precision_probe(task, config=study.best.config).as_record())
    except (TypeError, ValueError) as error:
        typer.echo(f"precision was not probed: {error}", err=True)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _in_processes(
    name: str,
    out: Path,
    workers: int,
    storage: str | None,
    arguments: dict[str, Any],
    steps: int | None,
    search: list[str],
    quiet: bool,
) -> Any:
    """Tune in several processes; the study is what their log says in the end."""
    from functional_adam.tune import Study
    from functional_adam.tune._storage import open_storage
    from functional_adam.tune.tuning import ready

    from ._tune.processes import run_all
    from ._tune.tasks import prepared

    storage = storage or str(out / "journal.log")
    try:
        # What is wrong is said once and not by each of them.
        task, space = prepared(name, arguments["dtype"], steps, search)
        asked = {name: value for name, value in arguments.items() if name != "dtype"}
        ready(task, space=space, out=out, **asked)
        out.mkdir(parents=True, exist_ok=True)
        open_storage(storage)
    except UsageError as error:
        fail(str(error))
    except (ValueError, TypeError, ImportError, OSError) as error:
        fail(told(error), 1)
    options = dict(**arguments, steps=steps, out=out)
    command = [name, "--part-of", str(workers), *(["--quiet"] if quiet else [])]
    for key, value in options.items():
        if value is not None:
            command += [f"--{key}", str(value)]
    for value in search:
        command += ["--search", value]
    ends = run_all(command, workers, storage)
    for number, status in enumerate(ends):
        if status < 0:
            typer.echo(f"worker {number} was killed by signal {-status}", err=True)
    if 0 not in ends:
        raise typer.Exit(max(ends) if max(ends) > 0 else 1)
    return Study.load(out)
