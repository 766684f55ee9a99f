"""functional_adam in PyTorch: torch.optim's own classes, stepped by the core's rules."""

from .optimizers import Adam as Adam
from .optimizers import Adamax as Adamax
from .optimizers import AdamW as AdamW
from .optimizers import NAdam as NAdam
from .optimizers import RAdam as RAdam
