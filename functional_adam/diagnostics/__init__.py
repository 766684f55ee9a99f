"""What Adam is doing, as a pytree of scalars: `health` measures, `summarize` says it in words.

updates, state = tx.update(gradients, state, params)
found = health(updates, state, params, gradients)  # may be jitted
print(*summarize(found), sep="; ")
writer.add_scalars("adam", flatten(found), step)  # or wandb.log(flatten(found), step=step)
"""

from ._figures import Figures as Figures
from ._flat import flatten as flatten
from ._health import Health as Health
from ._health import health as health
from ._words import LIMITS as LIMITS
from ._words import Limit as Limit
from ._words import summarize as summarize
