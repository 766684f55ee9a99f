"""`functional-adam doctor`: what is wrong with an optimizer's checkpoint."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import Annotated

import typer

from ._interrupt import INTERRUPTED
from ._needs import need
from ._output import STDOUT, check_writable, fail, write
from .convert import NEEDS, ModelKey, OptimizerKey, _format


def doctor(
    checkpoint: Annotated[
        Path, typer.Argument(help="torch (.pt .pth .ckpt), .safetensors, or an orbax directory.")
    ],
    model_key: ModelKey = None,
    optimizer_key: OptimizerKey = None,
    json: Annotated[Path | None, typer.Option(help="Write findings here; - for stdout.")] = None,
) -> None:
    """Read a checkpoint and say what is wrong with its optimizer, parameter by parameter.

    Wrong: NaN, infinite or negative second moments, shapes that do not fit, moments or counts in
    half precision that stand still, betas, eps or rates out of range. A note, which is no fault:
    counts that differ, a parameter without state, defaults that point to another framework.

    Nothing in the file is executed. Exit status: 0 nothing is wrong, 1 something is, or it cannot
    be read, 2 wrong usage, 130 interrupted.
    """
    if not checkpoint.exists():
        fail(f"CHECKPOINT {checkpoint}: there is no such file", 2)
    form = _format(checkpoint, "CHECKPOINT")
    if form == "safetensors" and (model_key or optimizer_key):
        fail("--model-key and --optimizer-key: a .safetensors file says itself where things lie")
    need(*NEEDS[form])
    check_writable(json)
    from ._doctor.examine import examine
    from ._doctor.read import read

    try:
        patient = read(checkpoint, form, model_key, optimizer_key)
        findings = examine(patient)
    except (ValueError, TypeError, OSError) as error:
        fail(str(error), 1)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    wrong = [x for x in findings if x.wrong]
    if json != STDOUT:
        typer.echo(f"{checkpoint}: {patient.kind}; {len(patient.entries)} parameters")
        for x in findings:
            typer.echo(f"{'wrong' if x.wrong else 'note '}  {x.where}: {x.what}")
        count = {0: "nothing is", 1: "1 thing is"}.get(len(wrong), f"{len(wrong)} things are")
        typer.echo(f"{count} wrong")
    record = dict(
        file=str(checkpoint),
        kind=patient.kind,
        parameters=len(patient.entries),
        findings=[x._asdict() for x in findings],
    )
    write(json, lambda: json_.dumps(record, indent=2) + "\n")
    raise typer.Exit(1 if wrong else 0)
