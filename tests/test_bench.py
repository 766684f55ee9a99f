"""`functional-adam bench`: what it says, not how fast anything is."""

from __future__ import annotations

import json
import math
import re

import pytest
from typer.testing import CliRunner

from functional_adam import ALGORITHMS
from functional_adam.cli._bench import growth, measure, report
from functional_adam.cli._bench.measure import Ratio, Row, Table, table
from functional_adam.cli._bench.subjects import Subject, subjects_of, yardstick_of
from functional_adam.cli._bench.workloads import WORKLOADS, scaled, size
from functional_adam.cli._output import show
from functional_adam.cli.app import app

NAN = math.nan
ADAM = ALGORITHMS["adam"]


def row(name, ours, ratio, seconds=1e-3):
    return Row(name, ours, seconds, ratio, 0.5, 0.1, 0.2, NAN, 16.0, 8.0)


def test_the_workloads_are_the_models():
    """Parameters as their authors count them, 124M and 25.6M."""
    counts = {name: (len(shapes), size(shapes)) for name, shapes in WORKLOADS.items()}
    assert counts["GPT-2 small"] == (148, 124_439_808)
    assert counts["ResNet-50"] == (161, 25_557_032)
    assert counts["1000 x 64"] == (1000, 64_000)
    assert counts["1 x 20,000,123"] == (1, 20_000_123)
    small = scaled(WORKLOADS["GPT-2 small"], 0.001)
    assert len(small) == 148
    assert size(small) < 400_000


def test_a_ratio_lost_in_its_spread_is_not_told():
    assert report.told(Ratio(0.8, 0.1)) == "0.80 ± 0.10"
    assert report.told(Ratio(0.95, 0.1)) == "= ± 0.10"
    assert report.told(Ratio(1.3, 0.4)) == "= ± 0.40"
    both = Ratio(0.8, 0.08).over(Ratio(0.4, 0.03))
    assert both.value == 2
    assert both.spread == pytest.approx(2 * math.hypot(0.1, 0.075))


def test_every_table_shows_the_same_figures():
    rows = [row("optax", False, Ratio(1.0, 0.0)), row("theirs", False, Ratio(0.5, 0.01))]
    rows.append(row("ours", True, Ratio(0.9, 0.2)))
    found = Table("w", 1, 10, rows, {"heavy": "not installed"})
    grown = growth.Growth("ours", "tensors", (10, 100), (1e-3, 1e-2), (1.0, 2.0), 1.0, 1e-4, 0.01)
    text = report.as_markdown([found], [grown])
    assert "| theirs | 1 | 0.50 ± 0.01 | 1 | 0.5 | 0.1 | 0.2 | - | 16 | 8 |" in text
    assert "| ours | 1 | = ± 0.20 | 1.80 ± 0.40 |" in text
    assert "Skipped: heavy (not installed)." in text
    assert "| ours | 10 to 100 tensors | 1.00 | 100 | 10 |" in text
    content = json.loads(report.as_json([found], [grown], {"rounds": 3}))
    (made,) = content["workloads"]
    assert made["fastest_peer"] == "theirs"
    assert made["rows"][2]["ratio_to_optax"] == {"value": None, "spread": 0.2}
    assert made["rows"][2]["ratio_to_fastest_peer"]["value"] == pytest.approx(1.8)
    assert made["rows"][0]["temporary"] is None
    for grid in (*report.grid(found), *report.narrow_grids(found)):
        assert grid.row_count == 3


@pytest.mark.parametrize("width", [80, 200])
def test_no_figure_is_cut_on_a_narrow_terminal(width, capsys, monkeypatch):
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", str(width))):
        monkeypatch.setenv(name, value)
    names = ("optax", "ours, bfloat16 weights, int8 moments")
    rows = [row(name, name != "optax", Ratio(1.05, 0.01)) for name in names]
    found = Table("w", 1, 10, rows, {})
    show(report.grid(found), report.narrow_grids(found), wide=150)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
    assert shown.count(" 1.05 ± 0.01 ") == 1  # optax is its own peer
    assert shown.count("candidate") == (2 if width == 80 else 1)


def test_what_is_missing_or_fails_is_skipped_by_name():
    def fails(shapes):
        raise RuntimeError("no such device")

    subjects = (
        Subject("absent", fails, needs="no_such_package"),
        Subject("broken", fails),
        Subject("large", fails, tensors=1),
    )
    found = table("w", ((2,), (3,)), subjects, yardstick_of(ADAM), 3, lambda line: None)
    assert found.rows == []
    assert found.skipped == {
        "absent": "no_such_package is not installed",
        "broken": "RuntimeError: no such device",
        "large": "takes minutes to compile beyond 1 tensors",
    }


def test_a_failing_yardstick_is_said_of_each():
    def fails(shapes):
        raise RuntimeError("out of memory")

    fine = next(subject for subject in subjects_of(ADAM) if subject.name == "ours")
    found = table("w", ((2,), (3,)), (fine,), Subject("optax", fails), 3, lambda line: None)
    assert found.skipped == {"ours": "RuntimeError: out of memory"}


def test_the_slope_is_that_of_a_line():
    assert growth._each((10, 100, 1000), (5.2, 7.0, 25.0)) == pytest.approx(0.02)


