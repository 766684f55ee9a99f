"""functional_adam in PyTorch: torch.optim's own classes, stepped by the core's rules."""

from ._schedules import from_torch as from_torch
from ._schedules import momentum_from_torch as momentum_from_torch
from .optax_optimizer import OptaxOptimizer as OptaxOptimizer
from .optimizers import Adam as Adam
from .optimizers import Adamax as Adamax
from .optimizers import AdamW as AdamW
from .optimizers import NAdam as NAdam
from .optimizers import RAdam as RAdam
