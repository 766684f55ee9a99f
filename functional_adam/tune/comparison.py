"""Strategies at equal compute: many independent studies of one task, all rounds trained together.

`auto` is run as `tune` runs it, its confirmation within the budget; the others spend all of it on
the search and choose by the validation loss they have seen. What each has chosen is trained again
on seeds that none has seen, and judged by held-out data.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

from .budget import Budget, Plan
from .choice import chosen, ranked
from .jobs import Job, outcome_of
from .script import course, untuned
from .space import Config, Space
from .strategies import Strategy, strategy_named
from .trial import Trial
from .work import Record, Work

JUDGES = 3  # seeds each choice is trained on again
UNTUNED = "untuned Adam"
OWN_CONFIRMATION = "auto"


@dataclasses.dataclass(frozen=True)
class Cell:
    """What a strategy reached with one budget.

    Attributes:
        strategy: its name.
        budget: in full trainings.
        losses: held-out loss of each repeat's choice, a mean over seeds.
        configs: the choices.
    """

    strategy: str
    budget: float
    losses: tuple[float, ...]
    configs: tuple[Config, ...]

    @property
    def median(self) -> float:
        """Of the losses."""
        return float(np.median(self.losses))

    @property
    def upper(self) -> float:
        """Upper quartile of the losses."""
        with np.errstate(invalid="ignore"):
            found = float(np.quantile(self.losses, 0.75))
        # Between infinite losses there is nothing to interpolate.
        return math.inf if math.isnan(found) else found

    def ratio(self, other: Cell) -> tuple[float, float]:
        """Geometric mean of the losses over the other's of the same seeds, and its standard error.

        What a seed makes easy or hard for both cancels, so that it tells strategies apart where
        medians do not. NaN where it has no meaning: losses that are not positive or not finite,
        and the error of a single repeat.
        """
        losses = np.array([self.losses, other.losses])
        if not (np.isfinite(losses) & (losses > 0)).all():
            return math.nan, math.nan
        logs = np.log(losses[0] / losses[1])
        ratio = math.exp(float(logs.mean()))
        if len(logs) < 2:
            return ratio, math.nan
        return ratio, ratio * float(logs.std(ddof=1)) / math.sqrt(len(logs))


def compare(
    work: Work,
    space: Space,
    *,
    steps: int,
    strategies: Sequence[str | Strategy],
    budgets: Sequence[float],
    repeats: int,
    seed: int = 0,
    on_round: Callable[[int, int], None] = lambda trained, running: None,
) -> list[Cell]:
    """Run every strategy with every budget, `repeats` times; untuned Adam comes first.

    Args:
        work: does the jobs; what its log knows is not trained again.
        space: searched by all.
        steps: of a full training.
        strategies: names or functions.
        budgets: in full trainings.
        repeats: independent seeds; the same for all strategies.
        seed: of the first repeat.
        on_round: given the number of trainings known and of studies that go on.

    Raises:
        ValueError: a name or a number is not allowed.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    pairs = [strategy_named(strategy) for strategy in strategies]
    plans = {(b, r): Plan(b, steps, seed + r) for b in budgets for r in range(repeats)}
    running: dict[Any, Generator[list[Job], list[Record], Config]] = {
        (name, b, r): _choice(name, strategy, space, plan)
        for name, strategy in pairs
        for (b, r), plan in plans.items()
    }
    choices = _together(running, work, on_round)
    for r in range(repeats):
        choices[UNTUNED, 0.0, r] = untuned(space)
    losses = _judged(choices, work, steps, seed)
    keys = [(UNTUNED, 0.0), *[(name, b) for name, _ in pairs for b in budgets]]
    return [
        Cell(
            name,
            b,
            tuple(losses[name, b, r] for r in range(repeats)),
            tuple(choices[name, b, r] for r in range(repeats)),
        )
        for name, b in keys
    ]


def _choice(
    name: str, strategy: Strategy, space: Space, plan: Plan
) -> Generator[list[Job], list[Record], Config]:
    """A study that returns what it chooses."""
    fresh, seen = [], []
    if name == OWN_CONFIRMATION:
        rounds = course(space, strategy, plan, held_out=False)
    else:
        rounds = _search(space, strategy, plan)
    sent = None
    while True:
        try:
            jobs = next(rounds) if sent is None else rounds.send(sent)
        except StopIteration:
            break
        sent = yield jobs
        outcomes = [outcome_of(record) for record in sent]
        (seen if jobs[0].phase == "search" else fresh).extend(outcomes)
    if name == OWN_CONFIRMATION:
        best = chosen(fresh, space, untuned(space))
        return untuned(space) if best is None else best.config
    return next(iter(ranked(seen, 1)), untuned(space))


def _search(space: Space, strategy: Strategy, plan: Plan) -> Any:
    """The search alone, with the whole budget."""
    budget = Budget(plan.runs, plan.steps, plan.search.seed)
    rounds = strategy(space, budget, np.random.default_rng(plan.seed))
    sent = None
    while True:
        try:
            trials = next(rounds) if sent is None else rounds.send(sent)
        except StopIteration:
            return
        records = yield [Job("training", trial, "search") for trial in trials]
        sent = [outcome_of(record) for record in records]


def _together(running: Any, work: Work, on_round: Any) -> dict[Any, Config]:
    """Advance all studies round by round, training what they ask for in one call."""
    choices: dict[Any, Config] = {}
    answers: dict[Any, list[Record] | None] = dict.fromkeys(running)
    while running:
        asked: dict[Any, list[Job]] = {}
        for key, study in list(running.items()):
            try:
                answer = answers[key]
                asked[key] = next(study) if answer is None else study.send(answer)
            except StopIteration as end:
                choices[key] = end.value
                del running[key]
        on_round(len(work.known), len(running))
        records = iter(work.perform([job for jobs in asked.values() for job in jobs]))
        answers = {key: [next(records) for _ in jobs] for key, jobs in asked.items()}
    return choices


def _judged(choices: dict[Any, Config], work: Work, steps: int, seed: int) -> dict[Any, float]:
    """Mean held-out loss of every choice on the judges' seeds of its repeat."""
    jobs = {
        key: [
            Job("held_out", Trial(config, judge, steps, steps), "judged")
            for judge in _judges(seed + key[2])
        ]
        for key, config in choices.items()
    }
    records = iter(work.perform([job for each in jobs.values() for job in each]))
    return {key: float(np.mean([_loss(next(records)) for _ in each])) for key, each in jobs.items()}


def _loss(record: Record) -> float:
    """Of a diverged training infinite, so that medians stay what they are."""
    loss = float(record["loss"])
    return loss if math.isfinite(loss) else math.inf


def _judges(seed: int) -> list[int]:
    words = np.random.SeedSequence([seed, 1]).generate_state(JUDGES)
    return [int(word) >> 1 for word in words]
