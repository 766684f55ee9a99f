"""Classes of the algorithms that torch.optim has not, made of their rows of the core's table.

They have torch's manners: `betas` holds the decay rates in the order of their numbers, the other
hyperparameters have their own names, and state is made at the first gradient, under the keys of
`torch_state`. As on the JAX side, the learning rate has no default.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import _get_scalar_dtype

from functional_adam import ALGORITHMS, Algorithm
from functional_adam._check import number

from .few_bits import _storage
from .optimizers import _RuleStep

_KEYWORDS: dict[str, Any] = dict(
    foreach=None,
    maximize=False,
    capturable=False,
    differentiable=False,
    fused=None,
    engine="auto",
    moments=None,
    master_bits=None,
    seed=0,
)
_OURS = ("fused", "engine", *_storage.OPTIONS)


class Made(_RuleStep):
    """What these classes share; `row` tells them apart."""

    row: Algorithm

    def __init__(self, params: Any, *args: Any, **options: Any) -> None:
        bound = self.__signature__.bind(params, *args, **options)
        bound.apply_defaults()
        given = dict(bound.arguments)
        own = {name: given.pop(name) for name in _OURS}
        torch.optim.Optimizer.__init__(self, given.pop("params"), given)
        _check(self.row, given)
        asked = own["moments"], own["master_bits"], own["seed"]
        self._set_up(own["engine"], *asked, own["fused"])

    __signature__: inspect.Signature

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's; the numbers of the group are checked."""
        _check(self.row, {**self.defaults, **param_group})
        super().add_param_group(param_group)

    def _init_group(self, group: dict[str, Any], *lists: list[Any]) -> None:
        """Fill the lists as torch's own code does: parameters, gradients, state, steps."""
        for p in group["params"]:
            if p.grad is None:
                continue
            if p.grad.is_sparse:
                raise RuntimeError(f"{type(self).__name__} does not support sparse gradients")
            state = self.state[p]
            if len(state) == 0:
                self._start(state, p, p.device if group["capturable"] else torch.device("cpu"))
            keys = self.row.torch_state
            own = [p, p.grad, *(state[keys[field]] for field in self.fields), state["step"]]
            for column, value in zip(lists, own, strict=True):
                column.append(value)

    def _start(self, state: dict[str, Any], p: Tensor, device: torch.device) -> None:
        rule, keys = self.row.rule, self.row.torch_state
        state["step"] = torch.zeros((), dtype=_get_scalar_dtype(), device=device)
        for field, value in rule.scalars:
            state[keys[field]] = torch.full((), value, dtype=_get_scalar_dtype(), device=device)
        for field in rule.moments:
            state[keys[field]] = torch.zeros_like(p, memory_format=torch.preserve_format)


def _check(row: Algorithm, group: dict[str, Any]) -> None:
    """Raise where a number of a group is out of range."""
    betas = group["betas"]
    if not isinstance(betas, tuple | list) or len(betas) != len(row.averages):
        raise ValueError(
            f"betas of {row.torch_class} must be {len(row.averages)} numbers "
            f"({', '.join(row.averages)}), got {betas!r}"
        )
    others = (name for name in row.hyperparameters if name in group)
    values = dict(zip(row.averages, betas, strict=True)) | {name: group[name] for name in others}
    for name, value in {**values, "learning_rate": group["lr"]}.items():
        if isinstance(value, Tensor):
            if value.numel() != 1:
                raise ValueError(f"{name} must be one number, got a tensor of {value.numel()}")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} must be a number, got {value!r}")
        else:
            number(name, value)


def _signature(row: Algorithm) -> inspect.Signature:
    defaults = row.defaults
    betas = tuple(defaults[name] for name in row.averages)
    others = [name for name in defaults if name not in (*row.averages, "weight_decay")]
    plain = dict(betas=betas, **{name: defaults[name] for name in (*others, "weight_decay")})
    kind = inspect.Parameter
    return inspect.Signature(
        [
            kind("params", kind.POSITIONAL_OR_KEYWORD),
            kind("lr", kind.POSITIONAL_OR_KEYWORD),
            *(kind(n, kind.POSITIONAL_OR_KEYWORD, default=x) for n, x in plain.items()),
            *(kind(n, kind.KEYWORD_ONLY, default=x) for n, x in _KEYWORDS.items()),
        ]
    )


def _class_of(row: Algorithm) -> type[Made]:
    text = (
        f"`functional_adam.{row.name}` as a torch optimizer; arguments as there, under torch's "
        f"names.\n\n    `betas` is ({', '.join(row.averages)}), `lr` has no default, and the state "
        f"of a parameter holds\n    {', '.join(row.torch_state.values())}. The other arguments are "
        "as in `functional_adam_torch.optimizers`,\n    `fused` as in `NAdam`.\n\n"
        f"    Reference: {row.paper}.\n    "
    )
    own = dict(
        __doc__=text,
        __module__=__package__,  # where it is found by its name, by pickle too
        __signature__=_signature(row),
        row=row,
        coupled=row.name,
        fields=tuple(row.torch_state),
    )
    return type(row.torch_class, (Made,), own)


CLASSES: dict[str, type[Made]] = {
    row.torch_class: _class_of(row) for row in ALGORITHMS.values() if row.torch_twin is None
}
"""Class by its name."""
