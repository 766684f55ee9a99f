"""Tune Adam: a whole sweep as one compiled program."""

from ._dimension import Dimension as Dimension
from .engine import Execution as Execution
from .engine import held_out as held_out
from .engine import population as population
from .space import Config as Config
from .space import Space as Space
from .space import adamw_space as adamw_space
from .study import Best as Best
from .study import Study as Study
from .task import Task as Task
from .tasks import builtin as builtin
from .trial import Outcome as Outcome
from .trial import StopRule as StopRule
from .trial import Trial as Trial
from .tuning import tune as tune
