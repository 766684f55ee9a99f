"""Where a package of an extra is missing, the error names the package and the extra."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import functional_adam

ROOT = Path(functional_adam.__file__).parent.parent

# What a user calls, the package that is missing there, and the extra that the error must name.
CALLS = [
    ("import functional_adam_torch", "torch", "torch"),
    ("fa.schedules.plot(fa.schedules.constant(1.0), 3)", "matplotlib", "cli"),
    ("from functional_adam.tune import rich_progress\nwith rich_progress(): pass", "rich", "cli"),
    ("from functional_adam.tune import optuna_sampler\nnext(optuna_sampler(print)(0, 0, 0))",
     "optuna", "tune"),
    ("from functional_adam.tune.strategies import strategy_named\nstrategy_named('tpe')",
     "optuna", "tune"),
    ("from functional_adam.tune import export\nexport.frame(None)",
     "pandas", "tune"),
]  # fmt: skip


def test_each_missing_extra_names_itself():
    code = textwrap.dedent("""
        import sys

        class Without:
            # A finder that does not find one package, as if it were not installed.

            absent = None

            def __init__(self, finder):
                self.finder = finder

            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == Without.absent:
                    return None
                return self.finder.find_spec(name, path, target)

        sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
        import functional_adam as fa

        for call, package, extra in CALLS:
            Without.absent = package
            try:
                exec(call)
            except ImportError as error:
                text = str(error)
                assert package in text and f"functional_adam[{extra}]" in text, (call, text)
            else:
                raise AssertionError(call)
    """).replace("CALLS", repr(CALLS))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False,
        timeout=120, env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'bridges'}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
