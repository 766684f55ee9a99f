"""What is trained: pure functions and arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import optax

from . import _check_task

Metric = Callable[[Any, Any], Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """A training run with everything decided but the optimizer's hyperparameters.

    Attributes:
        name: for logs and reports.
        init: key -> params, a pytree of floating arrays; they are trained in `dtype`, whatever
            theirs is.
        loss: (params, batch, key) -> scalar, a mean over the examples of the batch; the key is for
            dropout and the like, another one in each step. Where `own` is not empty, (params,
            batch, key, own) -> scalar with the values of these hyperparameters by name.
        train: pytree of arrays whose first axis is the examples; batches are parts of it.
        validation: the same, for choosing.
        held_out: the same, for the one figure at the end; None: there is none.
        batch_size: examples in a batch. Every epoch is a new shuffle; what is left over at its end
            is dropped.
        steps: length of a full run.
        metrics: name -> (params, batch) -> scalar, a mean over examples, on validation data.
        dtype: what parameters and floating inputs are computed in: "float32", "bfloat16" or
            "float16", which keep float32 masters of the weights, or "float64" with x64 enabled.
        own: names of the task's own hyperparameters, numbers that `loss` is given.
        before: transformation of the gradients before Adam, e.g. `optax.clip_by_global_norm(1)`.
        evaluations: how often validation is computed in a full run, at equal distances.
        evaluation_key: whether `loss` is given a key on validation data as well; otherwise None,
            which is how it knows that it is evaluated.
        programs: what has been compiled for it.

    Examples:
        >>> x = np.linspace(-1, 1, 8, dtype=np.float32)
        >>> task = tune.Task(
        ...     "line",
        ...     init=lambda key: {"w": jnp.zeros(())},
        ...     loss=lambda params, batch, key: jnp.mean((params["w"] - 1) ** 2 * batch["x"] ** 2),
        ...     train={"x": x},
        ...     validation={"x": x},
        ...     batch_size=4,
        ...     steps=4,
        ...     evaluations=2,
        ... )
        >>> task.check()
        >>> task.segment
        2
    """

    name: str
    init: Callable[[Any], Any]
    loss: Callable[..., Any]
    train: Any
    validation: Any
    held_out: Any = None
    batch_size: int = 64
    steps: int = 300
    metrics: Mapping[str, Metric] = dataclasses.field(default_factory=dict)
    dtype: str = "float32"
    own: tuple[str, ...] = ()
    before: optax.GradientTransformation | None = None
    evaluations: int = 8
    evaluation_key: bool = False
    programs: dict[Any, Any] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def check(self) -> None:
        """Raise where the parts do not fit each other; computes one loss.

        Raises:
            ValueError: sizes that do not fit, a loss that is no scalar or not finite at the start.
            TypeError: something that is not an array or has a dtype that cannot be trained.
        """
        _check_task.check(self)

    def with_(self, **changes: Any) -> Task:
        """The task with some attributes replaced, as `dataclasses.replace`."""
        return dataclasses.replace(self, **changes)

    @property
    def segment(self) -> int:
        """Steps from one evaluation to the next."""
        return -(-self.steps // self.evaluations)
