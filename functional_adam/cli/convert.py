"""`functional-adam convert`: a checkpoint from one format to another, without losing a bit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._interrupt import INTERRUPTED
from ._needs import need
from ._output import UsageError, fail

if TYPE_CHECKING:
    from ._convert.choices import Choices

FORMATS = {
    **dict.fromkeys((".pt", ".pth", ".ckpt"), "torch"),
    ".safetensors": "safetensors",
    **dict.fromkeys(("", ".orbax"), "orbax"),
}
ORBAX_FILES = "_METADATA", "_CHECKPOINT_METADATA"
NEEDS = {"torch": ("torch",), "safetensors": ("torch", "safetensors"), "orbax": ("torch", "orbax")}

ModelKey = Annotated[
    str | None, typer.Option(help="Where the parameters are: keys with dots between.")
]
OptimizerKey = Annotated[str | None, typer.Option(help="Where the optimizer's state is.")]


def convert(
    source: Annotated[Path, typer.Argument(help="Checkpoint to read.")],
    target: Annotated[
        Path, typer.Argument(help="Checkpoint to write; its ending says the format.")
    ],
    algorithm: Annotated[
        str | None, typer.Option(help="adam, adamw, ...; where SOURCE does not say it.")
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(
            help="File with the optimizer's parameters, a name a line; or a JSON object old: new. "
            "'model': the model's own order."
        ),
    ] = None,
    transpose: Annotated[
        list[str] | None,
        typer.Option(
            help="PATTERN[=AXES]: axes from torch to JAX of parameters of that name and their "
            "moments; default those of Linear and Conv. Repeatable."
        ),
    ] = None,
    structure: Annotated[
        str | None, typer.Option(help="ours or optax: whose states an orbax directory holds.")
    ] = None,
    model_key: ModelKey = None,
    optimizer_key: OptimizerKey = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="lr=1e-3: torch's options, where SOURCE has none. Repeatable."),
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace TARGET.")] = False,
) -> None:
    """Convert a checkpoint between torch (.pt .pth .ckpt), safetensors and orbax (a directory).

    Parameters, moments, steps, hyperparameters and groups are kept bit for bit; what does not fit
    is listed by name and nothing is written. Exit status: 0 converted, 1 SOURCE cannot be
    converted, 2 wrong usage, 130 interrupted.
    """
    formats = _format(source, "SOURCE"), _format(target, "TARGET")
    need(*dict.fromkeys(package for each in formats for package in NEEDS[each]))
    _check_paths(source, target, force)
    given = dict(
        algorithm=algorithm,
        structure=structure,
        model_key=model_key,
        optimizer_key=optimizer_key,
    )
    try:
        choices = _choices(names, transpose or [], option or [], given)
        _convert(source, target, formats, choices, force)
    except UsageError as error:
        fail(str(error), 2)
    except (ValueError, TypeError, OSError) as error:
        fail(str(error), 1)
    except KeyboardInterrupt:
        typer.echo(f"interrupted: {target} is as it was", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _format(path: Path, what: str) -> str:
    found = "orbax" if path.is_dir() else FORMATS.get(path.suffix)
    if found is None:
        fail(
            f"{what} {path}: must end in {' '.join(ending for ending in FORMATS if ending)}, or "
            "in nothing for an orbax directory",
            2,
        )
    return found


def _check_paths(source: Path, target: Path, force: bool) -> None:
    """Refuse before the work."""
    if not source.exists():
        fail(f"SOURCE {source}: there is no such file", 2)
    if target.exists() and source.samefile(target):
        fail(f"TARGET {target} is SOURCE", 2)
    if target.exists() and not (target.is_file() or target.is_dir()):
        fail(f"TARGET {target} is neither a file nor a folder: --force replaces no such", 2)
    if (target.exists() or target.is_symlink()) and not force:
        fail(f"TARGET {target} exists: --force replaces it", 2)
    if (
        target.is_dir()
        and any(target.iterdir())
        and not any((target / name).exists() for name in ORBAX_FILES)
    ):
        fail(f"TARGET {target} is a folder with other things in it: --force replaces no such", 2)
    if not target.absolute().parent.is_dir():
        fail(f"TARGET {target}: its folder does not exist", 2)


def _choices(
    names: str | None, transpose: list[str], option: list[str], given: dict[str, Any]
) -> Choices:
    from functional_adam import ALGORITHMS

    from ._convert import choices

    allowed = {"algorithm": (*ALGORITHMS,), "structure": ("ours", "optax")}
    for name, values in allowed.items():
        if given[name] not in (None, *values):
            raise choices.UsageError(f"--{name} {given[name]}: must be one of {', '.join(values)}")
    in_order, renames = choices.names_file(names)
    return choices.Choices(
        names=in_order,
        renames=renames,
        transpose=choices.transposes(transpose),
        options=choices.options(option),
        **given,
    )


def _convert(
    source: Path, target: Path, formats: tuple[str, str], choices: Choices, force: bool
) -> None:
    from functional_adam_torch.moving.record import renamed

    from ._convert import orbax_directory, safetensors_file, torch_file
    from ._convert.atomic import replacing

    left_out: list[str] = []
    if formats[0] == "torch":
        record, left_out = torch_file.read(source, choices)
    elif formats[0] == "safetensors":
        record = safetensors_file.read(source)
    else:
        record, left_out = orbax_directory.read(source, choices)
    _refuse_what_source_says(record, choices)
    record = _laid_out(record, choices, in_torch=formats[0] == "torch")
    if unknown := sorted(
        choices.renames.keys() - {*record.leaves, *record.values, *record.aliases}
    ):
        raise ValueError(f"--names renames parameters that are not there: {', '.join(unknown)}")
    record = renamed(record, choices.renames)
    with replacing(target, force=force) as part:
        if formats[1] == "torch":
            torch_file.write(record, part, choices)
        elif formats[1] == "safetensors":
            safetensors_file.write(record, part)
        else:
            orbax_directory.write(record, part, choices)
    typer.echo(f"written: {target} ({_summary(record)})")
    if left_out:
        typer.echo(f"not carried over: {', '.join(left_out)}", err=True)


def _refuse_what_source_says(record: Any, choices: Choices) -> None:
    """An option that would change nothing, or contradicts the file, is a mistake."""
    for index, group in enumerate(record.groups):
        if choices.algorithm not in (None, group.algorithm):
            raise UsageError(
                f"--algorithm {choices.algorithm}: group {index} of SOURCE says that it is "
                f"{group.algorithm}"
            )
    if choices.options and any(
        group.options.get(key) != x for group in record.groups for key, x in choices.options.items()
    ):
        names = ", ".join(choices.options)
        raise UsageError(f"--option {names}: SOURCE has its own; change them where you go on")


def _laid_out(record: Any, choices: Choices, *, in_torch: bool) -> Any:
    """Permute what comes from torch; of another source, note how it stands to torch."""
    import dataclasses

    from functional_adam_torch.moving.record import permuted

    from ._convert.choices import permutations

    if not choices.transpose:
        return record
    if record.layouts:
        raise UsageError("--transpose: SOURCE says itself how its axes stand to torch's")
    arrays = record.values or {
        name: leaf.moments["mu"] for name, leaf in record.leaves.items() if leaf.moments
    }
    axes = permutations(choices.transpose, {name: x.shape for name, x in arrays.items()})
    return permuted(record, axes) if in_torch else dataclasses.replace(record, layouts=axes)


def _summary(record: Any) -> str:
    counts = sorted({int(leaf.step) for leaf in record.leaves.values()}) or [0]
    span = f"step {counts[0]}" + (f" to {counts[-1]}" if len(counts) > 1 else "")
    algorithms = ", ".join(dict.fromkeys(group.algorithm for group in record.groups))
    return f"{len(record.leaves)} parameters, {algorithms}, {span}"
