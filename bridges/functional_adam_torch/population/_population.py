"""Training of many copies of a torch module at once: the program that the core's engine drives.

It has the methods of the core's own program of JAX; slots, queues, halving and progress are the
engine's.
"""

from __future__ import annotations

import collections
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, vmap
from torch.utils import _pytree as pytree

from functional_adam.tune import Trial
from functional_adam.tune.schedule import AT_ONCE, STARTS, WINDOW, Batches, filled, rates

from ._lanes import Hyper, Layout, Rows, Stepper, hyper


class Program:
    """Lanes of a torch task.

    Attributes:
        width: lanes.
        vmapped: whether the lanes are one vmapped computation, or computed in turn.
        draws: whether the module draws random numbers: lanes of one seed at one step are then
            computed together, for what they draw is the same.
    """

    def __init__(self, task: Any, group: Any, lanes: int, vmapped: bool, draws: bool) -> None:
        self.task, self.group, self.width = task, group, lanes
        self.vmapped, self.draws, self._drawn = vmapped and lanes > 1, draws, 0
        self.task_name, self.own, self.evaluations = task.name, task.own, task.evaluations
        self.length = min(-(-task.steps // task.evaluations), WINDOW)
        self.batches = Batches(_examples(task.train), task.batch_size)
        self.device = torch.device(task.device)
        self._data = {
            part: to_device(getattr(task, part), self.device) for part in ("train", "validation")
        }
        self._layout = Layout(task.module(0).to(self.device))
        self._step = Stepper(group.algorithm, group.selects)
        self._starts: collections.OrderedDict[Any, tuple[Rows, Any]] = collections.OrderedDict()

    def hyper(self, trials: Sequence[Trial]) -> Hyper:
        """Hyperparameters of `width` lanes."""
        configs = [filled(t.config, t.of) for t in trials]
        tables = [np.asarray(rates(t.config, t.of), np.float64) for t in trials]
        seeds = [t.seed for t in trials]
        return hyper(configs, tables, self.group.names, self.own, self.device, seeds)

    def start(self, trial: Trial) -> tuple[Rows, dict[str, float]]:
        """A lane before its first step, on the host, and its figures."""
        key = (trial.seed, *(trial.config[name] for name in self.own))
        if key not in self._starts:
            params, buffers = self._layout.row(self.task.module(trial.seed))
            moments, scalars = self._step.start(params)
            lane = Rows(params, moments, scalars, buffers, torch.tensor(0))
            rows = self.together([lane])
            figures = self._figures(rows, self._own([trial]), alone=True)
            self._starts[key] = lane, {name: float(x[0]) for name, x in figures.items()}
            if len(self._starts) > STARTS:
                self._starts.popitem(last=False)
        return self._starts[key]

    def together(self, lanes: Sequence[Rows]) -> Rows:
        """Lanes of the host as rows."""
        flat = [pytree.tree_leaves(lane) for lane in lanes]
        columns = [torch.stack(column).to(self.device) for column in zip(*flat, strict=True)]
        return pytree.tree_unflatten(columns, pytree.tree_structure(lanes[0]))

    def insert(self, rows: Rows, lane: Rows, i: int) -> Rows:
        """The rows with the i-th replaced, in place."""
        for column, x in zip(pytree.tree_leaves(rows), pytree.tree_leaves(lane), strict=True):
            column[i] = x
        return rows

    def lane(self, rows: Rows, i: int) -> Rows:
        """One of the rows, copied to the host."""
        return pytree.tree_map(lambda x: x[i].to("cpu", copy=True), rows)

    def advance(self, rows: Rows, h: Hyper, windows: np.ndarray, n: int, judge: bool) -> Any:
        """`n` steps of all lanes, then their figures if `judge`."""
        index = torch.from_numpy(windows[:, :n].astype(np.int64)).to(self.device)
        alike = self._alike(h.seeds, rows.count)
        with self._generators_kept():
            for i in range(n):
                batch = pytree.tree_map(lambda x, i=i: x[index[:, i]], self._data["train"])
                params = rows.params.detach().requires_grad_()
                total: Any = 0.0
                for (seed, count), members in alike.items():
                    self._draw_from(seed, count + i)
                    parts = pytree.tree_map(
                        lambda x, members=members: x if members is None else x[members],
                        (params, rows.buffers, batch, h.own),
                    )
                    total = total + self._losses(*parts, self.task.loss, train=True).sum()
                    if members is not None:  # what was selected is a copy
                        for name in self._layout.written:
                            rows.buffers[name][members] = parts[1][name]
                (gradients,) = torch.autograd.grad(total, params)
                with torch.no_grad():
                    rows = self._step(rows._replace(params=params.detach()), gradients, h)
        return rows, self._figures(rows, h.own) if judge else {}

    def _alike(self, seeds: Sequence[int], count: Tensor) -> dict[tuple[int, int], Any]:
        """Lanes that draw the same, by seed and step; None: all of them."""
        if not self.draws:
            return {(0, 0): None}
        found: dict[tuple[int, int], Any] = {}
        for lane, key in enumerate(zip(seeds, count.tolist(), strict=True)):
            found.setdefault(key, []).append(lane)
        return dict.fromkeys(found) if len(found) == 1 else found

    def _generators_kept(self) -> Any:
        """Torch's generators are those of before when this is left."""
        devices = [] if self.device.type == "cpu" else [self.device]
        return torch.random.fork_rng(devices, enabled=self.draws)

    def _draw_from(self, seed: int, step: int) -> None:
        """What is drawn next depends on these two."""
        if self.draws:
            words = np.random.SeedSequence((seed, step)).generate_state(2)
            self._drawn = int(words[0]) << 32 | int(words[1])
            torch.manual_seed(self._drawn)

    def _figures(self, rows: Rows, own: Any, alone: bool = False) -> dict[str, np.ndarray]:
        functions = {"loss": self.task.loss, **self.task.metrics}
        data = self._data["validation"]
        found = {}
        with self._generators_kept():
            for name, function in functions.items():
                found[name] = self._mean(rows, own, function, data, name != "loss", alone)
        return found

    def _mean(
        self, rows: Rows, own: Any, function: Any, data: Any, plain: bool, alone: bool
    ) -> np.ndarray:
        """Mean of a function of (model, batch) over all examples of the data, for each lane."""
        total: Any = 0.0
        with torch.no_grad():
            for number, (part, share) in enumerate(blocks(data, self.task.batch_size)):
                self._draw_from(0, number)
                values = self._losses(
                    rows.params, rows.buffers, part, {} if plain else own, function,
                    train=False, shared=True, alone=alone,
                )  # fmt: skip
                total = total + values.double() * share
        return total.cpu().numpy()

    def _own(self, trials: Sequence[Trial]) -> dict[str, Tensor]:
        return {
            name: torch.tensor([float(t.config[name]) for t in trials], device=self.device)
            for name in self.own
        }

    def _losses(
        self,
        params: Tensor,
        buffers: dict[str, Tensor],
        batch: Any,
        own: dict[str, Tensor],
        function: Callable[..., Tensor],
        *,
        train: bool,
        shared: bool = False,
        alone: bool = False,
    ) -> Tensor:
        """What a function gives for each lane, (lanes,); in training, buffers are written to."""
        skeleton = self._layout.in_mode(train)
        tree = self._layout.parameters(params)
        if not train:
            buffers = self._layout.spared(buffers)

        def one(tree, buffers, batch, own):
            held = {**tree, **buffers}

            def model(*arguments, **keywords):
                # A buffer that the module replaces, and does not write to, is replaced in `held`.
                return functional_call(skeleton, held, arguments, keywords)

            extra = (own,) if own else ()
            value = function(model, batch, *extra)
            return value, {name: held[name].detach() for name in buffers}

        if self.vmapped and not alone:
            axes = (0, 0, None if shared else 0, 0)
            lanes = vmap(one, axes, randomness="same" if self.draws else "error")
            found, after = lanes(tree, buffers, batch, own)
            _write(buffers, after)
            return found
        found = []
        for i in range(len(params)):
            if self.draws:
                torch.manual_seed(self._drawn)
            row = pytree.tree_map(lambda x, i=i: x[i], (tree, buffers, own))
            mine = batch if shared else pytree.tree_map(lambda x, i=i: x[i], batch)
            value, after = one(row[0], row[1], mine, row[2])
            _write(row[1], after)
            found.append(value)
        return torch.stack(found)


def _write(buffers: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    """Write what a module has put in the place of its buffers.

    Raises:
        TypeError: it is of another shape or dtype, so that no row of lanes can hold it.
    """
    with torch.no_grad():
        for name, x in buffers.items():
            new = after[name]
            if (new.shape, new.dtype) != (x.shape, x.dtype):
                raise TypeError(
                    f"buffer {name!r} becomes {new.dtype} of shape {tuple(new.shape)} in a step, "
                    f"from {x.dtype} of shape {tuple(x.shape)}: lanes keep what they began with"
                )
            if new.data_ptr() != x.data_ptr():
                x.copy_(new)


def prepare(task: Any, group: Any, trials: Sequence[Trial], lanes: int) -> Program:
    """A program that works: vmapped, or in turn where a module cannot be vmapped.

    Warns with the reason in the second case.
    """
    if lanes == 1:
        return Program(task, group, lanes, vmapped=False, draws=True)
    made = Program(task, group, lanes, vmapped=True, draws=False)
    try:
        try:
            with torch.random.fork_rng([] if made.device.type == "cpu" else [made.device]):
                seconds(made, trials, 1)
        except RuntimeError as error:
            if "random" not in str(error):
                raise
            made = Program(task, group, lanes, vmapped=True, draws=True)
            seconds(made, trials, 1)
    except Exception as error:
        # What fails under vmap may be the module or vmap; in turn, the module's own errors show.
        warnings.warn(
            f"task {task.name!r} cannot be vmapped ({type(error).__name__}: "
            f"{str(error).splitlines()[0]}): its lanes are computed in turn",
            UserWarning,
            stacklevel=2,
        )
        return Program(task, group, lanes, vmapped=False, draws=True)
    return made


def seconds(program: Program, trials: Sequence[Trial], n: int) -> float:
    """What a step of a lane takes, from `n` of all lanes."""
    some = [trials[i % len(trials)] for i in range(program.width)]
    h = program.hyper(some)
    lane, _ = program.start(some[0])
    rows = program.together([lane] * program.width)
    window = program.batches.window(some[0].seed, 0, n, max(n, 1))
    windows = np.broadcast_to(window, (program.width, *window.shape))
    began = time.perf_counter()
    program.advance(rows, h, windows, n, False)
    return (time.perf_counter() - began) / (n * program.width)


def blocks(data: Any, batch_size: int) -> Iterator[tuple[Any, float]]:
    """Parts of the data that are evaluated at once, and their shares of the examples."""
    n, size = _examples(data), max(AT_ONCE, batch_size)
    for a in range(0, n, size):
        part = pytree.tree_map(lambda x, a=a: x[a : a + size], data)
        yield part, min(size, n - a) / n


def _examples(data: Any) -> int:
    return len(pytree.tree_leaves(data)[0])


def to_device(data: Any, device: torch.device) -> Any:
    """Tensors or NumPy arrays as tensors on a device."""
    return pytree.tree_map(lambda x: torch.as_tensor(x).to(device), data)
