"""How a population is trained: how many lanes in a program, on how many devices, side by side."""

from __future__ import annotations

import dataclasses

from ._dimension import plain


@dataclasses.dataclass(frozen=True)
class Execution:
    """How a population is trained; the same one gives the same bits again.

    ``Execution()`` trains one after another. More lanes than trials are idle but computed; a lane
    that ends early is given the next trial.

    Attributes:
        lanes: trainings vmapped into one program, on each device.
        devices: devices a program is sharded over, by `shard_map`.
        workers: programs that run beside each other, each in a thread of its own: what a CPU with
            several cores gains from.
    """

    lanes: int = 1
    devices: int = 1
    workers: int = 1

    def __post_init__(self) -> None:
        for name, given in dataclasses.asdict(self).items():
            value = plain(given)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} of an Execution must be an integer >= 1, got {value!r}")
            object.__setattr__(self, name, value)

    @property
    def width(self) -> int:
        """Trainings in one program."""
        return self.lanes * self.devices

    @property
    def at_once(self) -> int:
        """Trainings under way at one time."""
        return self.width * self.workers
