"""Tune torch modules without leaving PyTorch: many trainings as one vmapped computation.

`functional_adam.tune` is given a `TorchTask` in place of a `Task`; everything else is the same.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from functional_adam.tune import Execution, Outcome, Trial
from functional_adam.tune.schedule import batch_fits, counts, group_of, names

from .population import _lanes, _population

_WIDTHS = (1, 8, 32, 128)
_GAIN = 0.9


@dataclasses.dataclass(frozen=True, eq=False)
class TorchTask:
    """A training run of a torch module with everything decided but the hyperparameters.

    Parameters of all lanes are rows of one matrix; the forward pass is `torch.func.vmap` of
    `functional_call`, the step is the core's rule with a number for each lane. A module that vmap
    cannot do is computed lane after lane, with a warning. Weights in half precision have a float32
    master. What a module draws at random, such as dropout, depends on the seed and the step only,
    and torch's generators are left as they were; the last bits of such a module may depend on the
    lanes beside it. A parameter that the loss does not use has a gradient of zero: it decays.

    Attributes:
        name: for logs and reports.
        make: -> module, its weights drawn from torch's generator. It is put in `train` for steps
            and in `eval` for figures, but for the parts that `make` has put in `eval`.
        loss: (model, batch) -> scalar, a mean over examples; `model` is called as the module is.
            Where `own` is not empty, (model, batch, own). Use torch functions only: no `.item()`.
        train: pytree of tensors whose first axis is the examples.
        validation: the same, for choosing.
        held_out: the same, for the one figure at the end, or None.
        batch_size: examples in a batch; every epoch is a new shuffle.
        steps: length of a full run.
        metrics: name -> (model, batch) -> scalar, on validation data.
        own: names of the task's own hyperparameters, numbers that `loss` is given.
        evaluations: how often validation is computed in a full run.
        device: where to train.
        kept: what has been prepared for it.
    """

    name: str
    make: Callable[[], nn.Module]
    loss: Callable[..., Tensor]
    train: Any
    validation: Any
    held_out: Any = None
    batch_size: int = 64
    steps: int = 300
    metrics: Mapping[str, Callable[[Any, Any], Tensor]] = dataclasses.field(default_factory=dict)
    own: tuple[str, ...] = ()
    evaluations: int = 8
    device: str = "cpu"
    kept: dict[Any, Any] = dataclasses.field(default_factory=dict, init=False, repr=False)

    @property
    def dtype(self) -> str:
        """Of the first trained parameter."""
        trained = (p for p in self.module(0).parameters() if p.requires_grad)
        return str(next(trained).dtype).removeprefix("torch.")

    def module(self, seed: int) -> nn.Module:
        """A module with the initial weights of a seed; the generators are left as they were."""
        devices = [] if self.device == "cpu" else [self.device]
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            return self.make()

    def check(self) -> None:
        """Raise where the parts do not fit each other; computes one loss, once.

        Raises:
            ValueError: sizes that do not fit, a loss that is no scalar or not finite at the start.
            TypeError: something that is not a tensor, or a dtype that cannot be trained.
        """
        if "checked" not in self.kept:
            _check(self)
            self.kept["checked"] = True

    def choose(self, trials: Sequence[Trial]) -> Execution:
        """Measure a few steps with 1, 8, 32 and 128 lanes; the first choice is kept."""
        group = group_of(trials[0].config)
        if ("execution", group) not in self.kept:
            best, best_time = Execution(), math.inf
            for lanes in _WIDTHS:
                if lanes > 1 and lanes > len(trials):
                    break
                made = self._program(group, trials, lanes)
                n = min(8, made.length)
                taken = min(_population.seconds(made, trials, n) for _ in range(3))
                # Idle lanes are computed too.
                taken *= -(-len(trials) // lanes) * lanes / len(trials)
                if taken < _GAIN * best_time:
                    best, best_time = Execution(lanes), taken
            self.kept["execution", group] = best
        return self.kept["execution", group]

    def prepare(
        self, group: Any, trials: Sequence[Trial], execution: Execution | Literal["auto"]
    ) -> tuple[Any, int]:
        """The program of a group, and how many of it run beside each other."""
        if group.dialect != "TORCH":
            raise ValueError(
                f"torch modules are trained in the dialect TORCH, got {group.dialect!r}"
            )
        how = self.choose(trials) if execution == "auto" else execution
        if how.devices != 1 or how.workers != 1:
            raise ValueError(f"torch modules are trained on one device by one worker, got {how}")
        return self._program(group, trials, how.lanes), 1

    def final(self, lane: Any) -> dict[str, Tensor]:
        """The state_dict of a lane, as `Outcome.params` of these tasks is.

        Buffers that are not persistent are in it as well: such a module loads it with
        ``strict=False`` and takes them by name.
        """
        module = _lanes.module_of(self.module(0), lane)
        return {**dict(module.named_buffers()), **module.state_dict()}

    def held_out_loss(self, outcome: Outcome) -> float:
        """Mean loss on held-out data of the parameters of an outcome."""
        module = self.module(outcome.trial.seed)
        module.load_state_dict(outcome.params, strict=False)
        for name, buffer in module.named_buffers():
            buffer.copy_(outcome.params[name])
        module.to(self.device).eval()
        own = {name: torch.tensor(float(outcome.trial.config[name])) for name in self.own}
        extra = (own,) if own else ()
        device = torch.device(self.device)
        data = _population.to_device(self.held_out, device)
        with torch.no_grad(), torch.random.fork_rng([] if device.type == "cpu" else [device]):
            torch.manual_seed(0)
            return sum(
                float(self.loss(module, part, *extra)) * share
                for part, share in _population.blocks(data, self.batch_size)
            )

    def _program(self, group: Any, trials: Sequence[Trial], lanes: int) -> _population.Program:
        if (group, lanes) not in self.kept:
            self.kept[group, lanes] = _population.prepare(self, group, trials, lanes)
        return self.kept[group, lanes]


def _check(task: TorchTask) -> None:
    counts(task)
    names(task)
    for part in ("train", "validation", "held_out"):
        data = getattr(task, part)
        if data is None and part == "held_out":
            continue
        leaves = pytree.tree_leaves(data)
        if not leaves:
            raise ValueError(f"{part} of task {task.name!r} holds no tensors")
        for x in leaves:
            if not isinstance(x, Tensor | np.ndarray):
                raise TypeError(
                    f"{part} of task {task.name!r} must hold tensors, got {type(x).__name__}"
                )
        sizes = {len(x) for x in leaves}
        if len(sizes) > 1 or 0 in sizes:
            raise ValueError(
                f"tensors of {part} must hold as many examples as each other, at least one: got "
                f"{[len(x) for x in leaves]}"
            )
        _same_examples(task, part)
    batch_fits(task, len(pytree.tree_leaves(task.train)[0]))
    module = task.module(0)
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"make of task {task.name!r} must return a torch module, got {type(module).__name__}"
        )
    _lanes.Layout(module)
    module = module.to(task.device)
    batch = pytree.tree_map(
        lambda x: torch.as_tensor(x)[: task.batch_size].to(task.device), task.train
    )
    extra = ({name: torch.tensor(0.5) for name in task.own},) if task.own else ()
    functions = {"loss": task.loss, **{f"metrics[{k!r}]": f for k, f in task.metrics.items()}}
    for what, function in functions.items():
        arguments = (module, batch, *(extra if what == "loss" else ()))
        _scalar(task, what, function, arguments)


def _same_examples(task: TorchTask, part: str) -> None:
    """An example of validation looks like one of training."""
    structures = [pytree.tree_structure(getattr(task, name)) for name in ("train", part)]
    if structures[0] != structures[1]:
        raise ValueError(
            f"{part} must have the structure of train, {structures[0]}; got {structures[1]}"
        )
    shapes = [
        [tuple(x.shape[1:]) for x in pytree.tree_leaves(getattr(task, name))]
        for name in ("train", part)
    ]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"an example of {part} has tensors of shapes {shapes[1]}, one of train {shapes[0]}"
        )


def _scalar(task: TorchTask, what: str, function: Any, arguments: tuple[Any, ...]) -> None:
    try:
        with torch.random.fork_rng(devices=[]):
            value = function(*arguments)
    except Exception as error:
        raise ValueError(
            f"{what} of task {task.name!r} fails on a batch of {task.batch_size} examples: "
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        ) from error
    if not isinstance(value, Tensor):
        raise ValueError(
            f"{what} of task {task.name!r} must return a scalar tensor, got {type(value).__name__}"
        )
    if value.shape != ():
        raise ValueError(
            f"{what} of task {task.name!r} must be a scalar, got shape {tuple(value.shape)}: take "
            "the mean over the examples"
        )
    if what == "loss" and not task.own and not math.isfinite(value.item()):
        raise ValueError(
            f"loss of task {task.name!r} must be finite at the start, got {value.item()} for the "
            f"first {task.batch_size} training examples"
        )
