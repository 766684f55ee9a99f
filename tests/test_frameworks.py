"""Dialects against the frameworks that speak them, and the tables made of it.

Sizes are reduced, and of the rows there is one for each framework and for each knob; all of them in
full are `functional-adam parity --dialects`.
"""

import ast
import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import functional_adam as fa
from functional_adam.cli import _frameworks
from functional_adam.cli._distance import measure as distances
from functional_adam.cli._distance.entries import CASES, CLASSES
from functional_adam.cli._distance.report import as_lines, as_markdown
from functional_adam.cli._frameworks.bert import multiplier
from functional_adam.cli._parity import in_jax
from functional_adam.cli._parity.bounds import broken, limits
from functional_adam.cli._parity.measure import Sizes, measure
from functional_adam.cli._parity.rows import PEERS, every_row, select
from functional_adam.cli.distance import distance
from functional_adam.cli.parity import parity
from functional_adam.dialects import DIALECTS

SMALL = Sizes(one_step=1_024, free=257, common_steps=6, free_steps=12)
SYMMETRIC = 1e-14


def measured(name, sizes=SMALL):
    rows = select(every_row(), [name])
    assert [row.name for row in rows] == [name]
    return measure(rows, sizes, lambda row: None)


def faults(table):
    return [fault for row, found in table.items() for fault in broken(row, found)]


# What is compared.


def test_every_dialect_is_held_to_a_framework_and_every_name_is_another():
    # TORCH itself is what the other rows of the table are held to.
    assert {peer.dialect for peer in PEERS} == {*DIALECTS}
    assert len({row.name for row in every_row()}) == len(every_row())
    frameworks = {peer.framework for peer in PEERS}
    assert {"optax", "keras", "optimi", "torchao", "bitsandbytes", "heavyball"} <= frameworks
    for row in every_row():
        if row.in_dialect and row.variant.equal:
            assert limits(row)["p_ulp"] <= 4
            assert limits(row)["free"] <= (1e-3 if row.dtype == "float32" else 1e-12)


def test_optax_is_asked_with_every_flag():
    asked = {
        (peer.theirs, flag) for peer in PEERS if peer.framework == "optax" for flag in peer.options
    }
    for flag in ("nesterov", "eps_root", "mu_dtype"):
        assert {("adam", flag), ("adamw", flag)} <= asked
    assert {("amsgrad", "bias_correction_mu"), ("amsgrad", "bias_correction_nu")} <= asked
    assert {("radam", "threshold"), ("radam", "nesterov"), ("radam", "eps_root")} <= asked


def test_each_framework_is_asked_for_its_own_defaults():
    plain = {peer.framework for peer in PEERS if not peer.options and not peer.ours}
    assert {"optax", "keras", "optimi", "bitsandbytes", "heavyball"} <= plain
    assert {"hf-source", "bert-source", "apex-source", "deepspeed-source", "timm-source"} <= plain


def test_the_sources_import_nothing_of_ours():
    files = sorted(Path(_frameworks.__file__).parent.glob("*.py"))
    assert len(files) == 10
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert (node.level, node.module) == (0, "__future__"), file
            if isinstance(node, ast.Import):
                assert {alias.name for alias in node.names} <= {"math", "numpy"}, file


def test_sources_name_their_file():
    for name in {p.framework for p in PEERS if p.framework.endswith("-source")}:
        text = (
            Path(_frameworks.__file__).parent / f"{name.removesuffix('-source')}.py"
        ).read_text()
        assert "Source: " in text or "arxiv.org" in text
        assert "https://" in text


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.0), (5, 0.5), (10, 1.0), (55, 0.5), (100, 0.0), (120, 0.0)]
)
def test_the_warmup_of_bert_rises_and_falls_along_lines(step, expected):
    assert multiplier(step, 0.1, 100) == pytest.approx(expected)
    assert multiplier(step, -1, -1) == 1


# The rows.

