"""The classes: torch.optim's constructors, options and state, with the core's arithmetic.

Each is a subclass of its namesake, so signature, defaults, checks, param groups, hooks and
state_dicts are torch's own; only `step` is replaced. What is added are these keywords:

    engine: where the arithmetic happens. The rule, and the state, are the same in all of them, and
        it may be changed at any time (`optimizer.engine = "flat"`).

        - "auto" (default): `torch.optim`'s numbers, bit for bit, by torch's own choice: lists of
          tensors on an accelerator, a loop on the CPU, where small tensors are stepped together;
          `foreach` and `fused` choose as in torch.
        - "single", "foreach": torch's loops, bit for bit.
        - "compile": one Inductor kernel called for each tensor: the fastest for large ones. Numbers
          as near to torch's as its fused kernel's, half precision in float32 inside.
        - "flat": the same kernel, called once: parameters, gradients and state become views of
          shared buffers. The fastest for many small tensors; `p.data` and `p.grad` are replaced.
        - "jax": XLA on the CPU, for parity.

        If compiling fails, "compile" and "flat" use torch's own operations, after one warning. A
        checkpoint does not say which engine made it. What is stepped together has its state moved
        side by side, out of a buffer that it was a view of, but not out of memory that processes
        share (`share_memory_`).
    moments: how moments are stored: "float32", "bfloat16" or "int8", as `functional_adam.adam`'s of
        that name; None (default): in the parameter's dtype, as torch.
    master_bits: 32, 24 or 16: a float32 weight behind each bfloat16 or float16 parameter, of which
        so many bits are kept, as `functional_adam.with_master`'s `bits`; None (default): none.
    seed: of the random rounding of both, in [0, 2**32).

Options are torch's otherwise. With `differentiable=True`, which computes out of place, the numbers
and derivatives are torch's up to rounding.

Options of storage may differ between groups; they need the engine "auto", "single" or "compile".
Their state is described in `_storage`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam as TorchAdam  # ours may be put in the place of torch.optim's
from torch.optim import Adamax as TorchAdamax
from torch.optim import AdamW as TorchAdamW
from torch.optim import NAdam as TorchNAdam
from torch.optim import RAdam as TorchRAdam
from torch.optim.optimizer import _use_grad_for_differentiable

from functional_adam import ALGORITHMS, Algorithm

from .engines import _collect, _engines, _fused, _step
from .few_bits import _storage, _stored_group, _stored_state

Betas = tuple[float | Tensor, float | Tensor]


class _RuleStep(torch.optim.Optimizer):
    """Replaces the arithmetic of a torch optimizer by a rule of functional_adam."""

    coupled: str
    decoupled: str | None = None
    fields: tuple[str, ...] = ("mu", "nu")  # between gradients and steps in torch's _init_group
    decays_complex = False  # torch adds L2 decay to the two real parts of a complex gradient
    fuses = False  # torch has a fused kernel
    foreach_rate = "value"  # what torch's foreach loop takes of a tensor rate

    @property
    def engine(self) -> str:
        """Where the arithmetic happens: "auto", "single", "foreach", "compile", "flat" or "jax"."""
        return self.__dict__.get("_engine", "auto")

    @engine.setter
    def engine(self, name: str) -> None:
        group = self.defaults
        engine = _engines.check(
            name,
            foreach=group["foreach"],
            fused=group.get("fused"),
            capturable=group["capturable"],
            differentiable=group["differentiable"],
        )
        for group in self.param_groups:
            _storage.check_group(group, engine)
        self._engine = engine

    def _set_up(
        self,
        name: str,
        moments: str | None,
        master_bits: int | None,
        seed: int,
        fused: bool | None = None,
    ) -> None:
        """Take what is ours at construction; `fused` is that of classes torch has no kernel for."""
        if moments is not None or master_bits is not None or seed != 0:
            if fused:
                raise ValueError("fused=True does not go together with moments and master_bits")
            self.defaults |= dict(moments=moments, master_bits=master_bits, seed=seed)
            for group in self.param_groups:
                _storage.complete(group, self.defaults)
        if fused:
            if self.defaults["differentiable"]:
                raise RuntimeError("`fused` does not support `differentiable`")
            if self.defaults["foreach"]:
                raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
            if name not in ("auto", "compile"):
                raise ValueError(f"fused=True contradicts engine={name!r}: leave one of them out")
            name = "compile"
            self._step_supports_amp_scaling = True
        self.engine = name

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's; a group may have `moments`, `master_bits` and `seed` of its own."""
        super().add_param_group(param_group)
        try:
            _storage.check_group(self.param_groups[-1], self.engine)
        except (TypeError, ValueError):
            self.param_groups.pop()
            raise

    @_use_grad_for_differentiable
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore
        """Take one step and return the closure's loss, if one is given.

        Args:
            closure: re-evaluates the model and returns the loss; run with gradients enabled.

        Raises:
            RuntimeError: sparse gradients, or options that do not go together.
        """
        self._accelerator_graph_capture_health_check()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        before = 0
        for number, group in enumerate(self.param_groups):
            self._step_group(number, group, before)
            before += len(group["params"])
        return loss

    def _step_group(self, number: int, group: dict[str, Any], before: int) -> None:
        engine, algorithm = self.engine, self._algorithm(group)
        storage = _storage.storage_of(group)
        if storage is not None:
            _storage.check_group(group, engine)
            engines = self._engines()
            for members in _stored_group.members_in_turn(self, group):
                _stored_group.step(self, group, members, storage, algorithm, before, engines)
            return None
        fused = self.fuses and engine == "auto" and group["fused"]
        on_tensors = torch.compiler.is_compiling() or group["differentiable"] or group["capturable"]
        columns = None
        if not fused and not on_tensors:
            keys = algorithm.torch_state
            columns = _collect.complete(self.state, group["params"], before, keys)
        if columns is None:
            lists = [[] for _ in range(len(self.fields) + 3)]
            self._init_group(group, *lists)  # pyright: ignore[reportAttributeAccessIssue]
            if not lists[0]:
                return
            if fused:
                return _fused.step_adam(self, group, lists)
            columns = dict(zip(("params", "grads", *self.fields, "steps"), lists, strict=True))
        batch = _step.batch_of(algorithm, group, columns, self.decays_complex)
        foreach = engine == "foreach" or bool(group["foreach"])
        if torch.compiler.is_compiling():
            return _step.step_by_tensors(batch)
        if group["differentiable"]:
            return _step.step_by_autograd(batch, foreach)
        if group["capturable"]:
            _step.check_capturable(batch, foreach)
            return _step.step_by_tensors(batch)
        if not _fused.unscale(self, batch.grads):
            return
        engine = _step.chosen(engine, group, batch.params)
        if engine == "foreach":
            batch = _step.with_foreach_rate(batch, self.foreach_rate)
        self._engines().step(engine, batch, number, self.param_groups)

    def _algorithm(self, group: dict[str, Any]) -> Algorithm:
        if self.decoupled is not None and group["decoupled_weight_decay"]:
            return ALGORITHMS[self.decoupled]
        return ALGORITHMS[self.coupled]

    def _engines(self) -> _engines.Engines:
        if "_memory" not in self.__dict__:
            self._memory = _engines.Engines()
        return self._memory

    def state_dict(self) -> dict[str, Any]:
        """As torch's: the state by parameter, each tensor with memory of its own."""
        self._engines().release(self.state)
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's; what is stored in few bits stays as it is, floats are stored as asked for."""
        with _stored_state.stored(self):
            super().load_state_dict(state_dict)

    def decoded_state_dict(self) -> dict[str, Any]:
        """A state_dict for torch.optim's class of this name: moments in float32, no more options.

        Meant for an optimizer of the float32 weights that `master_params` returns: torch casts
        moments to the dtype of the parameters.
        """
        return _stored_state.decoded_state_dict(self)

    @torch.no_grad()
    def master_params(self) -> list[Tensor]:
        """Copies of the parameters, in the order of the groups: float32 where they are halves."""
        return _stored_state.master_params(self)

    @torch.no_grad()
    def load_master_params(self, values: Iterable[Tensor]) -> None:
        """Set the parameters to such values: each to the nearest, the rest kept beside it.

        Args:
            values: tensors in the order of the groups, of the parameters' shapes.

        Raises:
            ValueError: another number of tensors, or another shape.
        """
        _stored_state.load_master_params(self, list(values))

    def __getstate__(self) -> dict[str, Any]:
        self._engines().release(self.state)
        return {**super().__getstate__(), "_engine": self.engine}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.pop("_memory", None)
        super().__setstate__(state)


