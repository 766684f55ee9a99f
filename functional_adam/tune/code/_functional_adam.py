"""The optimizer as this package's transformation."""

from __future__ import annotations

from ._settings import USAGE_IN_JAX, Settings, heading, schedule_code


def write_ours(s: Settings) -> str:
    """Code that defines `tx`."""
    # Decay that follows the schedule's multiplier needs the peak besides the schedule.
    peak = s.row.decay == "decoupled" and s.dialect.decay_rate == "schedule"
    values = {**s.values, **({"base_learning_rate": s.learning_rate} if peak else {})}
    dialect = (
        "" if s.dialect.name.upper() == "TORCH" else f"    dialect=fa.{s.dialect.name.upper()},\n"
    )
    schedule, rate = schedule_code(
        s,
        "fa.schedules.warmup_cosine",
        [
            f"{s.learning_rate!r}",
            f"warmup_steps={s.warmup}",
            f"total_steps={s.steps}",
            f"start_factor={1 / max(s.warmup, 1)!r}",
            f"end_factor={s.final!r}",
        ],
    )
    arguments = "".join(f"    {name}={value!r},\n" for name, value in values.items())
    return "\n".join(
        [
            *heading(s, "with_master keeps it", "optax.chain(before, ...)"),
            "import functional_adam as fa",
            *([] if s.constant else ["import functional_adam.schedules"]),
            "",
            f"{schedule}tx = fa.{s.row.name}(\n    {rate},\n{arguments}{dialect})",
            *(["tx = fa.with_master(tx)"] if s.is_half else []),
            *USAGE_IN_JAX,
        ]
    )
