"""Lanes as one compiled program: vmapped, and sharded over devices where there are several."""

from __future__ import annotations

import collections
import functools
import threading
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from .._numerics import x64_enabled
from . import _cache
from ._batches import Batches
from ._execution import Execution
from ._hyper import Group, hyper_of
from ._lane import Data, Lane, Runner
from ._tree import examples
from .trial import Trial

WINDOW = 256  # steps a call makes at most: their batches are indices on the device
STARTS = 16  # seeds whose initial weights are kept on the host


class Program:
    """What is compiled for a task, a group of configurations and a shape of execution.

    Attributes:
        traces: how often its training was traced.
        compile_seconds: what tracing and compiling took.
        bytes_per_lane: memory of arguments, results and temporaries, on the device.
    """

    def __init__(self, task: Any, group: Group, lanes: int, devices: int) -> None:
        if devices > (there := jax.local_device_count()):
            raise ValueError(f"execution wants {devices} devices, but there are {there}")
        self.group = group
        self.width = lanes * devices
        self.length = min(task.segment, WINDOW)
        self.batches = Batches(examples(task.train), task.batch_size)
        self.evaluations = task.evaluations
        self.task_name, self.own = task.name, task.own
        self.traces = 0
        self.compile_seconds = 0.0
        self.bytes_per_lane = 0
        self._data = Data(task.train, task.validation)
        self._runner = Runner(task, group)
        self._lanes, self._devices = lanes, devices
        self._lock = threading.Lock()
        self._compiled: Any = None
        self._begin = jax.jit(self._runner.start)
        self._starts: collections.OrderedDict[Any, Any] = collections.OrderedDict()

    def hyper(self, trials: Sequence[Trial]) -> Any:
        """Hyperparameters of `width` lanes."""
        return hyper_of([t.config for t in trials], [t.of for t in trials], self.own)

    def start(self, trial: Trial) -> tuple[Lane, dict[str, float]]:
        """A lane before its first step, on the host, and its figures."""
        key = (trial.seed, *(trial.config[name] for name in self.own))
        with self._lock:
            if key not in self._starts:
                # Without own hyperparameters, every lane of a seed starts with these arrays.
                own = {name: np.float32(trial.config[name]) for name in self.own}
                with _cache.active():
                    made = self._begin(np.int32(trial.seed), own, self._data.validation)
                lane, figures = jax.device_get(made)
                self._starts[key] = lane, {name: float(x) for name, x in figures.items()}
                if len(self._starts) > STARTS:
                    self._starts.popitem(last=False)
            return self._starts[key]

    def compile(self, trial: Trial) -> None:
        """Compile, once, from the shapes of a trial of the group."""
        lane, _ = self.start(trial)
        with self._lock:
            if self._compiled is not None:
                return
            began = time.perf_counter()
            split, shared = self._shardings()
            self._data = jax.device_put(self._data, shared)

            def wide(x):
                return jax.ShapeDtypeStruct((self.width, *x.shape), x.dtype, sharding=split)

            lanes = jax.tree.map(wide, lane)
            h = self.hyper([trial] * self.width)
            windows = np.zeros((self.width, self.length, self.batches.size), np.int32)
            scalars = (np.int32(1), np.bool_(True))
            with _cache.active():
                advance = jax.jit(self._advance, donate_argnums=0)
                advance = advance.lower(lanes, h, windows, *scalars, self._data).compile()
            insert = jax.jit(_insert, donate_argnums=0, out_shardings=split)
            self._compiled = (advance, insert)
            self._split = split
            self.bytes_per_lane = _bytes(advance) // self._lanes
            self.compile_seconds = time.perf_counter() - began

    def together(self, lanes: Sequence[Lane]) -> Lane:
        """Lanes of the host as lanes of the program."""
        return jax.device_put(jax.tree.map(lambda *x: np.stack(x), *lanes), self._split)

    def insert(self, lanes: Lane, lane: Lane, i: int) -> Lane:
        """The lanes with the i-th replaced; those given are used up."""
        return self._compiled[1](lanes, lane, np.int32(i))

    def lane(self, lanes: Lane, i: int) -> Lane:
        """One of the lanes, copied to the host."""
        return jax.tree.map(lambda x: np.asarray(x[i]), lanes)

    def advance(self, lanes: Lane, h: Any, windows: np.ndarray, n: int, judge: bool) -> Any:
        """`n` steps of all lanes and their figures; the lanes given are used up."""
        return self._compiled[0](lanes, h, windows, np.int32(n), np.bool_(judge), self._data)

    def _advance(self, lanes, h, windows, n, judge, data):
        self.traces += 1
        axes = (0, 0, 0, None, None, None)
        function = self._runner.advance
        local = _alone(function, axes) if self._lanes == 1 else jax.vmap(function, axes)
        if self._devices > 1:
            split, shared = PartitionSpec("lanes"), PartitionSpec()
            specs = tuple(shared if axis is None else split for axis in axes)
            local = jax.shard_map(
                local, mesh=self._mesh(), in_specs=specs, out_specs=split, check_vma=False
            )
        return local(lanes, h, windows, n, judge, data)

    def _mesh(self):
        return Mesh(np.array(jax.local_devices()[: self._devices]), ("lanes",))

    def _shardings(self):
        if self._devices == 1:
            device = SingleDeviceSharding(jax.local_devices()[0])
            return device, device
        mesh = self._mesh()
        return NamedSharding(mesh, PartitionSpec("lanes")), NamedSharding(mesh, PartitionSpec())


def _alone(function, axes):
    """A batch of one without batching: a vmapped convolution is another, slower one."""

    @functools.wraps(function)
    def local(*arguments):
        one = [
            jax.tree.map(lambda x: x[0], a) if axis == 0 else a
            for a, axis in zip(arguments, axes, strict=True)
        ]
        return jax.tree.map(lambda x: x[None], function(*one))

    return local


def _insert(lanes, lane, i):
    return jax.tree.map(lambda a, b: a.at[i].set(b), lanes, lane)


def _bytes(compiled):
    memory = compiled.memory_analysis()
    if memory is None:
        return 0
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes
    )


_PROGRAMS_LOCK = threading.Lock()


def program(task: Any, group: Group, execution: Execution) -> Program:
    """The program of a task, kept as long as the task lives."""
    key = (group, execution.lanes, execution.devices, x64_enabled())
    with _PROGRAMS_LOCK:
        if key not in task.programs:
            task.programs[key] = Program(task, group, execution.lanes, execution.devices)
        return task.programs[key]


def traces(task: Any) -> dict[tuple[Group, int], int]:
    """How often training was traced for a task: (group, width of the program) -> times."""
    counted: collections.Counter[tuple[Group, int]] = collections.Counter()
    for made in task.programs.values():
        if isinstance(made, Program) and made.traces:
            counted[made.group, made.width] += made.traces
    return dict(counted)
