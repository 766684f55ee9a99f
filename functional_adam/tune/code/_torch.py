"""The optimizer in PyTorch: torch.optim, or the bridge where it has none, and a scheduler."""

from __future__ import annotations

from ...dialects import OPTAX, TORCH
from ._settings import Settings, heading, ours_only

# Adam and AdamW of optax are torch's up to rounding.
_SAME = ("adam", "adamw")


def write_torch(s: Settings) -> str:
    """Code that defines `make_optimizer(model) -> (optimizer, scheduler)`."""
    if not (s.dialect == TORCH or (s.dialect == OPTAX and s.row.name in _SAME)):
        raise ours_only(s, "torch.optim", f"{s.row.name} in the dialect {s.dialect.name}")
    has_twin = s.row.torch_twin is not None
    modules = [*([] if s.constant else ["math"]), "torch"]
    kind = f"{'torch.optim' if has_twin else 'ft'}.{s.row.torch_class}"
    values = {
        "lr": s.learning_rate,
        "betas": tuple(s.values[name] for name in s.row.averages),
        **{name: x for name, x in s.values.items() if name not in s.row.averages},
        **s.row.torch_options,
    }
    arguments = "".join(f"        {name}={value!r},\n" for name, value in values.items())
    lines = [
        *heading(
            s,
            "keep yours in float32, or take functional_adam_torch's class with master_bits=32",
            "do the same to the gradients before each step",
        ),
        *[f"import {module}" for module in modules],
        *([] if has_twin else ["import functional_adam_torch as ft"]),
        "",
        *_factor(s),
        "",
        "def make_optimizer(model):",
        f'    """{s.row.torch_class} and its schedule: call both `step()` once in each step."""',
        f"    optimizer = {kind}(",
        f"        model.parameters(),\n{arguments}    )",
        "    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)",
        "    return optimizer, scheduler",
        "",
        "",
        "# optimizer, scheduler = make_optimizer(model)",
        "# in each step, after loss.backward():",
        "# optimizer.step(); scheduler.step(); optimizer.zero_grad()",
        "",
    ]
    return "\n".join(lines)


def _factor(s: Settings) -> list[str]:
    """The schedule as a function of the number of steps made."""
    head = ["", "def factor(step):", '    """Learning rate over its peak, after `step` steps."""']
    if s.constant:
        return [*head, "    return 1.0", ""]
    warm = [
        f"    if step < {s.warmup}:",
        f"        return (step + 1 - step / {s.warmup}) / {s.warmup}",
    ]
    done = f"(step - {s.warmup}) / {s.steps - s.warmup}" if s.warmup else f"step / {s.steps}"
    cosine = f"0.5 * (1 + math.cos(math.pi * min({done}, 1)))"
    return [
        *head,
        *(warm if s.warmup else []),
        f"    return {s.final!r} + {1 - s.final!r} * {cosine}"
        if s.final
        else f"    return {cosine}",
        "",
    ]
