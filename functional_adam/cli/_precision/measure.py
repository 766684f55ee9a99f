"""Every figure of every way to store: memory, time, and the loss that training ends at."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

from .cost import costs
from .subjects import REFERENCE, Subject
from .tasks import characters, digits
from .train import final_loss


def rows_of(
    chosen: Sequence[Subject],
    parameters: int,
    rounds: int,
    seeds: int,
    steps: int | None,
    done: Callable[[str], None],
) -> dict[str, dict[str, float]]:
    """Figures by subject and column; `seeds` training runs of each task."""
    rows = costs(chosen, parameters, rounds, lambda name: done(f"timed: {name}"))
    for name, losses in _losses(chosen, seeds, steps, done).items():
        rows[name] |= losses
    return rows


def _losses(
    chosen: Sequence[Subject], seeds: int, steps: int | None, done: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    rows: dict[str, dict[str, float]] = {subject.name: {} for subject in chosen}
    for task in (digits(), characters()) if seeds else ():
        length = steps or task.steps
        exact = [final_loss(task, REFERENCE, seed, length) for seed in range(seeds)]
        for subject in chosen:
            ratios = [
                final_loss(task, subject, seed, length) / exact[seed] for seed in range(seeds)
            ]
            broken = any(not math.isfinite(ratio) for ratio in ratios)
            rows[subject.name] |= {
                f"{task.name} mean": math.nan if broken else statistics.mean(ratios),
                f"{task.name} worst": math.nan if broken else max(ratios),
            }
            done(f"trained: {task.name}, {subject.name}")
    return rows
