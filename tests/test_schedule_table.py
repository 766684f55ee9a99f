"""The table of schedules: its lines, its bounds and the command that prints it."""

import json

import numpy as np
import pytest
import typer
from torch.optim import lr_scheduler as torch_schedulers
from typer.testing import CliRunner

from functional_adam import schedules as s
from functional_adam.cli._schedules import measure as measured
from functional_adam.cli._schedules import plateau
from functional_adam.cli._schedules.exact import exact
from functional_adam.cli._schedules.in_optax import in_optax
from functional_adam.cli._schedules.report import as_lines
from functional_adam.cli.schedules import schedules

APP = typer.Typer()
APP.command()(schedules)
STEPS = 150
HEADS = 8


def command(*arguments):
    return CliRunner().invoke(APP, ["--steps", str(STEPS), *arguments])


# Every case of every class is in test_schedules; here it is the table.
SOME = (
    *("StepLR", "MultiStepLR", "ConstantLR", "LinearLR", "ExponentialLR", "CosineAnnealingLR"),
    *("CyclicLR", "OneCycleLR"),
)


@pytest.fixture(scope="module")
def lines():
    return {line.torch: line for line in measured.measure(SOME, STEPS)}


def test_every_scheduler_of_torch_is_named():
    named = {name.partition(" ")[0] for name in measured.names()}
    assert named == {*torch_schedulers.__all__} - {"LRScheduler"}


def test_lines_are_of_five_sets_and_within_their_bounds(lines):
    assert all(line.sets >= 5 for line in lines.values())
    assert all(line.within for line in lines.values())
    assert {line.ours for line in lines.values()} <= {*vars(s)}


def test_ours_is_at_the_formula_where_torch_drifts(lines):
    drifting = lines["CosineAnnealingLR"]
    assert drifting.torch_to_exact > 20 * drifting.to_exact
    assert drifting.to_torch == pytest.approx(drifting.torch_to_exact, rel=0.1)


def test_what_optax_does_otherwise_shows(lines):
    for name in ("StepLR", "MultiStepLR", "ConstantLR", "LinearLR", "ExponentialLR"):
        assert lines[name].optax_sets == lines[name].sets
        assert lines[name].optax_to_torch < 1e-12
    assert lines["CosineAnnealingLR"].optax_to_torch > 0.5  # holds where torch rises again
    assert 1e-5 < lines["OneCycleLR"].optax_to_torch < 0.5  # its phases end elsewhere
    assert lines["CyclicLR"].optax is None
    assert lines["CyclicLR"].optax_to_torch is None


def test_optax_is_asked_only_for_what_it_can_express():
    cycle = dict(max_lr=1.0, total_steps=100)
    assert in_optax("OneCycleLR", None, cycle) is not None
    assert in_optax("OneCycleLR", None, cycle | {"three_phase": True}) is None
    assert in_optax("OneCycleLR", None, cycle | {"anneal_strategy": "linear"}) is None
    assert in_optax("CosineAnnealingWarmRestarts", 0.1, {"T_0": 1}) is None
    losses = plateau.losses(0)
    assert plateau.in_optax(losses, 0.1, {"mode": "max"}) is None


def test_a_schedule_that_is_wrong_in_one_step_is_beyond(monkeypatch):
    def late(lr, *, step_size, gamma=0.1):
        right = s.step_lr(lr, step_size=step_size, gamma=gamma)
        return lambda count: right(count - (count == 30))

    monkeypatch.setitem(measured.OURS, "StepLR", late)
    (line,) = measured.measure(["StepLR"], STEPS)
    assert [line.to_torch, line.to_exact] == pytest.approx([0.9, 0.9])
    assert not line.within
    (row,) = [row for row in as_lines([line], STEPS) if row.startswith("StepLR")]
    assert row.endswith(" BEYOND")
    result = command("--only", "StepLR")
    assert result.exit_code == 1
    assert "beyond its bound: StepLR" in result.stderr


def test_a_value_that_is_no_number_is_infinitely_far():
    assert measured._apart(np.array([1.0, np.nan]), np.ones(2)) == np.inf


def test_the_formulas_need_nothing_from_outside():
    import decimal

    before = decimal.getcontext().prec
    assert exact("ExponentialLR", 2, 0.1, gamma=0.5).as_tuple().exponent < -50
    assert decimal.getcontext().prec == before


def test_the_command_writes_the_table_of_the_readme(tmp_path):
    path = tmp_path / "schedules.md"
    result = command("--only", "LinearLR", "--only", "Cyclic*", "--markdown", str(path))
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 100
    rows = path.read_text().splitlines()
    assert [row.split("|")[1].strip() for row in rows[2:]] == [
        "`LinearLR`",
        "`CyclicLR`",
        "`CyclicLR`: momentum",
    ]
    assert "`linear_schedule`" in rows[2]
    assert all(row.count("|") == HEADS + 1 for row in rows)


def test_the_command_writes_json_and_says_nothing_else_on_stdout():
    result = command("--only", "ReduceLROnPlateau", "--json", "-")
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    (line,) = found["schedules"]
    assert line["sets"] == len(plateau.SETTINGS)
    assert line["to_torch"] < 1e-12
    assert line["within"] is True
    assert {"torch", "optax"} <= {*found["versions"]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "NoSuchLR"], "no such scheduler"),
        (["--only", "StepLR", "--json", "no/such/folder/x"], "cannot write"),
    ],
)
def test_the_command_refuses_wrong_usage(arguments, said):
    result = command(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
