"""Many copies of one torch module as rows of one matrix, and a step of a rule on all of them.

Hyperparameters are columns, one number for each row; the arithmetic is the core's rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from functional_adam import ALGORITHMS
from functional_adam._leaf import shrink_of

from ..engines._formula import Formula
from ..primitives import _rows


class Rows(NamedTuple):
    """Trainings under way; or one of them, on the host, without the first axis."""

    params: Any  # float (lanes, parameters)
    moments: Any  # of the rule, each like params
    scalars: Any  # of the rule, name -> float64 (lanes,)
    buffers: Any  # name -> (lanes, ...)
    count: Any  # int64 (lanes,), steps made


class Layout:
    """Where each trained parameter of a module lies in a row.

    Attributes:
        skeleton: module whose parameters and buffers are put in by `functional_call`.
        trained: names of the parameters in the row.
        written: names of the buffers, which a forward pass may write to.
        dtype: of the row: float32, or float64 for such a module.
    """

    def __init__(self, module: nn.Module) -> None:
        self.skeleton = module
        self.written = {name for name, _ in module.named_buffers()}
        self._evaluating = [part for part in module.modules() if not part.training]
        parameters = dict(module.named_parameters())
        self.trained = [name for name, p in parameters.items() if p.requires_grad]
        if not self.trained:
            raise ValueError(f"{type(module).__name__} has no parameter that requires a gradient")
        for name in self.trained:
            if not parameters[name].is_floating_point():
                raise TypeError(
                    f"parameter {name!r} has dtype {parameters[name].dtype}: lanes are trained in "
                    "real floating dtypes"
                )
        self._like = [parameters[name] for name in self.trained]
        self._sizes = [p.numel() for p in self._like]
        wide = any(p.dtype == torch.float64 for p in self._like)
        self.dtype = torch.float64 if wide else torch.float32

    def row(self, module: nn.Module) -> tuple[Tensor, dict[str, Tensor]]:
        """The parameters of a module as a row, and everything else it is made of."""
        parameters = dict(module.named_parameters())
        flat = [parameters[name].detach().to(self.dtype).reshape(-1) for name in self.trained]
        frozen = [(name, p) for name, p in parameters.items() if name not in self.trained]
        others = dict([*frozen, *module.named_buffers()])
        return torch.cat(flat).cpu(), {k: x.detach().cpu() for k, x in others.items()}

    def in_mode(self, training: bool) -> nn.Module:
        """The skeleton in training or not; what `make` has put in `eval` stays there."""
        self.skeleton.train(training)
        for part in self._evaluating:
            part.training = False
        return self.skeleton

    def spared(self, buffers: dict[str, Tensor]) -> dict[str, Tensor]:
        """Buffers that may be written to; frozen parameters, which nothing writes to, as they are.

        An evaluation leaves no trace in a training.
        """
        return {name: x.clone() if name in self.written else x for name, x in buffers.items()}

    def parameters(self, rows: Tensor) -> dict[str, Tensor]:
        """The parameters, (lanes, ...) each, that autograd follows back to the rows."""
        parts = rows.split(self._sizes, dim=-1)
        return {
            name: part.reshape((*rows.shape[:-1], *p.shape)).to(p.dtype)
            for name, part, p in zip(self.trained, parts, self._like, strict=True)
        }


class Hyper(NamedTuple):
    """Hyperparameters of lanes."""

    rates: Tensor  # float64 (lanes, longest run), learning rate of each step
    numbers: dict[str, Tensor]  # name -> float64 (lanes,), without the learning rate
    amsgrad: Tensor  # bool (lanes, 1)
    own: dict[str, Tensor]  # name -> float32 (lanes,), what the task's loss is given
    seeds: tuple[int, ...]  # of the trials


def hyper(
    rows: Sequence[Mapping[str, Any]],
    rates: Sequence[np.ndarray],
    names: Sequence[str],
    own: Sequence[str],
    device: torch.device,
    seeds: Sequence[int],
) -> Hyper:
    """Columns of these configurations, with all defaults filled in, and their schedules."""

    def column(name: str, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.tensor([float(row[name]) for row in rows], dtype=dtype, device=device)

    table = np.zeros((len(rows), max(map(len, rates))))
    for line, values in zip(table, rates, strict=True):
        line[: len(values)] = values
    flags = [[bool(row.get("amsgrad", False))] for row in rows]
    return Hyper(
        torch.tensor(table, device=device),
        {name: column(name) for name in names},
        torch.tensor(flags, device=device),
        {name: column(name, torch.float32) for name in own},
        tuple(seeds),
    )


class Stepper:
    """A rule's step on all rows."""

    def __init__(self, algorithm: str, selects: bool) -> None:
        row = ALGORITHMS[algorithm]
        self.rule = row.rule
        self._formula = Formula(row, row.decay, False)
        self._selects = selects

    def start(self, params: Tensor) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Moments and scalars of a row before its first step."""
        moments = tuple(torch.zeros_like(params) for _ in self.rule.moments)
        scalars = {name: torch.tensor(x, dtype=torch.float64) for name, x in self.rule.scalars}
        return moments, scalars

    def __call__(self, rows: Rows, gradients: Tensor, h: Hyper) -> Rows:
        """The rows after one step; parameters and moments are written to."""
        lanes = torch.arange(len(rows.count), device=rows.params.device)
        rate = h.rates[lanes, rows.count.clamp(max=h.rates.shape[1] - 1)]
        values = SimpleNamespace(learning_rate=rate, **h.numbers)
        k = self.rule.coefficients((rows.count + 1).double(), values, rows.scalars)
        shrink = shrink_of(values, self._formula.decay)
        moments = list(rows.moments)
        if self._selects:
            # With a maximum so far of zero, AMSGrad's step is Adam's.
            at = self.rule.moments.index("nu_max")
            moments[at] = torch.where(h.amsgrad, moments[at], 0.0)
        dtype = rows.params.dtype
        wide = type(k)(*(self._column(x, dtype) for x in k))
        new, *moments = self._formula(
            _rows, rows.params, gradients, moments, wide, self._column(shrink, dtype)
        )
        scalars = {name: getattr(k, name) for name in rows.scalars}
        return Rows(new, tuple(moments), scalars, rows.buffers, rows.count + 1)

    def _column(self, x: Any, dtype: torch.dtype) -> Any:
        if not isinstance(x, Tensor):
            return x
        return x[:, None] if x.dtype == torch.bool else x.to(dtype)[:, None]


def module_of(module: nn.Module, lane: Rows) -> nn.Module:
    """The module with the parameters and buffers of one training, given as on the host."""
    values = Layout(module).parameters(lane.params)
    values.update(lane.buffers)
    with torch.no_grad():
        for name, target in (*module.named_parameters(), *module.named_buffers()):
            target.copy_(values[name])
    return module
