"""Tune Adam: a whole sweep as one compiled program."""

from ._cache import compilation_cache as compilation_cache
from ._choose import choose_execution as choose_execution
from ._dimension import Dimension as Dimension
from ._execution import Execution as Execution
from ._paused import Paused as Paused
from ._program import traces as traces
from .adapters import from_equinox as from_equinox
from .adapters import from_nnx as from_nnx
from .engine import held_out as held_out
from .engine import population as population
from .progress import Progress as Progress
from .progress import rich_progress as rich_progress
from .space import Config as Config
from .space import Space as Space
from .space import adamw_space as adamw_space
from .task import Task as Task
from .tasks import builtin as builtin
from .trial import Outcome as Outcome
from .trial import StopRule as StopRule
from .trial import Trial as Trial