class Adam(_RuleStep, TorchAdam):
    """`torch.optim.Adam`, and AMSGrad with `amsgrad=True`, by `functional_adam`'s rules.

    Arguments and errors are torch's; the others as in this module.

    Examples:
        >>> p = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = ft.Adam([p], lr=0.5)
        >>> p.sum().backward()
        >>> optimizer.step()
        >>> p.data
        tensor([0.5000, 0.5000])
    """

    coupled: str = "adam"
    decoupled: str | None = "adamw"
    fields: tuple[str, ...] = ("mu", "nu", "nu_max")
    decays_complex = True
    fuses = True
    foreach_rate = "refused"

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
        engine: str = "auto",
        moments: str | None = None,
        master_bits: int | None = None,
        seed: int = 0,
    ) -> None:
        TorchAdam.__init__(
            self, params, lr, betas, eps, weight_decay, amsgrad,
            foreach=foreach, maximize=maximize, capturable=capturable,
            differentiable=differentiable, fused=fused,
            decoupled_weight_decay=decoupled_weight_decay,
        )  # fmt: skip
        self._set_up(engine, moments, master_bits, seed)

    def _algorithm(self, group: dict[str, Any]) -> Algorithm:
        if not group["amsgrad"]:
            return super()._algorithm(group)
        return ALGORITHMS["amsgradw" if group["decoupled_weight_decay"] else "amsgrad"]


