"""The honest choice: figures of seeds the search has not seen, and ties to what is nearest home.

The loss by which a winner was chosen is too good: it was chosen for its luck as well. So the best
of the search are trained again on fresh seeds, beside untuned Adam on the same ones, and of those
that cannot be told apart the configuration nearest the defaults is taken.

Nearness is counted in halves of a range. With it counted to the last digit, the choice on the
digits was 4 to 8% worse at every budget: of four finalists that tie, one is always a bit nearer.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from .space import Config, Space
from .trial import Outcome

NEAR = 0.5  # of a range: distances that count as equal
ERRORS = 2  # standard errors of a difference that count as a tie


@dataclasses.dataclass(frozen=True)
class Contender:
    """A configuration with its losses on fresh seeds.

    Attributes:
        config: hyperparameters.
        losses: validation loss by seed.
        diverged: whether any of them diverged.
        distance: from the defaults, in positions of the space; 0 for untuned Adam.
        error: standard error of the mean, from the spread of all contenders together, relative
            where all losses are positive: two seeds alone tell nothing of their spread.
    """

    config: Config
    losses: Mapping[int, float]
    diverged: bool
    distance: float
    error: float = math.nan

    @property
    def mean(self) -> float:
        """Mean validation loss."""
        return math.fsum(self.losses.values()) / len(self.losses)


def ranked(outcomes: Sequence[Outcome], count: int) -> list[Config]:
    """The best different configurations: longer trainings first, then lower losses."""
    order = sorted(
        range(len(outcomes)),
        key=lambda i: (-outcomes[i].trial.steps, _digits(outcomes[i].validation), i),
    )
    found: list[Config] = []
    for i in order:
        outcome = outcomes[i]
        if not outcome.diverged and outcome.trial.config not in found:
            found.append(outcome.trial.config)
    return found[:count]


def contenders(outcomes: Sequence[Outcome], space: Space, baseline: Config) -> list[Contender]:
    """Configurations with their losses on fresh seeds, in the order in which they came."""
    configs: list[Config] = []
    for outcome in outcomes:
        if outcome.trial.config not in configs:
            configs.append(outcome.trial.config)
    found = []
    for config in configs:
        own = [outcome for outcome in outcomes if outcome.trial.config == config]
        losses = {outcome.trial.seed: _digits(outcome.validation) for outcome in own}
        away = 0.0 if config == baseline else distance(space, config)
        found.append(Contender(config, losses, any(o.diverged for o in own), away))
    # Where losses cross zero, their mean is no measure of their spread.
    relative = all(loss > 0 for c in found for loss in c.losses.values())
    scales = [c.mean if relative else 1.0 for c in found]
    spread = _spread(found, scales)
    errors = [spread * scale / len(c.losses) ** 0.5 for c, scale in zip(found, scales, strict=True)]
    return [dataclasses.replace(c, error=e) for c, e in zip(found, errors, strict=True)]


def _spread(found: Sequence[Contender], scales: Sequence[float]) -> float:
    """Standard deviation of losses over their scales, of all contenders; NaN of single losses."""
    squares: list[float] = []
    freedom = 0
    for c, scale in zip(found, scales, strict=True):
        if len(c.losses) > 1 and not c.diverged:
            squares += [((loss - c.mean) / scale) ** 2 for loss in c.losses.values()]
            freedom += len(c.losses) - 1
    # Exact sums: several processes finish in another order each time.
    return math.sqrt(math.fsum(squares) / freedom) if freedom else math.nan


def chosen(outcomes: Sequence[Outcome], space: Space, baseline: Config) -> Contender | None:
    """The best on fresh seeds or, of those within two standard errors, the nearest to home.

    Differences are between trainings on the same seeds, of logarithms where losses are positive;
    their error is that of all contenders together, for two or four seeds tell little of one.
    Returns None where nothing was trained without diverging.
    """
    able = [c for c in contenders(outcomes, space, baseline) if not c.diverged]
    able.sort(key=lambda c: sorted((name, str(x)) for name, x in c.config.items()))
    if not able:
        return None
    seeds = set.intersection(*(set(c.losses) for c in able))
    order = sorted(seeds)
    table = np.array([[c.losses[seed] for seed in order] for c in able])
    if (table > 0).all():
        table = np.log(table)
    means = table.mean(1)
    within = means - means.min() <= ERRORS * difference_error(table)
    ties = [c for c, tied in zip(able, within, strict=True) if tied]
    # Finalists that are about as far from the defaults as each other differ by their losses only.
    return min(ties, key=lambda c: (math.ceil(c.distance / NEAR), c.mean))


def difference_error(table: np.ndarray) -> float:
    """Standard error of the difference of two rows' means, (configurations, seeds), pooled.

    What configurations share on a seed cancels; the rest is taken as equally large in all rows.
    """
    rows, columns = table.shape
    if rows < 2 or columns < 2:
        return 0.0
    rest = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    variance = float((rest**2).sum()) / ((rows - 1) * (columns - 1))
    return math.sqrt(2 * variance / columns)


def distance(space: Space, config: Config) -> float:
    """How far a configuration is from the defaults, in positions of the space."""
    positions = np.clip(space.to_unit([config, space.default()]), 0, 1)
    return float(np.linalg.norm(positions[0] - positions[1]))


def _digits(loss: float) -> float:
    """A loss with five digits: what decides does not hang on the last bit of a kernel."""
    return float(f"{loss:.5g}")
