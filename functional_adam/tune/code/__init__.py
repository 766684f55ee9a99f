"""The configuration chosen, as code to paste into a program of either framework."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

from ..space import Config
from ._functional_adam import write_ours
from ._optax import write_optax
from ._settings import settings
from ._torch import write_torch

Framework = Literal["functional_adam", "optax", "torch"]

WRITERS: Mapping[str, Callable[..., str]] = MappingProxyType(
    dict(functional_adam=write_ours, optax=write_optax, torch=write_torch)
)


def as_code(
    config: Config,
    steps: int,
    framework: Framework,
    *,
    dtype: str = "float32",
    before: bool = False,
) -> str:
    """Code that makes the optimizer and its schedule, and says how they are used.

    In JAX it defines `tx`, a gradient transformation; in PyTorch `make_optimizer(model)`, which
    returns an optimizer of torch.optim, or of functional_adam_torch where that has none, and a
    scheduler of torch.optim.lr_scheduler.

    Args:
        config: see `Config`; missing names have the algorithm's defaults.
        steps: length of the run, over which the schedule goes.
        framework: "functional_adam", "optax" or "torch".
        dtype: of the weights: those in half precision are trained beside a float32 master.
        before: whether the task put a transformation of its own, such as clipping, in front.

    Raises:
        ValueError: another framework, or one that has no such optimizer.
    """
    if framework not in WRITERS:
        raise ValueError(f"framework must be one of {', '.join(WRITERS)}; got {framework!r}")
    return WRITERS[framework](settings(config, steps, dtype, before))