class AdamW(Adam, TorchAdamW):
    """`torch.optim.AdamW` by `functional_adam`'s rules.

    Arguments and errors are torch's; the others as in this module.

    Examples:
        >>> p = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = ft.AdamW([p], lr=0.5, weight_decay=0.5)
        >>> p.sum().backward()
        >>> optimizer.step()
        >>> p.data
        tensor([0.2500, 0.2500])
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        engine: str = "auto",
        moments: str | None = None,
        master_bits: int | None = None,
        seed: int = 0,
    ) -> None:
        TorchAdamW.__init__(
            self, params, lr, betas, eps, weight_decay, amsgrad,
            maximize=maximize, foreach=foreach, capturable=capturable,
            differentiable=differentiable, fused=fused,
        )  # fmt: skip
        self._set_up(engine, moments, master_bits, seed)


class NAdam(_RuleStep, TorchNAdam):
    """`torch.optim.NAdam` by `functional_adam`'s rules.

    Arguments and errors are torch's; the others as in this module. torch has no kernel for it:
    `fused=True` is `engine="compile"`, with the loss scaling of GradScaler inside the step.

    Examples:
        >>> p = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = ft.NAdam([p], lr=0.5, weight_decay=0.5, decoupled_weight_decay=True)
        >>> p.grad = torch.zeros(2)
        >>> optimizer.step()
        >>> p.data
        tensor([0.7500, 0.7500])
    """

    coupled: str = "nadam"
    decoupled: str | None = "nadamw"
    fields: tuple[str, ...] = ("mu", "nu", "mu_product")

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        engine: str = "auto",
        moments: str | None = None,
        master_bits: int | None = None,
        seed: int = 0,
    ) -> None:
        TorchNAdam.__init__(
            self, params, lr, betas, eps, weight_decay, momentum_decay, decoupled_weight_decay,
            foreach=foreach, maximize=maximize, capturable=capturable,
            differentiable=differentiable,
        )  # fmt: skip
        self._set_up(engine, moments, master_bits, seed, fused)


class RAdam(_RuleStep, TorchRAdam):
    """`torch.optim.RAdam` by `functional_adam`'s rules.

    Arguments and errors are torch's; the others as in this module, `fused` as in `NAdam`.

    Examples:
        >>> p = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = ft.RAdam([p], lr=0.5)
        >>> p.sum().backward()
        >>> optimizer.step()
        >>> p.data  # not yet rectified: the gradient itself
        tensor([0.5000, 0.5000])
    """

    coupled: str = "radam"
    decoupled: str | None = "radamw"
    foreach_rate = "tensor"

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        engine: str = "auto",
        moments: str | None = None,
        master_bits: int | None = None,
        seed: int = 0,
    ) -> None:
        TorchRAdam.__init__(
            self, params, lr, betas, eps, weight_decay, decoupled_weight_decay,
            foreach=foreach, maximize=maximize, capturable=capturable,
            differentiable=differentiable,
        )  # fmt: skip
        self._set_up(engine, moments, master_bits, seed, fused)


class Adamax(_RuleStep, TorchAdamax):
    """`torch.optim.Adamax` by `functional_adam`'s rules.

    Arguments and errors are torch's; the others as in this module, `fused` as in `NAdam`.

    Examples:
        >>> p = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = ft.Adamax([p], lr=0.5)
        >>> p.sum().backward()
        >>> optimizer.step()
        >>> p.data
        tensor([0.5000, 0.5000])
    """

    coupled: str = "adamax"
    decays_complex = True

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
        fused: bool | None = None,
        engine: str = "auto",
        moments: str | None = None,
        master_bits: int | None = None,
        seed: int = 0,
    ) -> None:
        TorchAdamax.__init__(
            self, params, lr, betas, eps, weight_decay, foreach,
            maximize=maximize, differentiable=differentiable, capturable=capturable,
        )  # fmt: skip
        self._set_up(engine, moments, master_bits, seed, fused)
