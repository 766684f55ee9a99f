"""Classes with one deliberate fault each, to show that the contract of `contract` notices them.

PyTorch's own suite compares a class with itself and lets the first five pass. Every fault is an
`Adam` inside a class that names it, so that names, messages and pickles are those of a drop-in.
"""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

import functional_adam_torch as ft

# Hooks are added to a class when the first of it is made; the faults keep those of their base.
ft.Adam([torch.nn.Parameter(torch.zeros(1))])


class _Around(ft.Adam):
    """Adam with something done before and after each step."""

    @functools.wraps(ft.Adam.step)
    def step(self, *args, **kwargs):
        with self.around():
            return super().step(*args, **kwargs)

    def around(self) -> AbstractContextManager[None]:
        return nullcontext()

    def parameters(self) -> list[torch.Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    @contextmanager
    def option(self, key: str, value: Callable[[dict[str, Any]], Any]) -> Iterator[None]:
        """For the time of a step each group has another value."""
        kept = [group[key] for group in self.param_groups]
        for group in self.param_groups:
            group[key] = value(group)
        try:
            yield
        finally:
            for group, old in zip(self.param_groups, kept, strict=True):
                group[key] = old


class Sound:
    """No fault: the control."""

    class Adam(_Around):
        pass


class AlwaysDecoupled:
    """Weight decay is decoupled whatever the option says."""

    class Adam(_Around):
        def around(self):
            return self.option("decoupled_weight_decay", lambda _: True)


class DataRebound:
    """The new values are put into a new storage."""

    class Adam(_Around):
        @contextmanager
        def around(self):
            yield
            for p in self.parameters():
                p.data = p.data.clone(memory_format=torch.preserve_format)


class ClosureWithoutGrad:
    """The closure runs with gradients switched off."""

    class Adam(_Around):
        @functools.wraps(ft.Adam.step)
        def step(self, closure=None):
            return super().step(closure and torch.no_grad()(closure))


class SparseAccepted:
    """A sparse gradient is made dense in silence."""

    class Adam(_Around):
        @contextmanager
        def around(self):
            for p in self.parameters():
                if p.grad is not None and p.grad.is_sparse:
                    p.grad = p.grad.to_dense()
            yield


class GradientsAltered:
    """`maximize` turns the gradients round in place."""

    class Adam(_Around):
        @contextmanager
        def around(self):
            for group in self.param_groups:
                for p in group["params"]:
                    if group["maximize"] and p.grad is not None:
                        p.grad.neg_()
            with self.option("maximize", lambda _: False):
                yield


class EpsInsideCorrection:
    """eps is added before the correction of the second moment, as in Keras."""

    class Adam(_Around):
        def around(self):
            def eps(group):
                t = 1 + max(float(self.state[p].get("step", 0)) for p in group["params"])
                return group["eps"] / (1 - group["betas"][1] ** t) ** 0.5

            return self.option("eps", eps)


class NoMaximize:
    """`maximize` is taken and forgotten."""

    class Adam(_Around):
        def around(self):
            return self.option("maximize", lambda _: False)


class StateKeyRenamed:
    """The first moment is saved under a name of its own."""

    class Adam(_Around):
        def state_dict(self):
            saved = super().state_dict()
            state = {
                i: {"mu" if key == "exp_avg" else key: value for key, value in s.items()}
                for i, s in saved["state"].items()
            }
            return {**saved, "state": state}


class StepIsANumber:
    """The count is kept as a Python number."""

    class Adam(_Around):
        @contextmanager
        def around(self):
            for state in self.state.values():
                if "step" in state:
                    state["step"] = torch.as_tensor(float(state["step"]))
            yield
            for state in self.state.values():
                state["step"] = int(state["step"])


class MissingGradientSteps:
    """No gradient is taken for a gradient of zero."""

    class Adam(_Around):
        @contextmanager
        def around(self):
            missing = [p for p in self.parameters() if p.grad is None]
            for p in missing:
                p.grad = torch.zeros_like(p)
            yield
            for p in missing:
                p.grad = None


class HooksSkipped:
    """Hooks after the step are not called."""

    class Adam(_Around):
        @contextmanager
        def around(self):
            kept, self._optimizer_step_post_hooks = self._optimizer_step_post_hooks, OrderedDict()
            yield
            self._optimizer_step_post_hooks = kept


class LoadCopies:
    """Loading copies what torch shares with its source."""

    class Adam(_Around):
        def load_state_dict(self, state_dict):
            super().load_state_dict(copy.deepcopy(state_dict))


class OtherDefault:
    """eps is that of Keras unless it is given."""

    class Adam(_Around):
        @functools.wraps(ft.Adam.__init__)
        def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-7, *args, **kwargs):
            super().__init__(params, lr, betas, eps, *args, **kwargs)


# Fault -> the scenarios that must notice it, each of them.
FAULTS = {
    AlwaysDecoupled: ("edited_groups", "accepted_parameters", "missing_gradients"),
    DataRebound: ("written_in_place",),
    ClosureWithoutGrad: ("closures",),
    SparseAccepted: ("sparse_gradients",),
    GradientsAltered: ("gradients_left_alone",),
    EpsInsideCorrection: ("numbers", "layouts"),
    NoMaximize: ("numbers", "edited_groups"),
    StateKeyRenamed: ("state_dict_bytes", "checkpoints_for_torch"),
    StepIsANumber: ("state_dict_bytes", "numbers"),
    MissingGradientSteps: ("missing_gradients", "numbers"),
    HooksSkipped: ("step_hooks", "hooks_that_change"),
    LoadCopies: ("loaded_values",),
    OtherDefault: ("defaults", "layouts"),
}
