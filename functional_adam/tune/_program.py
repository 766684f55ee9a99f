"""Lanes as compiled programs: vmapped, and sharded over devices where there are several."""

from __future__ import annotations

import collections
import dataclasses
import functools
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ._batches import Batches
from ._hyper import Group, hyper_of
from ._lane import Data, Runner
from ._tree import examples
from .trial import Trial

_WINDOW = 256  # steps a call makes at most: their batches are indices on the device


@dataclasses.dataclass(frozen=True)
class Execution:
    """How a population is trained; the same one gives the same bits again.

    Attributes:
        lanes: trainings vmapped into one program, on each device.
        devices: devices a program is sharded over.
        workers: programs that run beside each other, each in a thread of its own.
    """

    lanes: int = 1
    devices: int = 1
    workers: int = 1

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} of an Execution must be an integer >= 1, got {value!r}")

    @property
    def width(self) -> int:
        """Trainings in one program."""
        return self.lanes * self.devices

    @property
    def at_once(self) -> int:
        """Trainings under way at one time."""
        return self.width * self.workers


class Program:
    """The two compiled functions of a task, a group and a shape of execution.

    Attributes:
        traces: how often each of them was traced.
        compile_seconds: what tracing and compiling took.
    """

    def __init__(self, task: Any, group: Group, lanes: int, devices: int):
        self.task, self.group = task, group
        self.width = lanes * devices
        self.length = min(task.segment, _WINDOW)
        self.batches = Batches(examples(task.train), task.batch_size)
        self.traces: collections.Counter[str] = collections.Counter()
        self.compile_seconds = 0.0
        self._runner = Runner(task, group)
        self._lanes, self._devices = lanes, devices
        self._lock = threading.Lock()
        self._compiled: Any = None
        self._data: Any = None

    def hyper(self, trials: Sequence[Trial]) -> Any:
        """Hyperparameters of `width` lanes."""
        configs, ofs = [t.config for t in trials], [t.of for t in trials]
        return hyper_of(configs, ofs, self.task.own)

    def compile(self, trial: Trial) -> None:
        """Compile, once, from the shapes of a trial of the group."""
        with self._lock:
            if self._compiled is not None:
                return
            began = time.perf_counter()
            lane, shared = self._shardings()
            task = self.task
            self._data = jax.device_put(Data(task.train, task.validation), shared)
            start, advance = self._functions()
            h = self.hyper([trial] * self.width)
            seeds = np.zeros(self.width, np.int32)
            starting = jax.jit(start).lower(seeds, h, self._data).compile()
            lanes, _ = jax.eval_shape(start, seeds, h, self._data)
            self.traces["start"] -= 1
            lanes = jax.tree.map(
                lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=lane), lanes
            )
            windows = np.zeros((self.width, self.length, task.batch_size), np.int32)
            n, judge = np.int32(1), np.bool_(True)
            advancing = jax.jit(advance, donate_argnums=0)
            advancing = advancing.lower(lanes, h, windows, n, judge, self._data).compile()
            self._compiled = (starting, advancing, jax.jit(_chosen))
            self.compile_seconds = time.perf_counter() - began

    def start(self, seeds: np.ndarray, h: Any) -> Any:
        """Lanes before their first step and their figures."""
        return self._compiled[0](seeds, h, self._data)

    def advance(self, lanes: Any, h: Any, windows: np.ndarray, n: int, judge: bool) -> Any:
        """`n` steps of all lanes and their figures; the lanes given are used up."""
        return self._compiled[1](lanes, h, windows, np.int32(n), np.bool_(judge), self._data)

    def chosen(self, mask: np.ndarray, new: Any, old: Any) -> Any:
        """Lanes of `new` where the mask is true, else of `old`."""
        return self._compiled[2](mask, new, old)

    def _functions(self):
        def start(seeds, h, data):
            self.traces["start"] += 1
            return self._over(self._runner.start, (0, 0, None))(seeds, h, data)

        def advance(lanes, h, windows, n, judge, data):
            self.traces["advance"] += 1
            axes = (0, 0, 0, None, None, None)
            return self._over(self._runner.advance, axes)(lanes, h, windows, n, judge, data)

        return start, advance

    def _over(self, function, axes):
        """One lane's function over the lanes: alone, vmapped, sharded."""
        local = _alone(function, axes) if self._lanes == 1 else jax.vmap(function, axes)
        if self._devices == 1:
            return local
        specs = tuple(PartitionSpec("lanes") if a == 0 else PartitionSpec() for a in axes)
        return jax.shard_map(
            local, mesh=self._mesh(), in_specs=specs, out_specs=PartitionSpec("lanes")
        )

    def _mesh(self):
        return Mesh(np.array(jax.local_devices()[: self._devices]), ("lanes",))

    def _shardings(self):
        if self._devices == 1:
            device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
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


def _chosen(mask, new, old):
    def one(a, b):
        return jnp.where(mask.reshape(-1, *(1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(one, new, old)


_PROGRAMS: weakref.WeakKeyDictionary[Any, dict[Any, Program]] = weakref.WeakKeyDictionary()
_PROGRAMS_LOCK = threading.Lock()


def program(task: Any, group: Group, execution: Execution) -> Program:
    """The program of a task, kept as long as the task lives."""
    key = (group, execution.lanes, execution.devices, bool(jax.config.read("jax_enable_x64")))
    with _PROGRAMS_LOCK:
        made = _PROGRAMS.setdefault(task, {})
        if key not in made:
            made[key] = Program(task, group, execution.lanes, execution.devices)
        return made[key]


def programs(task: Any) -> list[Program]:
    """What has been compiled for a task so far."""
    return [p for p in _PROGRAMS.get(task, {}).values() if p.traces]
