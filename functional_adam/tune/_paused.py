"""Trainings that may go on: their lanes on the host, by configuration, seed and length."""

from __future__ import annotations

import dataclasses
from typing import Any

from .trial import Trial


@dataclasses.dataclass(frozen=True)
class Saved:
    """A training that stopped for now.

    Attributes:
        count: steps made.
        lane: everything that goes on, as NumPy arrays.
        curve: as in `Outcome`.
        seconds: as in `Outcome`.
        figures: the latest.
    """

    count: int
    lane: Any
    curve: tuple[tuple[int, float], ...]
    seconds: float
    figures: dict[str, float]


class Paused:
    """Where `population` leaves finished trainings, and looks for those it can go on from.

    A later trial of the same configuration, seed and `of` with more steps goes on where the last
    one ended, and ends with the same bits as one trained from the start. Give it to every call of
    a study whose rungs grow; `drop` what cannot go on.
    """

    def __init__(self) -> None:
        self._saved: dict[Any, Saved] = {}

    def __len__(self) -> int:
        return len(self._saved)

    def get(self, trial: Trial) -> Saved | None:
        """What the trial can go on from."""
        saved = self._saved.get(_key(trial))
        return saved if saved is not None and saved.count <= trial.steps else None

    def put(self, trial: Trial, saved: Saved) -> None:
        """Keep a training, in place of a shorter one."""
        known = self._saved.get(_key(trial))
        if known is None or known.count <= saved.count:
            self._saved[_key(trial)] = saved

    def drop(self, trial: Trial) -> None:
        """Forget a training, if it is there."""
        self._saved.pop(_key(trial), None)

    def clear(self) -> None:
        """Forget all."""
        self._saved.clear()


def _key(trial: Trial) -> Any:
    return frozenset(trial.config.items()), trial.seed, trial.of