# One for each framework whose rows are not among those of the knobs below.
WITHIN = [
    "amsgrad/optax-no_mu/float64/jax-optax/optax",
    "amsgradw/keras/float32/jax-keras/keras",
    "radamw/optimi-options/float64/jax-optimi/optimi",
    "amsgradw/torchao-options/float32/jax-torch/torchao",
    "adam/bitsandbytes/float32/jax-bitsandbytes/bitsandbytes",
    "adamw/heavyball/float32/jax-heavyball/heavyball",
    "adam/apex-source-options/float64/jax-apex/apex-source",
    "adamw/bert-source-warmup/float64/jax-bert/bert-source",
    "adamw/deepspeed-source/float64/jax-deepspeed/deepspeed-source",
    "adamw/tf_keras-source-adaptive_epsilon/float64/jax-keras/tf_keras-source",
]


@pytest.mark.parametrize("name", WITHIN)
def test_a_dialect_is_its_framework(name):
    table = measured(name)
    assert faults(table) == []
    (figures,) = table.values()
    assert {"p_ulp", "free"} <= {*figures}


# Each knob and default, set wrong in its preset, is seen by the row.
KNOBS = {
    "eps_place": ("KERAS", "after_correction", "adam/keras-options/float64/jax-keras/keras"),
    "eps_root": ("OPTAX", False, "adam/optax-eps_root/float64/jax-optax/optax"),
    "bias_correction": ("BERT", "both", "adamw/bert-source/float64/jax-bert/bert-source"),
    "amsgrad": ("OPTAX", "maximum_then_correct", "amsgrad/optax/float64/jax-optax/optax"),
    "decay": ("KERAS", "by_algorithm", "adam/keras-decay/float64/jax-keras/keras"),
    "decay_form": ("HF", "factor", "adamw/hf-source-options/float64/jax-hf/hf-source"),
    "decay_rate": ("OPTIMI", None, "adamw/optimi-decouple_lr/float64/jax-optimi/optimi"),
    "nesterov": ("OPTAX", "one_correction", "adam/optax-nesterov/float64/jax-optax/optax"),
    "nadam": ("TIMM", "constant", "nadamw/timm-source/float64/jax-timm/timm-source"),
    "radam_threshold": ("PAPER", 5.0, "radam/papers-source/float64/jax-paper/papers-source"),
    "radam_eps": ("OPTAX", "before_correction", "radam/optax-options/float64/jax-optax/optax"),
    "adamax_eps": ("KERAS", "inside_maximum", "adamax/keras-options/float64/jax-keras/keras"),
    "b2": ("HEAVYBALL", 0.999, "adamw/heavyball-source/float64/jax-heavyball/heavyball-source"),
    "eps": ("KERAS", 1e-8, "amsgrad/keras/float64/jax-keras/keras"),
    "weight_decay": ("OPTAX", 1e-2, "adamw/optax/float64/jax-optax/optax"),
    "momentum_decay": ("KERAS", 4e-3, "nadam/keras/float64/jax-keras/keras"),
}


@pytest.mark.parametrize("knob", KNOBS)
def test_a_knob_that_is_set_wrong_is_beyond_the_bounds(knob, monkeypatch):
    preset, value, name = KNOBS[knob]
    assert faults(measured(name)) == []
    if knob == "decay_rate":  # here it is the row that changes the knob
        (row,) = select(every_row(), [name])
        wrong = dataclasses.replace(row.variant, ours={"weight_decay": 5e-4}, knobs={})
        table = measure([dataclasses.replace(row, variant=wrong)], SMALL, lambda row: None)
    elif knob == "eps_root":
        (row,) = select(every_row(), [name])
        wrong = dataclasses.replace(row.variant, ours={})
        table = measure([dataclasses.replace(row, variant=wrong)], SMALL, lambda row: None)
    else:
        changed = dataclasses.replace(DIALECTS[preset], **{knob: value})
        monkeypatch.setattr(in_jax, "DIALECTS", {**DIALECTS, preset: changed})
        table = measured(name)
    assert faults(table)


