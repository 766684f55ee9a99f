"""A trial's schedule, batches and sizes as plain numbers: for other engines, and for checks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ._batches import Batches as Batches
from ._check_task import batch_fits as batch_fits
from ._check_task import counts as counts
from ._check_task import names as names
from ._evaluate import AT_ONCE as AT_ONCE
from ._hyper import filled as filled
from ._hyper import group_of as group_of
from ._hyper import hyper_of, learning_rate
from ._program import STARTS as STARTS
from ._program import WINDOW as WINDOW
from .space import Config


def rates(config: Config, of: int) -> np.ndarray:
    """Learning rates of all updates of a run of `of` steps, float (of,)."""
    return np.asarray(_rates(hyper_of([config], [of], ()), jnp.arange(of)))


# One compilation for each length, whatever the configuration.
_rates = jax.jit(learning_rate)
