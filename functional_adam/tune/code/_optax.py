"""The optimizer in optax alone."""

from __future__ import annotations

from ...dialects import OPTAX, TORCH
from ._settings import USAGE_IN_JAX, Settings, heading, ours_only, schedule_code

# What optax has of its own dialect only.
_OWN = {"amsgrad": "amsgrad", "radam": "radam"}


def write_optax(s: Settings) -> str:
    """Code that defines `tx`, `optax.adamw` or its like."""
    name = _name(s)
    twin = s.row.optax
    values = {n: x for n, x in s.values.items() if n != "weight_decay"}
    decay = s.values.get("weight_decay", 0.0)
    apart = s.row.decay == "decoupled" and twin is not None and not twin.decays
    if s.row.decay == "decoupled" and not apart:
        values["weight_decay"] = decay
    if twin is not None:
        values = twin.arguments(values)
    schedule, rate = schedule_code(
        s,
        "optax.warmup_cosine_decay_schedule",
        [
            f"init_value={s.learning_rate / max(s.warmup, 1)!r}",
            f"peak_value={s.learning_rate!r}",
            f"warmup_steps={s.warmup}",
            f"decay_steps={s.steps}",
            f"end_value={s.final * s.learning_rate!r}",
        ],
    )
    arguments = "".join(f", {key}={value!r}" for key, value in values.items())
    tx = f"optax.{name}({rate}{arguments})"
    if s.row.decay == "coupled" and decay:
        tx = f"optax.chain(optax.add_decayed_weights({decay!r}), {tx})"
    if apart and decay:
        scheduled = f"lambda count: -{decay!r} * learning_rate(count)"
        taken = repr(-decay * s.learning_rate) if s.constant else scheduled
        tx = f"optax.chain({tx}, optax.add_decayed_weights({taken}))"
    return "\n".join(
        [
            *heading(
                s,
                "keep yours in float32, or wrap tx in functional_adam.with_master",
                "optax.chain(before, tx)",
            ),
            "import optax",
            "",
            f"{schedule}tx = {tx}",
            *USAGE_IN_JAX,
        ]
    )


def _name(s: Settings) -> str:
    name = s.row.name
    # Where both have an algorithm, and these dialects agree on it up to rounding.
    if s.dialect in (TORCH, OPTAX) and s.row.optax is not None and s.row.optax.same:
        return s.row.optax.name
    if s.dialect == OPTAX and name in _OWN:
        return _OWN[name]
    raise ours_only(s, "optax", f"{name} in the dialect {s.dialect.name}")