def test_every_knob_is_held_by_a_row_but_those_that_no_number_shows():
    fields = {field.name for field in dataclasses.fields(fa.Dialect)}
    # The average is never exactly as long as the threshold; complex numbers are in test_dialects.
    assert fields - {*KNOBS} == {"name", "source", "radam_compare", "complex_mode"}


# The command.

APP = typer.Typer()
APP.command()(parity)
DISTANCE = typer.Typer()
DISTANCE.command()(distance)


def command(*arguments, app=APP):
    return CliRunner().invoke(app, arguments)


def test_what_is_not_installed_is_said_and_not_dropped(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: (name != "keras" and find(name, *rest)) or None,
    )
    only = ["--dialects", "--quick", "--jobs", "1", "--only", "adam/keras/float64/*"]
    result = command(*only)
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stdout.splitlines() if "/keras" in line]
    assert line.endswith(" not installed: pip install 'functional_adam[keras]'")
    (row,) = json.loads(command(*only, "--json", "-").stdout)["rows"]
    assert (row["not_installed"], row["within"], row["figures"]) == ("keras", None, {})
    (row,) = [x for x in command(*only, "--markdown", "-").stdout.splitlines() if "`KERAS`" in x]
    assert "not installed" in row


def test_the_command_prints_the_table_of_dialects():
    only = ("adam/apex-source-options/float64", "adamw/hf-source/float64")
    options = [x for name in only for x in ("--only", f"{name}/*")]
    result = command("--dialects", "--quick", "--jobs", "1", *options, "--markdown", "-")
    assert result.exit_code == 0, result.output
    rows = [line for line in result.stdout.splitlines() if line.startswith("| ")][1:]
    assert [row.split(" | ")[:4] for row in rows] == [
        ["| hf, from its source", "`HF`", "`adamw`", "1"],
        ["| apex, from its source", "`APEX`", "`adam`", "1"],
    ]
    assert all(row.count("|") == 9 for row in rows)


def test_dialects_only_leaves_the_other_rows():
    names = command("--dialects", "--list").stdout.split()
    assert len(names) == sum(len(peer.dtypes) for peer in PEERS)
    assert not [name for name in names if name.endswith("torch-single")]


# Distances.


def test_distances_are_symmetric_and_zero_from_oneself(monkeypatch):
    few = {"NAdam": {name: CLASSES["NAdam"][name] for name in ("torch", "optax")}}
    monkeypatch.setattr(distances, "CLASSES", few)
    (matrix,) = distances.matrices(5)
    found = np.array(matrix.distances)
    np.testing.assert_allclose(found, found.T, rtol=SYMMETRIC)
    assert np.all(np.diag(found) == 0)
    assert found[0, 1] > 0.01
    lines = as_markdown([matrix], []).splitlines()
    assert lines[0] == "| `NAdam` | torch | optax |"
    assert lines[2].startswith("| torch | 0 | ")


@pytest.mark.parametrize("index", [0, 4])
def test_ours_is_where_optax_is_not(index, monkeypatch):
    monkeypatch.setattr(distances, "CASES", [CASES[index]])
    (before,) = distances.befores(5)
    assert before.optax > 1e-3
    assert before.ours < 1e-12
    text = "\n".join(as_lines([], [before], 5))
    assert CASES[index].theirs[0] in text


def test_every_preset_takes_part():
    taking = {dialect for frameworks in CLASSES.values() for dialect, _ in frameworks.values()}
    assert taking == {*DIALECTS}
    assert [case.theirs[0] for case in CASES] == ["Adam", "NAdam", "RAdam", "Adam", "Adam"]


def test_the_command_of_distances_refuses_a_folder_that_is_not_there():
    result = command("--json", "no/such/x.json", app=DISTANCE)
    assert result.exit_code == 2
    assert "cannot write" in result.stderr
