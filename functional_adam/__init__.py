"""One definition of every Adam, as a pure function: the same numbers in JAX and in PyTorch."""

from ._explain import Explanation as Explanation
from ._explain import explain as explain
from ._hyperparameters import Hyperparameter as Hyperparameter
from ._two_float import TwoFloat as TwoFloat
from ._two_float import one_minus as one_minus
from ._two_float import two_float as two_float
from .dialects import APEX as APEX
from .dialects import BERT as BERT
from .dialects import BITSANDBYTES as BITSANDBYTES
from .dialects import DEEPSPEED as DEEPSPEED
from .dialects import DIALECTS as DIALECTS
from .dialects import HEAVYBALL as HEAVYBALL
from .dialects import HF as HF
from .dialects import KERAS as KERAS
from .dialects import OPTAX as OPTAX
from .dialects import OPTIMI as OPTIMI
from .dialects import PAPER as PAPER
from .dialects import TIMM as TIMM
from .dialects import TORCH as TORCH
from .dialects import Dialect as Dialect
from .precision import MasterState as MasterState
from .precision import master_params as master_params
from .precision import with_master as with_master
from .rules import ALGORITHMS as ALGORITHMS
from .rules import Algorithm as Algorithm
from .rules import Twin as Twin
from .rules.adam import AdamState as AdamState
from .rules.adam import adam as adam
from .rules.adam import scale_by_adam as scale_by_adam
from .rules.adamax import adamax as adamax
from .rules.adamax import scale_by_adamax as scale_by_adamax
from .rules.adamw import adamw as adamw
from .rules.amsgrad import AMSGradState as AMSGradState
from .rules.amsgrad import amsgrad as amsgrad
from .rules.amsgrad import amsgradw as amsgradw
from .rules.amsgrad import scale_by_amsgrad as scale_by_amsgrad
from .rules.nadam import NAdamState as NAdamState
from .rules.nadam import nadam as nadam
from .rules.nadam import nadamw as nadamw
from .rules.nadam import scale_by_nadam as scale_by_nadam
from .rules.radam import radam as radam
from .rules.radam import radamw as radamw
from .rules.radam import scale_by_radam as scale_by_radam

__version__ = "0.1.0"
