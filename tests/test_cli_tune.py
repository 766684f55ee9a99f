"""`functional-adam tune`, `report`, `code` and `compare`: what they write, say and refuse."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from typer.testing import CliRunner

from functional_adam.cli._tune import processes
from functional_adam.cli._tune.tasks import prepared
from functional_adam.cli.app import app

TASK = """
from __future__ import annotations
import dataclasses, pathlib, sys
import jax.numpy as jnp
sys.path.insert(0, {tests!r})
from tune_tasks import tiny

task = tiny()

def made():
    return tiny(name="made", steps=12)

odd = tiny(name="net[/b] [bold]x", held_out={{"x": jnp.full((3, 5), jnp.nan), "y": jnp.ones(3)}})

@dataclasses.dataclass
class Shift:
    by: float

low = tiny(loss=lambda params, batch, key: jnp.mean(params["w"] ** 2) - Shift(3.0).by)

bad = tiny(loss=lambda params, batch, key: params["w"])
infinite = tiny(loss=lambda params, batch, key: params["w"].sum() / 0.0)
nowhere = tiny(loss=lambda params, batch, key: 0 * jnp.sqrt(0 * jnp.sum(params["w"] ** 2)))
number = 3

def broken():
    raise RuntimeError("no data here")
"""


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def file(tmp_path_factory, request):
    path = tmp_path_factory.mktemp("task") / "my task.py"
    path.write_text(TASK.format(tests=str(request.config.rootpath / "tests")))
    return path


@pytest.fixture(scope="module")
def tuned(file, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "made" / "tiny"
    result = call("tune", f"{file}:task", "--budget", 8, "--out", out)
    return result, out


def test_tune_says_what_was_found(tuned):
    result, out = tuned
    assert result.exit_code == 0, result.output
    for words in ("validation loss, fresh seeds", "held-out loss", "learning_rate", "untuned Adam"):
        assert words in result.stdout
    assert f"functional-adam report {out}" in result.stdout
    for words in ("untuned Adam, on fresh seeds", "search", "the best again", "held-out loss"):
        assert words in result.stderr
    assert (out / "study.jsonl").is_file()


def test_the_same_out_goes_on_and_json_has_all_digits(tuned, file):
    _, out = tuned
    before = (out / "study.jsonl").read_bytes()
    result = call("tune", f"{file}:task", "--budget", 8, "--out", out, "--json", "-")
    assert result.exit_code == 0, result.output
    assert (out / "study.jsonl").read_bytes() == before
    found = json.loads(result.stdout)
    assert found["task"]["name"] == "tiny"
    assert found["best"]["config"]["learning_rate"] > 0
    assert len(found["untuned"]["losses"]) == 4
    assert found["trainings"] == len([x for x in before.splitlines() if b'"training"' in x])


def test_report_and_code_read_it(tuned, tmp_path):
    _, out = tuned
    result = call("report", out, "--out", tmp_path / "page")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "page" / "report.html").read_text().startswith("<!DOCTYPE html>")
    for framework in ("functional_adam", "optax", "torch"):
        result = call("code", out, "--for", framework)
        assert result.exit_code == 0
        compile(result.stdout, framework, "exec")
    assert call("code", out, "--out", tmp_path / "x.py").exit_code == 0
    assert "functional_adam" in (tmp_path / "x.py").read_text()


def test_compare_makes_a_table(file, tmp_path):
    arguments = ("--strategies", "quasi,halving", "--budgets", "6,8", "--repeats", 2)
    result = call("compare", f"{file}:made", *arguments, "--out", tmp_path, "--markdown", "-")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "| strategy | 6 | 8 | mean over best |"
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| untuned Adam",
        "| quasi",
        "| halving",
        "",
        "Held-out loss over that of quasi on the same seeds, and standard error:",
        "",
        "| strategy",
        "|---|---|---|",
        "| halving",
    ]
    again = call("compare", f"{file}:made", *arguments, "--out", tmp_path, "--json", "-")
    cells = json.loads(again.stdout)
    assert [len(cell["losses"]) for cell in cells] == [2] * 5
    six, other = (np.log(cells[i]["losses"]) for i in (1, 3))
    error = np.exp(np.mean(other - six)) * abs(np.diff(other - six)[0]) / 2
    assert f"| halving | {np.exp(np.mean(other - six)):.3f} ± {error:.3f} |" in lines[-1]
    said = call("compare", f"{file}:made", *arguments, "--out", tmp_path).stdout.splitlines()
    assert lines[-1].split(" | ")[1] in said[-1]


def test_names_are_text_and_json_has_no_nan(file, tmp_path):
    out = tmp_path / "o [bold]x"
    result = call("tune", f"{file}:odd", "--budget", 6, "--out", out)
    assert result.exit_code == 0, result.output
    assert "net[/b] [bold]x" in result.stdout
    assert f"functional-adam report '{out}'" in result.stdout
    again = call("tune", f"{file}:odd", "--budget", 6, "--out", out, "--json", "-")
    found = json.loads(again.stdout, parse_constant=pytest.fail)
    assert found["untuned"]["held_out"] is None
    assert call("compare", f"{file}:odd", "--budgets", 6, "--strategies", "quasi", "--out",
                tmp_path / "c", "--json", tmp_path / "c.json").exit_code == 0  # fmt: skip
    json.loads((tmp_path / "c.json").read_text(), parse_constant=pytest.fail)


def test_losses_below_zero_have_no_ratio(file, tmp_path):
    result = call("compare", f"{file}:low", "--budgets", 6, "--strategies", "quasi,random",
                  "--repeats", 1, "--out", tmp_path, "--markdown", "-")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert sum(line.endswith("| - |") for line in result.stdout.splitlines()) == 3
    one = call("compare", f"{file}:made", "--budgets", 6, "--strategies", "quasi,random",
               "--repeats", 1, "--out", tmp_path / "1", "--markdown", "-")  # fmt: skip
    assert one.stdout.splitlines()[-1].count("±") == 0


def test_any_algorithm_may_be_searched(file):
    _, one = prepared(f"{file}:task", None, None, ["alpha", "algorithm=ademamix"])
    assert one.fixed["algorithm"] == "ademamix"
    assert one["alpha"].default == 5
    _, both = prepared(f"{file}:task", None, None, ["algorithm=adamw,lion", "warmup"])
    assert both["algorithm"].choices == ("adamw", "lion")
    assert "warmup" in both.names


# fmt: off
WRONG = [
    (["tune", "digits"], 2, "TASK digits: must be one of digits-mlp"),
    (["tune", "nowhere.py:task"], 2, "TASK nowhere.py: there is no such file"),
    (["tune", "{file}:nothing"], 2, "has no nothing"),
    (["tune", "{file}:number"], 2, "must be a Task, got int"),
    (["tune", "{file}:broken"], 2, ":broken: RuntimeError: no data here"),
    (["tune", "{file}:nowhere", "--budget", "6"], 1, "12 of them diverged; look for NaN"),
    (["tune", "{file}"], 2, "must be path/to/file.py:name"),
    (["tune", "{file}:bad"], 1, "scalar"),
    (["tune", "{file}:infinite"], 1, "finite"),
    (["tune", "{file}:task", "--budget", "3"], 2, "--budget must be a number of full"),
    (["tune", "{file}:task", "--seconds", "-1"], 2, "--seconds -1: must be a positive number"),
    (["tune", "{file}:task", "--budget", "8", "--seconds", "3"], 2, "give one of them"),
    (["tune", "{file}:task", "--dtype", "int8"], 2, "--dtype int8: must be one of float32"),
    (["tune", "{file}:task", "--strategy", "luck"], 2, "--strategy must be one of auto"),
    (["tune", "{file}:task", "--search", "luck"], 2, "--search: luck: cannot be added by name"),
    (["tune", "{file}:task", "--search", "algorithm=lion,sgd"], 2, "algorithm must be one of"),
    (["tune", "{file}:task", "--search", "algorithm=adamw,lion", "--search", "eps"], 2,
     "--search: eps: cannot be added by name to what lion has"),
    (["tune", "{file}:task", "--search", "algorithm=adamw,nadamw", "--search", "amsgrad"], 2,
     "--search: amsgrad: cannot be added by name to what nadamw has"),
    (["report", "{out}"], 2, "holds no study"),
    (["code", "{out}"], 2, "holds no study"),
    (["code", "{out}", "--for", "keras"], 2, "--for keras: must be one of functional_adam, optax"),
    (["compare", "{file}:task", "--budgets", "many"], 2, "--budgets many: must be numbers"),
    (["compare", "{file}:task", "--budgets", ","], 2, "--budgets ,: must be numbers"),
    (["compare", "{file}:task", "--strategies", ","], 2, "--strategies: name at least one"),
    (["compare", "{file}:task", "--strategies", "luck"], 2, "--strategy must be one of auto"),
    (["compare", "{file}:task", "--budgets", "8,2"], 2, "--budget must be a number of full"),
    (["compare", "{file}:task", "--json", "-", "--markdown", "-"], 2, "two outputs to -"),
]
# fmt: on


@pytest.mark.parametrize(("arguments", "status", "words"), WRONG)
def test_wrong_usage(arguments, status, words, file, tmp_path):
    filled = [a.format(file=file, out=tmp_path) for a in arguments]
    if filled[0] in ("tune", "compare"):
        filled += ["--out", str(tmp_path / "out")]
    result = call(*filled)
    assert result.exit_code == status, result.output
    assert words in result.output.replace("\n", " ")


def test_another_study_in_the_folder_is_refused(tuned, file):
    result = call("tune", f"{file}:made", "--budget", 8, "--out", tuned[1])
    assert result.exit_code == 1
    assert "holds a study with another" in result.output


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--strategy", "luck"), 2, "--strategy must be one of auto"),
        (("--budget", 3), 2, "--budget must be a number"),
        (("--storage", "/nowhere/journal.log"), 1, "storage /nowhere/journal.log: No such file"),
    ],
)
def test_what_all_workers_would_say_is_said_once(options, status, words, file, tmp_path):
    arguments = ("--workers", 3, "--out", tmp_path / "out", *options)
    result = call("tune", f"{file}:task", *arguments)
    assert result.exit_code == status
    assert result.output.startswith(words)
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize("what", [("tune", "digits-mlp"), ("compare", "digits-mlp"), ("report",)])
def test_a_folder_that_cannot_be_written(what, tuned, tmp_path, monkeypatch):
    arguments = [*what, tuned[1]] if what == ("report",) else [*what]
    (tmp_path / "file").touch()
    result = call(*arguments, "--out", tmp_path / "file")
    assert result.exit_code == 2
    assert result.output.endswith("cannot write there: File exists; choose another folder\n")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write anywhere
    result = call(*arguments, "--out", tmp_path)
    assert result.exit_code == 2
    assert result.output.endswith("cannot write there: Permission denied; choose another folder\n")
    if what[0] != "report":
        result = call(*arguments, "--json", tmp_path / "x.json")
        assert f"cannot write {tmp_path / 'x.json'}: Permission denied" in result.output


def test_workers_are_given_the_storage_where_others_cannot_read_it(monkeypatch):
    started = []

    class Started:
        def __init__(self, command, env):
            started.append((command, env))

        def wait(self):
            return 0

    monkeypatch.setattr(processes.subprocess, "Popen", Started)
    url = "postgresql://me:secret@host/name"
    assert processes.run_all(["digits-mlp"], 2, url) == [0, 0]
    assert [env["FUNCTIONAL_ADAM_STORAGE"] for _, env in started] == [url, url]
    assert not any("secret" in word for command, _ in started for word in command)
    assert [("--quiet" in command) for command, _ in started] == [False, True]


def test_quiet_tells_nothing_on_the_way(tuned, file, tmp_path):
    out = tmp_path / "out"
    (out).mkdir()
    (out / "study.jsonl").write_bytes((tuned[1] / "study.jsonl").read_bytes())
    again = ("tune", f"{file}:task", "--budget", 8, "--out", out)
    assert "held-out loss" in call(*again).stderr
    assert call(*again, "--quiet").stderr == ""


@pytest.mark.parametrize("command", ["tune", "compare"])
def test_a_task_that_is_none_leaves_no_folder(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call(command, "nope")
    assert result.exit_code == 2
    assert "TASK nope: must be one of" in result.output
    assert os.listdir(tmp_path) == []
