"""What a study asks for and what is logged of it: trainings and held-out losses."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal

from .trial import Outcome, Trial

Kind = Literal["training", "held_out"]
Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Job:
    """One unit of work, done once in a study.

    Attributes:
        kind: "training", or "held_out": training and then the loss on held-out data.
        trial: what is trained.
        phase: what it is for; another asker of the same training is answered with the same figure.
    """

    kind: Kind
    trial: Trial
    phase: str

    @property
    def key(self) -> str:
        """The same for the same work, in every process."""
        return _key(self.as_record())

    def as_record(self) -> Record:
        """The part of its line that was known before."""
        trial = self.trial
        return dict(
            kind=self.kind,
            phase=self.phase,
            config=dict(trial.config),
            seed=trial.seed,
            steps=trial.steps,
            of=trial.of,
        )


def key_of(record: Mapping[str, Any]) -> str | None:
    """The key of a line's work; None for lines of other kinds."""
    if record.get("kind") not in ("training", "held_out"):
        return None
    return _key(record)


def _key(record: Mapping[str, Any]) -> str:
    parts = [record[name] for name in ("kind", "config", "seed", "steps", "of")]
    return json.dumps(parts, sort_keys=True)


def training_record(outcome: Outcome) -> Record:
    """The part of a training's line that its end gives."""
    return dict(
        validation=outcome.validation,
        diverged=outcome.diverged,
        curve=[[step, loss] for step, loss in outcome.curve],
        metrics=dict(outcome.metrics),
        seconds=round(outcome.seconds, 6),
        trained=outcome.steps,
    )


def outcome_of(record: Mapping[str, Any]) -> Outcome:
    """A training's outcome as its line tells it."""
    trial = Trial(record["config"], record["seed"], record["steps"], record["of"])
    return Outcome(
        trial,
        validation=float(record["validation"]),
        diverged=record["diverged"],
        curve=[(step, float(loss)) for step, loss in record["curve"]],
        metrics={name: float(x) for name, x in record["metrics"].items()},
        seconds=record["seconds"],
        steps=record["trained"],
    )
