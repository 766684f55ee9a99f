"""One optimizer, trained every way in lockstep, and what the ways differ by.

Two questions, two sets of runs. With the same gradients only the optimizers can differ. With its
own gradients each framework trains by itself, and the rounding of its matrix products counts too:
the second torch.optim run, from weights one ulp away, shows what any rounding at all would do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from functional_adam import Algorithm

from .gap import Gap, ulp
from .network import loss_and_accuracy
from .trace import Trace
from .ways import JAX, TORCH, YARDSTICK, Setup, Ways, ways

CHUNK = 50  # steps between two looks at the runs
POINTS = 100  # of a validation curve


@dataclasses.dataclass(frozen=True)
class Ending:
    """Where a way of training ended."""

    train_loss: float
    validation_loss: float
    test_accuracy: float
    steps_per_second: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All figures of one optimizer; mappings are by way of training.

    Attributes:
        algorithm: its row in the table.
        hyperparameters: what all ways were given.
        steps: how many were taken.
        endings: where each way ended, with its own gradients.
        same: differences from torch.optim, all given its gradients.
        own: differences from torch.optim, each with its own gradients.
        ulps: one ulp of torch.optim's largest parameter, after each step.
        marks: steps at which validation losses were taken.
        curves: validation losses at the marks.
    """

    algorithm: Algorithm
    hyperparameters: Mapping[str, float]
    steps: int
    endings: Mapping[str, Ending]
    same: Mapping[str, Gap]
    own: Mapping[str, Gap]
    ulps: np.ndarray
    marks: list[int]
    curves: Mapping[str, list[float]]


def compare(algorithm: Algorithm, setup: Setup, advanced: Callable[[int], None]) -> Comparison:
    """Train with one optimizer in every way; `advanced` is told of the steps that were taken."""
    runs, record = ways(algorithm, setup), _Record(setup)
    for done in range(0, len(setup.batches), CHUNK):
        chunk = setup.batches[done : done + CHUNK]
        own = {way: run.advance(chunk) for way, run in runs.own.items()}
        gradients = own[TORCH].gradients
        assert gradients is not None
        same = {way: run.advance(gradients) for way, run in runs.same.items()}
        record.add(done, own, same)
        advanced(len(chunk))
    return record.comparison(algorithm, runs)


class _Record:
    """What is kept of the traces: losses at the marks and differences at every step."""

    def __init__(self, setup: Setup) -> None:
        steps = len(setup.batches)
        self._setup = setup
        self._marks = sorted({0, steps, *range(0, steps, max(1, steps // POINTS))})
        self._ulps: list[np.ndarray] = []
        self._same: dict[str, Gap] = {}
        self._own: dict[str, Gap] = {}
        self._curves: dict[str, list[float]] = {}
        self._rates: dict[str, list[float]] = {}
        self._last: dict[str, np.ndarray] = {}

    def add(self, done: int, own: Mapping[str, Trace], same: Mapping[str, Trace]) -> None:
        reference, start = own[TORCH].parameters, self._setup.start
        self._ulps.append(ulp(reference))
        for gaps, traces in ((self._own, own), (self._same, same)):
            for way in traces.keys() - {TORCH}:
                gap = gaps.setdefault(way, Gap())
                gap.record(traces[way].parameters, reference, start)
        for way, trace in own.items():
            first = self._setup.neighbour if way == YARDSTICK else start
            curve = self._curves.setdefault(way, [self._loss(first)])
            inside = (mark - done - 1 for mark in self._marks)
            curve += [
                self._loss(trace.parameters[i]) for i in inside if 0 <= i < len(trace.parameters)
            ]
            self._rates.setdefault(way, []).append(len(trace.parameters) / trace.seconds)
            self._last[way] = trace.parameters[-1]

    def comparison(self, algorithm: Algorithm, runs: Ways) -> Comparison:
        names = algorithm.rule.moments
        keys = [algorithm.torch_state[name] for name in names]
        theirs = runs.own[TORCH].moments(keys)
        for way, run in runs.same.items():
            self._same[way].record_moments(run.moments(names if way == JAX else keys), theirs)
        for way, gap in self._own.items():
            difference = np.subtract(self._curves[way], self._curves[TORCH])
            gap.validation_loss = float(np.max(np.abs(difference)))
        return Comparison(
            algorithm,
            runs.hyperparameters,
            steps=len(self._setup.batches),
            endings={way: self._ending(way) for way in runs.own},
            same={way: self._same[way] for way in runs.same},
            own={way: self._own[way] for way in runs.own if way != TORCH},
            ulps=np.concatenate(self._ulps),
            marks=self._marks,
            curves=self._curves,
        )

    def _loss(self, flat: np.ndarray) -> float:
        return loss_and_accuracy(flat, self._setup.digits.validation)[0]

    def _ending(self, way: str) -> Ending:
        digits, flat = self._setup.digits, self._last[way]
        return Ending(
            train_loss=loss_and_accuracy(flat, digits.train)[0],
            validation_loss=loss_and_accuracy(flat, digits.validation)[0],
            test_accuracy=loss_and_accuracy(flat, digits.test)[1],
            # The median passes over interruptions and over the first chunk, which fills caches.
            steps_per_second=float(np.median(self._rates[way])),
        )