def test_the_command(tmp_path):
    picture, figures = tmp_path / "ratios.png", tmp_path / "figures.json"
    arguments = ["bench", "--workload", "50M", "--scale", "1e-5", "--rounds", "3"]
    arguments += ["--only", "packed", "--only", "fused", "--markdown", "-"]
    run = CliRunner().invoke(app, [*arguments, "--plot", str(picture), "--json", str(figures)])
    assert run.exit_code == 0, run.output
    (made,) = json.loads(figures.read_text())["workloads"]
    assert made["workload"] == "1 x 50M, scaled by 1e-05"
    rows = {line["subject"]: line for line in made["rows"]}
    assert rows.keys() == {"ours, packed", "torch fused"}
    assert made["fastest_peer"] == "torch fused"
    assert rows["torch fused"]["state"] == 8
    assert rows["ours, packed"]["state"] == 8 * 1024 / 500  # with the zeros at the end
    assert rows["ours, packed"]["compile_seconds"] > 0
    assert all(line["seconds"] > 0 for line in rows.values())
    assert "**1 x 50M, scaled by 1e-05 (1 tensors, 500 parameters)**" in run.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_an_interruption_keeps_what_was_measured(tmp_path, monkeypatch):
    measured = []

    def interrupted(name, shapes, subjects, yardstick, rounds, done):
        if measured:
            raise KeyboardInterrupt
        measured.append(name)
        return Table(name, 1, 10, [row("optax", False, Ratio(1.0, 0.0))], {})

    monkeypatch.setattr(measure, "table", interrupted)
    figures = tmp_path / "figures.json"
    run = CliRunner().invoke(app, ["bench", "--json", str(figures)])
    assert run.exit_code == 130
    (kept,) = json.loads(figures.read_text())["workloads"]
    assert kept["workload"] == measured[0]


def test_wrong_usage():
    for arguments, said in (
        (["--only", "nothing"], "--only nothing: there are ['optax', 'ours'"),
        (["--plot", "-"], "a picture needs a file"),
        (["--precision", "--plot", "x.png"], "leave --precision out"),
        (["--json", "no/such/folder/x"], "cannot write"),
        (["--scale", "2000"], "scale"),
        (["--algorithm", "sgd"], "--algorithm sgd: unknown; there are adam, adamw, amsgrad"),
        (["--algorithm", "lion", "--precision"], "--algorithm is of steps: leave --precision out"),
        (["--workload", "1000", "--precision"], "--workload is of steps"),
        (["--growth", "--precision"], "--growth is of steps"),
        (["--scale", "2", "--precision"], "--scale is of steps"),
        (["--seeds", "1"], "--seeds is of --precision: give that too"),
        (["--steps", "10"], "--steps is of --precision"),
        (["--parameters", "2000"], "--parameters is of --precision"),
        (["--algorithm", "lion", "--only", "torch fused"], "there are ['optax', 'ours'"),
    ):
        run = CliRunner().invoke(app, ["bench", *arguments])
        assert run.exit_code == 2, arguments
        assert said in run.output


@pytest.mark.parametrize("row", ALGORITHMS.values(), ids=ALGORITHMS)
def test_names_are_told_apart(row):
    subjects = subjects_of(row)
    names = [subject.name for subject in subjects]
    assert len(set(names)) == len(names)
    assert {subject.ours for subject in subjects if subject.name.startswith("ours")} == {True}
    assert ("optax" in names) == (row.optax is not None)
    assert ("torch fused" in names) == (row.torch_twin is not None)
    assert ("optimi" in names) == (row is ADAM)


def test_another_algorithm(monkeypatch):
    """The state tells whose step it is: one array for Lion, three for AMSGrad."""
    monkeypatch.setattr(measure._Copy, "_ELEMENTS", 1000)
    small = ["--workload", "50M", "--scale", "1e-6", "--rounds", "3", "--json", "-"]
    for algorithm, title, expected in (
        ("lion", "1 x 50M, lion", {"optax, flatten": 4, "ours in torch, foreach": 4}),
        ("adopt", "1 x 50M, adopt", {"optax, flatten": 8}),  # optax has it without decay
        ("amsgradw", "1 x 50M, amsgradw (optax: adam)", {"torch foreach": 12}),
    ):
        only = [part for name in expected for part in ("--only", name)]
        run = CliRunner().invoke(app, ["bench", "--algorithm", algorithm, *only, *small])
        assert run.exit_code == 0, run.output
        (made,) = json.loads(run.stdout)["workloads"]
        assert made["workload"] == f"{title}, scaled by 1e-06"
        assert {line["subject"]: line["state"] for line in made["rows"]} == expected


def test_the_table_of_precision():
    """Bytes are those of the arrays: one for each moment, 16 bits for the weight, and scales."""
    small = ["--parameters", "192000", "--rounds", "3", "--seeds", "0"]
    row = ["--only", "16 bits + int8", "--json", "-"]
    run = CliRunner().invoke(app, ["bench", "--precision", *row, *small])
    assert run.exit_code == 0, run.output
    rows = json.loads(run.stdout)["rows"]
    assert list(rows) == ["16 bits + int8", "16 bits + int8, float16"]
    for found in rows.values():
        assert 4 < found["bytes"] < 4.05
        assert found["temporary"] < 4
        assert found["time"] > 0
