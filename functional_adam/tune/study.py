"""What a study found: read from its log, whether it is finished or not."""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import head as head_
from .budget import Plan
from .choice import Contender, chosen, contenders
from .jobs import Record, outcome_of
from .log import NAME, Log
from .script import untuned
from .space import Config, Space
from .trial import Outcome

if TYPE_CHECKING:
    import optuna
    import pandas

    from .code import Framework


@dataclasses.dataclass(frozen=True)
class Best:
    """The configuration chosen.

    Attributes:
        config: hyperparameters; see `Config`.
        steps: length of the training they are for.
        validation: mean validation loss on seeds the search had not seen.
        error: standard error of that mean; see `Contender`.
        as_seen: the validation loss that put it among the finalists: too good. NaN where it
            was not trained at full length before.
        is_default: whether this is untuned Adam, from which no finalist could be told apart.
        held_out: mean loss on held-out data; None where there are none or it was not measured yet.
        dtype: of the task's weights.
        before: whether the task puts another transformation before the optimizer.
    """

    config: Config
    steps: int
    validation: float
    error: float
    as_seen: float
    is_default: bool
    held_out: float | None
    dtype: str = "float32"
    before: bool = False

    def as_code(self, framework: Framework) -> str:
        """Code to paste: the optimizer and its schedule.

        Args:
            framework: "functional_adam", "optax" or "torch".

        Raises:
            ValueError: another name, or the framework has no such optimizer.
        """
        from .code import as_code

        return as_code(self.config, self.steps, framework, dtype=self.dtype, before=self.before)


class Study:
    """A study as its log tells it.

    Attributes:
        log: all records.
        head: what is studied.
        space: what was searched; the search may have gone beyond it.
        plan: how the budget is divided.
        baseline: untuned Adam.
    """

    def __init__(self, log: Log) -> None:
        found = head_.last_head(log.records)
        if found is None:
            raise ValueError(f"{log.path or 'the log'} holds no study")
        self.log = log
        self.head: Record = found
        self.space: Space = head_.space_in(found)
        self.plan: Plan = head_.plan_of(found)
        self.baseline: Config = untuned(self.space)

    @classmethod
    def load(cls, folder: str | Path) -> Study:
        """Read the study in a folder.

        Raises:
            FileNotFoundError: there is none.
        """
        folder = Path(folder)
        if not (folder / NAME).is_file():
            raise FileNotFoundError(f"{folder} holds no study: there is no {NAME}")
        return cls(Log(folder))

    @property
    def folder(self) -> Path | None:
        """Where the log is; None of a study in memory."""
        return None if self.log.path is None else self.log.path.parent

    @functools.cached_property
    def trained(self) -> list[Outcome]:
        """All trainings, each once, in the order in which they ended."""
        return [outcome_of(r) for r in self.log.records if r["kind"] == "training"]

    @property
    def searched(self) -> list[Outcome]:
        """Trainings of the search."""
        return [o for o in self.trained if o.trial.seed == self.plan.search.seed]

    @property
    def fresh(self) -> list[Outcome]:
        """Full trainings on seeds that the search has not seen."""
        seeds, full = self.plan.fresh, self.plan.steps
        return [o for o in self.trained if o.trial.seed in seeds and o.trial.steps == full]

    @functools.cached_property
    def contenders(self) -> list[Contender]:
        """Untuned Adam and what was confirmed, with losses on as many seeds as the plan has.

        Of a study that went on with a larger budget, the finalists of that: what was confirmed
        before has had more chances.
        """
        end = head_.end_of(self.log.records, self.plan) or {}
        kept = [self.baseline, *end["finalists"]] if "finalists" in end else None
        fresh = [o for o in self.fresh if kept is None or o.trial.config in kept]
        found = contenders(fresh, self.space, self.baseline)
        return [
            c for c in found if set(self.plan.fresh[: self.plan.confirmations]) <= set(c.losses)
        ]

    @functools.cached_property
    def untuned(self) -> Contender | None:
        """Untuned Adam on fresh seeds; None before it was trained."""
        return next((c for c in self.contenders if c.config == self.baseline), None)

    @property
    def finished(self) -> bool:
        """Whether a configuration has been chosen."""
        return head_.end_of(self.log.records, self.plan) is not None

    @functools.cached_property
    def best(self) -> Best:
        """The configuration chosen; see `Best`.

        Raises:
            ValueError: no configuration has been confirmed yet, or all of them diverge.
        """
        names = [c.config for c in self.contenders]
        found = chosen(
            [o for o in self.fresh if o.trial.config in names], self.space, self.baseline
        )
        if found is None or not self._confirmed:
            raise ValueError(
                f"no configuration has been chosen: {len(self.trained)} trainings are logged, "
                f"{self.diverged} of them diverged" + self._why_none()
            )
        seen = [
            o.validation
            for o in self.searched
            if o.trial.config == found.config and o.trial.steps == self.plan.steps
        ]
        found = next(c for c in self.contenders if c.config == found.config)
        return Best(
            found.config,
            self.plan.steps,
            found.mean,
            found.error,
            min(seen, default=math.nan),
            found.config == self.baseline,
            self.held_out(found.config),
            self.head["task"]["dtype"],
            self.head["task"].get("before", False),
        )

    def _why_none(self) -> str:
        if not self.finished:
            return "; the study is not finished, tune again to go on"
        return (
            "; look for NaN in the data and in the gradient at the start, and at the task's scale"
        )

    @property
    def _confirmed(self) -> bool:
        return self.finished or any(c.config != self.baseline for c in self.contenders)

    @property
    def diverged(self) -> int:
        """How many trainings diverged."""
        return sum(o.diverged for o in self.trained)

    @property
    def cost(self) -> float:
        """All trainings together, in full ones."""
        return sum(o.trial.steps for o in self.trained) / self.plan.steps

    @property
    def seconds(self) -> float:
        """Time that was computed for them, over all processes."""
        return sum(o.seconds for o in self.trained)

    def held_out(self, config: Config) -> float | None:
        """Mean held-out loss of the best or of untuned Adam on fresh seeds, where measured."""
        losses = [
            float(r["loss"])
            for r in self.log.records
            if r["kind"] == "held_out" and r["config"] == config
        ]
        return math.fsum(losses) / len(losses) if losses else None

    @property
    def warnings(self) -> list[str]:
        """What to keep in mind before the result is used, in words."""
        from .cautions import cautions

        return cautions(self)

    def frame(self) -> pandas.DataFrame:
        """One row for each training: hyperparameters, seed, steps and losses."""
        from .export import frame

        return frame(self)

    def to_csv(self, path: str | Path) -> None:
        """Write `frame` as CSV."""
        from .export import to_csv

        to_csv(self, path)

    def to_optuna(self, storage: Any = None, name: str | None = None) -> optuna.Study:
        """The search as an optuna study; see `export.to_optuna`."""
        from .export import to_optuna

        return to_optuna(self, storage, name)

    def report(self, folder: str | Path | None = None) -> Path:
        """Write `report.html`, one self-contained file, and its pictures as PNG.

        Args:
            folder: where to; None: beside the log.

        Returns:
            The path of the HTML file.
        """
        from .report import write_report

        return write_report(self, folder)
