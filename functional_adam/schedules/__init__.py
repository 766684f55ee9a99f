"""Learning rates, and any other hyperparameter, as pure functions of the number of updates made.

Every function here takes numbers and returns a schedule ``count -> value`` that may be jitted,
vmapped, scanned and differentiated; the first update reads count 0, as in torch and optax. The
value is a float32 scalar (float64 where x64 is enabled), never weakly typed. Those named after a
class of torch.optim.lr_scheduler have its arguments and its values, from a closed form in place of
its recursion: the millionth value is as accurate as the first. Lengths are counted in integers.

Parameters may be Python numbers, which are checked, or traced arrays, which are not: a sweep can
search over a peak, or over the length of a warm-up, in one compiled program. The exceptions, which
shape the program, are `T_mult`, `total_steps` of `multiplicative_lr`, and names of modes.
"""

from ._arguments import Scalar as Scalar
from ._arguments import Schedule as Schedule
from ._compose import chained_lr as chained_lr
from ._compose import sequential_lr as sequential_lr
from ._cosine import cosine_annealing_lr as cosine_annealing_lr
from ._cosine import cosine_annealing_warm_restarts as cosine_annealing_warm_restarts
from ._cosine import cosine_decay as cosine_decay
from ._cyclic import cyclic_lr as cyclic_lr
from ._cyclic import cyclic_momentum as cyclic_momentum
from ._decays import constant_lr as constant_lr
from ._decays import exponential_lr as exponential_lr
from ._decays import linear_lr as linear_lr
from ._decays import multi_step_lr as multi_step_lr
from ._decays import polynomial_lr as polynomial_lr
from ._decays import step_lr as step_lr
from ._one_cycle import one_cycle_lr as one_cycle_lr
from ._one_cycle import one_cycle_momentum as one_cycle_momentum
from ._plateau import ReduceLROnPlateauState as ReduceLROnPlateauState
from ._plateau import reduce_lr_on_plateau as reduce_lr_on_plateau
from ._plot import plot as plot
from ._tables import constant as constant
from ._tables import lambda_lr as lambda_lr
from ._tables import multiplicative_lr as multiplicative_lr
from ._tables import tabulated as tabulated
from ._warmup import warmup_cosine as warmup_cosine
from ._warmup import warmup_inverse_sqrt as warmup_inverse_sqrt
from ._warmup import warmup_linear as warmup_linear
from ._warmup import warmup_stable_decay as warmup_stable_decay
