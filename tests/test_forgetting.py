"""The command `parity --forgetting`: its rows, its verdict and what it refuses."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from functional_adam.cli._parity import forgetting_rows as rows
from functional_adam.cli._parity.forgetting import Forgetting
from functional_adam.cli.app import app


def _subjects():
    def broken():
        raise RuntimeError("no such device\nand more")

    return [
        rows.Subject("exact", lambda: Forgetting(1.2, 0.5), True),
        rows.Subject("ours, forgetful", lambda: Forgetting(60.0, 0.1), True),
        rows.Subject("theirs", lambda: Forgetting(60.0, 0.1)),
        rows.Subject("without a moment", lambda: Forgetting(float("nan"), 0.5)),
        rows.Subject("elsewhere", broken),
    ]


def test_the_table_and_the_exit_status(monkeypatch):
    monkeypatch.setattr(rows, "ours", _subjects)
    run = CliRunner().invoke(app, ["parity", "--forgetting", "--json", "-"])
    assert run.exit_code == 1  # one of ours does not forget
    found = {row["name"]: row for row in json.loads(run.stdout)["rows"]}
    assert found["exact"]["within"] is True
    assert found["ours, forgetful"]["within"] is False
    assert found["theirs"]["within"] is None
    assert found["theirs"]["update"] == pytest.approx(0.2)
    assert found["without a moment"]["v_true"] is None
    assert found["elsewhere"]["error"] == "RuntimeError: no such device"
    monkeypatch.setattr(rows, "ours", lambda: _subjects()[:1] + _subjects()[2:])
    run = CliRunner().invoke(app, ["parity", "--forgetting", "--markdown", "-"])
    assert run.exit_code == 0
    assert "| theirs | 60 | 0.20 |" in run.stdout
    assert "| elsewhere | not run | RuntimeError: no such device |" in run.stdout


def test_wrong_usage():
    for arguments, said in (
        (["parity", "--against", "optax:adam"], "--against goes with --forgetting"),
        (["parity", "--forgetting", "--against", "optax.adam"], "must be package:Class"),
        (["parity", "--forgetting", "--against", ".optim:Adam"], "must be package:Class"),
        (["parity", "--forgetting", "--only", "adam"], "--only does not go with --forgetting"),
        (["parity", "--forgetting", "--steps", "9"], "--steps does not go with --forgetting"),
        (["parity", "--forgetting", "--json", "a", "--markdown", "a"], "two outputs to a"),
        (["parity", "--forgetting", "--against", "optax:adam@int8"], "must be package:Class"),
        (["parity", "--forgetting", "--against", "optax:nothing"], "no attribute 'nothing'"),
        (["parity", "--forgetting", "--against", "no_such_package:Adam"], "No module named"),
        (["bench", "--workload", "nothing"], "there are ['1 x 50M'"),
    ):
        run = CliRunner().invoke(app, arguments)
        assert run.exit_code == 2, arguments
        assert said in run.output
