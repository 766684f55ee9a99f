"""The core stands alone: without torch, and without importing what it does not need."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = (
    "torch",
    "keras",
    "orbax",
    "safetensors",
    "matplotlib",
    "optuna",
    "pandas",
    "scipy.stats",
    "rich",
    "typer",
    "sklearn",
    "functional_adam_torch",
)


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, cwd=ROOT, check=False, timeout=120,
    )  # fmt: skip


def _imported_by(statement: str) -> set[str]:
    done = _python(f"import sys; {statement}; print(*[m for m in {HEAVY!r} if m in sys.modules])")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_core_imports_nothing_heavy():
    assert (
        _imported_by("import functional_adam, functional_adam.schedules, functional_adam.tune")
        == set()
    )


def test_tuning_imports_nothing_heavy_either():
    assert _imported_by("import functional_adam.tune, functional_adam.tune.comparison") == set()


def test_this_test_can_fail():
    assert "torch" in _imported_by("import torch, functional_adam")


def test_the_core_works_where_torch_is_not_installed():
    done = _python("""
        import sys
        sys.modules["torch"] = None  # any import of it raises ImportError
        import jax.numpy as jnp, functional_adam as fa
        tx = fa.adamw(1e-3)
        u, s = tx.update(jnp.ones(3), tx.init(jnp.ones(3)), jnp.ones(3))
        print(float(u[0]))
    """)
    assert done.returncode == 0, done.stderr
    # 1 * (1 - 1e-3 * 1e-2) - 1e-3 - 1, to the spacing of float32 at 1.
    assert float(done.stdout) == pytest.approx(-1.01e-3, abs=1.2e-7)


def test_the_command_line_names_the_missing_extra():
    for package in ("typer", "rich"):
        done = _python(f"""
            import sys
            sys.modules["{package}"] = None
            from functional_adam.cli import main
            main()
        """)
        assert done.returncode == 1
        assert "pip install 'functional_adam[cli]'" in done.stderr


def test_only_the_command_line_knows_torch_or_the_bridge():
    for path in (ROOT / "functional_adam").rglob("*.py"):
        if "cli" not in path.parts:
            text = path.read_text()
            if path.parent.name == "code":  # what it writes for torch may import either
                tree = ast.walk(ast.parse(text))
                kinds = ast.Import | ast.ImportFrom
                text = "\n".join(ast.unparse(node) for node in tree if isinstance(node, kinds))
            assert "import torch" not in text, path
            assert "functional_adam_torch" not in text, path


def test_the_bridge_holds_no_formula():
    """The rule a bridge class runs is the very function of the core's page."""
    import functional_adam as fa
    import functional_adam_torch as ft

    p = [_parameter()]
    for cls, options, name in (
        (ft.Adam, {}, "adam"),
        (ft.Adam, {"amsgrad": True}, "amsgrad"),
        (ft.AdamW, {}, "adamw"),
        (ft.NAdam, {"decoupled_weight_decay": True}, "nadamw"),
        (ft.RAdam, {}, "radam"),
        (ft.Adamax, {}, "adamax"),
    ):
        optimizer = cls(p, **options)
        row = optimizer._algorithm(optimizer.param_groups[0])
        assert row is fa.ALGORITHMS[name]
    for path in (ROOT / "bridges").rglob("_step.py"):
        assert "sqrt" not in path.read_text()


def _parameter():
    import torch

    return torch.nn.Parameter(torch.ones(2))
