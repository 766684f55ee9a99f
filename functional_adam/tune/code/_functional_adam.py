"""The optimizer as this package's transformation."""

from __future__ import annotations

from ._settings import Settings, heading


def write_ours(s: Settings) -> str:
    """Code that defines `tx`."""
    # Decay that follows the schedule's multiplier needs the peak besides the schedule.
    peak = s.row.decay == "decoupled" and s.dialect.decay_rate == "schedule"
    values = {**s.values, **({"base_learning_rate": s.learning_rate} if peak else {})}
    dialect = (
        "" if s.dialect.name.upper() == "TORCH" else f"    dialect=fa.{s.dialect.name.upper()},\n"
    )
    rate = repr(s.learning_rate)
    schedule = ""
    if not s.constant:
        schedule = (
            "learning_rate = fa.schedules.warmup_cosine(\n"
            f"    {s.learning_rate!r},\n"
            f"    warmup_steps={s.warmup},\n"
            f"    total_steps={s.steps},\n"
            f"    start_factor={1 / max(s.warmup, 1)!r},\n"
            f"    end_factor={s.final!r},\n"
            ")\n"
        )
        rate = "learning_rate"
    arguments = "".join(f"    {name}={value!r},\n" for name, value in values.items())
    return "\n".join(
        [
            *heading(s),
            "import functional_adam as fa",
            *([] if s.constant else ["import functional_adam.schedules"]),
            "",
            f"{schedule}tx = fa.{s.row.name}(\n    {rate},\n{arguments}{dialect})",
            "# state = tx.init(params)",
            "# updates, state = tx.update(gradients, state, params)",
            "# params = optax.apply_updates(params, updates)",
            "",
        ]
    )
