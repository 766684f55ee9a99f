"""functional_adam in PyTorch: torch.optim's own classes, stepped by the core's rules."""

from . import _available as _available
from ._health import health as health
from .moving._layouts import jax_layout as jax_layout
from .moving._to_jax import InJax as InJax
from .moving._to_jax import to_jax as to_jax
from .moving._to_torch import to_torch as to_torch
from .optax_optimizer import OptaxOptimizer as OptaxOptimizer
from .optimizers import Adam as Adam
from .optimizers import Adamax as Adamax
from .optimizers import AdamW as AdamW
from .optimizers import NAdam as NAdam
from .optimizers import RAdam as RAdam
from .schedulers._schedules import from_torch as from_torch
from .schedulers._schedules import momentum_from_torch as momentum_from_torch


def __getattr__(name: str) -> type:
    """A class of the table that torch.optim has not: `AdaBelief`, ..."""
    from ._made import CLASSES

    if name not in CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return CLASSES[name]


def __dir__() -> list[str]:
    from ._made import CLASSES

    return sorted({*globals(), *CLASSES})
