"""The course of a study as one generator: baseline, search, confirmation, held-out figure.

It asks for jobs and is sent their records. It depends on its arguments and on these records only,
so it may be run again over a log: what is in the log is answered from there, and the rest is done.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from ._hyper import STATIC, filled, group_of
from .budget import Plan
from .choice import chosen, ranked
from .jobs import Job, Record, outcome_of
from .space import Config, Space
from .strategies import Strategy
from .trial import Outcome, Trial

Course = Generator[list[Job], list[Record], list[Config]]
LEARNING_RATE = 1e-3  # torch's default, and that of most


class OutOfTimeError(Exception):
    """Thrown into the search of a course whose seconds have passed: it confirms what it has."""


def untuned(space: Space) -> Config:
    """Adam as it comes: its defaults, a constant learning rate, no decay.

    What a space fixes, or gives a default of its own, is the user's and stays.
    """
    config = dict(space.default())
    static = {name: config[name] for name in (*STATIC, "amsgrad") if name in config}
    known = filled({**static, "learning_rate": LEARNING_RATE}, 1)
    theirs = ("learning_rate", *group_of(static).names)
    for d in space.dimensions:
        if d.default is None and not d.choices and d.name in theirs:
            config[d.name] = known[d.name]
    return {**config, "final": 1.0, "warmup": 0.0, "weight_decay": 0.0}


def course(space: Space, strategy: Strategy, plan: Plan, *, held_out: bool) -> Course:
    """All jobs of a study, round after round; returns the finalists."""
    baseline = untuned(space)
    fresh = yield from _train(plan, [baseline], plan.fresh, "baseline")
    searched: list[Outcome] = []
    rounds = strategy(space, plan.search, np.random.default_rng(plan.seed))
    sent: list[Outcome] | None = None
    while True:
        try:
            trials = next(rounds) if sent is None else rounds.send(sent)
        except StopIteration:
            break
        try:
            records = yield [Job("training", trial, "search") for trial in trials]
        except OutOfTimeError:
            break
        sent = [outcome_of(record) for record in records]
        searched += sent
    finalists = ranked(searched, plan.finalists)
    seeds = plan.fresh[: plan.confirmations]
    fresh += yield from _train(plan, finalists, seeds, "confirmation")
    best = chosen(fresh, space, baseline)
    if held_out and best is not None:
        configs = [baseline] if best.config == baseline else [baseline, best.config]
        yield _jobs("held_out", plan, configs, plan.fresh, "held_out")
    return finalists


def _train(
    plan: Plan, configs: list[Config], seeds: tuple[int, ...], phase: str
) -> Generator[list[Job], list[Record], list[Outcome]]:
    jobs = _jobs("training", plan, configs, seeds, phase)
    records = (yield jobs) if jobs else []
    return [outcome_of(record) for record in records]


def _jobs(
    kind: Any, plan: Plan, configs: list[Config], seeds: tuple[int, ...], phase: str
) -> list[Job]:
    return [
        Job(kind, Trial(config, seed, plan.steps, plan.steps), phase)
        for config in configs
        for seed in seeds
    ]
