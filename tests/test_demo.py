"""`functional-adam demo`: what it says and writes, and that it notices a broken optimizer."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest
import torch
import typer
from matplotlib.image import imread
from typer.testing import CliRunner

import functional_adam
import functional_adam_torch.optimizers
from functional_adam import ALGORITHMS
from functional_adam._lift import lift
from functional_adam.cli import demo
from functional_adam.cli._demo import compare, data, files, network, picture, run_jax, verdict
from functional_adam.cli._demo.gap import Gap
from functional_adam.cli._demo.ways import BRIDGE, JAX, TORCH, YARDSTICK

ROOT = Path(__file__).parents[1]
WAYS = {"torch_optim", "torch_bridge", "jax", "one_ulp_away"}

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
app.command()(demo.demo)


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def results(out):
    return json.loads((out / "demo.json").read_text())


def without_rates(content):
    if isinstance(content, dict):
        pairs = ((k, without_rates(v)) for k, v in content.items() if k != "steps_per_second")
        return dict(pairs)
    return content


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "made" / "for it"
    arguments = ("--optimizer", "adam", "--optimizer", "nadam", "--steps", 60, "--out", out)
    return call(*arguments), out


def test_the_table_names_every_optimizer_and_every_way(ran):
    result, _ = ran
    assert result.exit_code == 0, result.output
    for word in ("adam", "nadam", "torch.optim", "torch bridge", "JAX", "1 ulp away", "steps/s"):
        assert word in result.stdout
    lines = [line for line in result.stderr.splitlines() if line]
    assert [line.split(":")[0] for line in lines] == ["adam", "nadam"]
    assert all("parity holds (same gradients: torch bridge 0 ulp" in line for line in lines)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_figure_is_cut_on_a_narrow_terminal(width, tmp_path, monkeypatch):
    """One table where there is room, two where there is not."""
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", str(width))):
        monkeypatch.setenv(name, value)
    result = call("--optimizer", "nadam", "--steps", 9, "--out", tmp_path)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", result.stdout)
    assert "…" not in shown
    assert ("steps/s" in shown) == (width == 200)
    if width > 40:
        lines = [line for line in shown.splitlines() if not line.startswith("written: ")]
        assert max(map(len, lines)) <= width
    for run in results(tmp_path)["optimizers"]["nadam"]["runs"].values():
        assert f" {run['validation_loss']:.6f} " in shown


def test_the_json_holds_every_field(ran):
    _, out = ran
    content = results(out)
    assert (content["steps"], content["dtype"], content["seed"]) == (60, "float32", 0)
    assert content["versions"]["torch"] == torch.__version__
    assert content["versions"]["jax"] == jax.__version__
    assert list(content["optimizers"]) == ["adam", "nadam"]
    for row in content["optimizers"].values():
        assert row["parity"] is True
        assert row["broken"] == []
        assert row["runs"].keys() == WAYS
        for run in row["runs"].values():
            assert 0 < run["train_loss"] < 2.3
            assert 0 < run["validation_loss"] < 2.3
            assert 0.5 < run["test_accuracy"] <= 1
            assert run["steps_per_second"] > 0
        assert row["same_gradients"].keys() == {"torch_bridge", "jax"}
        assert row["same_gradients"]["torch_bridge"] == dict(ulp=0, relative=0, moments_ulp=0)
        assert row["own_gradients"].keys() == WAYS - {"torch_optim"}
        assert row["own_gradients"]["torch_bridge"] == dict(ulp=0, relative=0, validation_loss=0)
        for gap in (row["own_gradients"]["jax"], row["own_gradients"]["one_ulp_away"]):
            assert 0 < gap["relative"] < 1e-4 < gap["ulp"]
        assert row["same_gradients"]["jax"]["ulp"] <= row["bounds"]["same_gradients_ulp"]
        assert (
            row["bounds"]["own_gradients_ulp"] == 64 * row["own_gradients"]["one_ulp_away"]["ulp"]
        )
        assert row["bounds"]["own_gradients_validation_loss"] > 0
    adam = content["optimizers"]["adam"]
    assert adam["torch"] == "torch.optim.Adam"
    assert adam["hyperparameters"] == dict(
        learning_rate=1e-3, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0
    )
    assert adam["bounds"]["same_gradients_ulp"] == 12


def test_the_picture_is_one_png_for_all_and_nothing_else_is_left(ran):
    _, out = ran
    assert sorted(path.name for path in out.iterdir()) == ["demo.json", "demo.png"]
    assert (out / "demo.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    height, width, _ = imread(out / "demo.png").shape
    assert 1500 < width < 2500
    assert 1000 < height < 2500
    assert len(np.unique(imread(out / "demo.png")[..., 0])) > 100


def test_the_seed_decides_every_figure(tmp_path):
    outs = [tmp_path / name for name in ("first", "second")]
    for out in outs:
        result = call("--optimizer", "adamax", "--steps", 12, "--out", out, "--seed", 3)
        assert result.exit_code == 0, result.output
    first, second = (without_rates(results(out)) for out in outs)
    assert first == second
    assert first["seed"] == 3
    first, second = ((out / "demo.png").read_bytes() for out in outs)
    assert first == second


def test_another_seed_is_another_experiment():
    for make in (
        lambda seed: data.load(seed).test.y,
        lambda seed: data.batches(seed, 1),
        lambda seed: network.initial_weights(seed, "float32"),
        lambda seed: network.one_ulp_away(np.ones(99), seed),
    ):
        assert np.array_equal(make(3), make(3))
        assert not np.array_equal(make(3), make(4))


def test_float64_is_float64_and_leaves_the_settings_alone(tmp_path):
    before = torch.get_default_dtype(), torch.get_num_threads(), jax.config.jax_enable_x64
    arguments = ("--optimizer", "adamw", "--steps", 12, "--dtype", "float64", "--out", tmp_path)
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    row = results(tmp_path)["optimizers"]["adamw"]
    assert row["hyperparameters"]["weight_decay"] == 1e-2
    assert 0 < row["own_gradients"]["jax"]["relative"] < 1e-12
    after = torch.get_default_dtype(), torch.get_num_threads(), jax.config.jax_enable_x64
    assert after == before


def uncorrected(t, h, scalars):
    k = ALGORITHMS["adam"].rule.coefficients(t, h, scalars)
    return k._replace(sqrt_c2=1.0, neg_step=-h.learning_rate)


def eps_before_correction(ops, u, g, m, v, k):
    m = ops.lerp_(m, g, k.one_minus_b1)
    v = ops.addcmul_(ops.mul_(v, k.b2), g, g, k.one_minus_b2)
    denominator = ops.div_(ops.add_(ops.sqrt(v), k.eps), k.sqrt_c2)
    return ops.addcdiv_(u, m, denominator, k.neg_step), m, v


def other_moment(ops, u, g, m, v, k):
    u, m, v = ALGORITHMS["adam"].rule.step(ops, u, g, m, v, k)
    return u, ops.mul_(m, k.b2), v


def table_with(rule):
    def adam(learning_rate, *, b1, b2, eps, weight_decay):
        hyperparameters = dict(
            learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay
        )
        return lift(rule, hyperparameters, decay="coupled")

    row = dataclasses.replace(ALGORITHMS["adam"], make=adam, rule=rule)
    return {**ALGORITHMS, "adam": row}


@pytest.mark.parametrize(
    ("side", "change"),
    [
        ("JAX", dict(coefficients=uncorrected)),
        ("JAX", dict(step=eps_before_correction)),
        ("torch bridge", dict(coefficients=uncorrected)),
        ("torch bridge", dict(step=other_moment)),
    ],
    ids=["JAX, no bias correction", "JAX, eps moved", "bridge, no bias correction", "bridge, m"],
)
def test_a_broken_rule_is_noticed_and_named(monkeypatch, tmp_path, side, change):
    rule = dataclasses.replace(ALGORITHMS["adam"].rule, **change)
    place = functional_adam if side == "JAX" else functional_adam_torch.optimizers
    monkeypatch.setattr(place, "ALGORITHMS", table_with(rule))
    result = call("--optimizer", "adam", "--steps", 12, "--out", tmp_path)
    assert result.exit_code == 1, result.output
    figure = rf"adam: same gradients, {side}, (parameters|moments): \S+ ulp of max\|.\|, bound \S+"
    assert re.search(f"parity is broken: {figure}", result.stderr)
    assert "adam BROKEN" in result.stdout
    row = results(tmp_path)["optimizers"]["adam"]
    assert row["parity"] is False
    assert row["broken"]
    assert (tmp_path / "demo.png").exists()


def test_optax_itself_is_outside_the_bound(monkeypatch, tmp_path):
    def adam(learning_rate, *, b1, b2, eps, weight_decay):
        theirs = optax.scale_by_adam(b1, b2, eps)

        def update(gradients, state, params):
            updates, state = theirs.update(gradients, state, params)
            return jax.tree.map(lambda u: -learning_rate * u, updates), state

        return optax.GradientTransformation(theirs.init, update)

    row = dataclasses.replace(ALGORITHMS["adam"], make=adam)
    monkeypatch.setattr(functional_adam, "ALGORITHMS", {**ALGORITHMS, "adam": row})
    result = call("--optimizer", "adam", "--steps", 200, "--out", tmp_path)
    assert result.exit_code == 1, result.output
    assert "same gradients, JAX, parameters" in result.stderr


def test_gradients_of_another_loss_are_noticed(monkeypatch, tmp_path):
    honest = run_jax.own_gradients

    def wrong(split, dtype):
        gradients = honest(split, dtype)
        return lambda parameters, batch: jax.tree.map(
            lambda g: g + 1e-5, gradients(parameters, batch)
        )

    monkeypatch.setattr(run_jax, "own_gradients", wrong)
    result = call("--optimizer", "adam", "--steps", 12, "--out", tmp_path)
    assert result.exit_code == 1, result.output
    assert "own gradients, JAX, parameters" in result.stderr
    assert "same gradients" not in result.stderr.split("parity is broken:", 1)[1]


def test_a_rule_that_gives_nan_is_broken_and_still_written(monkeypatch, tmp_path):
    def step(ops, u, g, m, v, k):
        return u + math.nan, m, v

    rule = dataclasses.replace(ALGORITHMS["adam"].rule, step=step)
    monkeypatch.setattr(functional_adam, "ALGORITHMS", table_with(rule))
    arguments = ("--optimizer", "adamax", "--optimizer", "adam", "--steps", 3, "--out", tmp_path)
    result = call(*arguments)
    assert result.exit_code == 1, result.output
    assert "adam: same gradients, JAX, parameters: nan ulp" in result.stderr
    assert "parity is broken: adamax" not in result.stderr
    rows = results(tmp_path)["optimizers"]
    assert rows["adam"]["same_gradients"]["jax"]["ulp"] is None
    assert [row["parity"] for row in rows.values()] == [True, False]
    assert (tmp_path / "demo.png").exists()


USAGE = [
    (("--optimizer", "adan"), r"--optimizer adan: unknown; there are adam, adamw, .*, adamax"),
    (("--dtype", "float8"), r"--dtype float8: must be one of float32, float64"),
    (("--dtype", "bfloat16"), r"bfloat16: .* differ on purpose\. Use float32; .* forward pass"),
    (("--dtype", "float16"), r"float16: .* differ on purpose\. Use float32; .* forward pass"),
    (("--steps", "0"), r"--steps"),
    (("--out", __file__), r"--out .*test_demo.py: cannot write there: .* is a file, not a folder"),
    (("--out", f"{__file__}/x"), r"--out .*test_demo.py/x: cannot write there: .*Not a directory"),
]


@pytest.mark.parametrize(("arguments", "message"), USAGE, ids=lambda x: str(x)[-30:])
def test_wrong_usage_is_said_before_any_work(monkeypatch, arguments, message):
    monkeypatch.setattr(demo, "_train", None)
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert re.search(message, result.stderr)


def test_a_folder_without_permission_is_said_before_any_work(monkeypatch, tmp_path):
    def refuse(**_):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(demo, "_train", None)
    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)
    result = call("--out", tmp_path)
    assert result.exit_code == 2, result.output
    assert re.search(r"cannot write there: .*Permission denied", result.stderr)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_said_before_any_work(monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "_train", None)
    tmp_path.chmod(0o500)
    result = call("--out", tmp_path)
    assert result.exit_code == 2, result.output
    assert "Permission denied" in result.stderr


def test_a_full_disk_is_said(monkeypatch, ran, tmp_path):
    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(files, "write", full)
    result = call("--optimizer", "adamax", "--steps", 1, "--out", tmp_path)
    assert result.exit_code == 2, result.output
    assert "No space left on device" in result.stderr


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    find = importlib.util.find_spec
    missing = ("torch", "sklearn")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in missing else find(name)
    )
    result = call("--out", tmp_path)
    assert result.exit_code == 2, result.output
    assert "torch, sklearn: pip install 'functional_adam[cli,torch]'" in result.stderr


def test_ctrl_c_leaves_no_half_of_a_file(tmp_path):
    # A shell that runs the tests in the background has them ignore interrupts; so would the child.
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "import typer; from functional_adam.cli.demo import demo; typer.run(demo)"
    )
    arguments = ["--optimizer", "adamax", "--optimizer", "adam", "--steps", "300"]
    path = os.pathsep.join([str(ROOT), str(ROOT / "bridges")])
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, *arguments, "--out", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("adamax: parity holds")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "interrupted: no file is left half-written\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, OSError])
def test_a_write_that_fails_leaves_the_old_file(monkeypatch, tmp_path, interrupt):
    def fail(*_):
        raise interrupt

    path = tmp_path / "demo.json"
    files.write(path, b"old")
    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(interrupt):
        files.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_splits_are_disjoint_and_the_batches_are_epochs():
    digits = data.load(0)
    assert [len(split.y) for split in digits] == [1197, 300, 300]
    rows = np.concatenate([split.x for split in digits])
    assert len(np.unique(rows, axis=0)) == len(rows)
    np.testing.assert_allclose(digits.train.x.mean(axis=0), 0, atol=1e-12)
    blank = np.ptp(digits.train.x, axis=0) == 0
    assert blank.sum() >= 3
    np.testing.assert_allclose(digits.train.x.std(axis=0)[~blank], 1)
    batches = data.batches(0, 40)
    assert batches.shape == (40, 64)
    for start, end in itertools.pairwise((0, 18, 36)):
        assert len(np.unique(batches[start:end])) == 18 * 64


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_neighbours_are_one_ulp_away(dtype):
    start = network.initial_weights(0, dtype)
    neighbour = network.one_ulp_away(start, 0)
    assert neighbour.dtype == start.dtype == dtype
    np.testing.assert_array_equal(start != neighbour, True)
    towards = np.where(neighbour > start, np.inf, -np.inf).astype(dtype)
    np.testing.assert_array_equal(np.nextafter(start, towards), neighbour)
    assert 0.4 < (neighbour > start).mean() < 0.6


def test_the_loss_is_that_of_torch():
    split = data.load(0).validation
    flat = network.initial_weights(1, "float64")
    x = torch.from_numpy(split.x)
    *hidden, last = network.layers(torch.from_numpy(flat))
    for w, b in hidden:
        x = torch.tanh(torch.nn.functional.linear(x, w, b))
    z = torch.nn.functional.linear(x, *last)
    y = torch.from_numpy(split.y)
    loss, accuracy = network.loss_and_accuracy(flat, split)
    assert loss == pytest.approx(torch.nn.functional.cross_entropy(z, y).item(), rel=1e-13)
    assert accuracy == (z.argmax(1) == y).double().mean().item()


def test_the_figures_of_a_gap():
    start = np.float32([0.0, 1.0])
    theirs = np.float32([[0.5, 1.0], [0.25, 2.0]])
    ours = theirs + np.float32([[2**-23, 0], [0, -(2**-20)]])
    gap = Gap()
    for a, b in zip(ours, theirs, strict=True):
        gap.record(a[None], b[None], start)
    np.testing.assert_array_equal(gap.differences, [2**-23, 2**-20])
    assert gap.ulp == 2**-20 / 2**-22
    assert gap.relative == 2**-20 / 1.0
    gap.record_moments([np.float32([1, 3])], [np.float32([1, 2])])
    assert gap.moments_ulp == 2**22


def figures(name="adam", steps=100, **changes):
    values = dict(ulp=1.0, moments_ulp=0.0, validation_loss=1e-9)
    zero = dict(ulp=0.0, moments_ulp=0.0, validation_loss=0.0)
    gaps = {
        "same": {BRIDGE: dict(zero), JAX: dict(values)},
        "own": {BRIDGE: dict(zero), JAX: dict(values), YARDSTICK: dict(values)},
    }
    for key, value in changes.items():
        kind, way, field = key.split("__")
        gaps[kind][{"bridge": BRIDGE, "jax": JAX}[way]][field] = value
    return SimpleNamespace(
        algorithm=SimpleNamespace(name=name),
        steps=steps,
        curves={YARDSTICK: [2.0, 1.0]},
        **{k: {way: SimpleNamespace(**gap) for way, gap in v.items()} for k, v in gaps.items()},
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(same__bridge__ulp=0.5), "same gradients, torch bridge, parameters: 0.5 ulp"),
        (dict(same__bridge__moments_ulp=0.5), "same gradients, torch bridge, moments: 0.5 ulp"),
        (
            dict(same__jax__ulp=12.5),
            "same gradients, JAX, parameters: 12.5 ulp of max|p|, bound 12",
        ),
        (dict(same__jax__moments_ulp=13.0), "same gradients, JAX, moments: 13 ulp"),
        (dict(own__bridge__ulp=1.0), "own gradients, torch bridge, parameters: 1 ulp"),
        (dict(own__jax__ulp=65.0), "own gradients, JAX, parameters: 65 ulp of max|p|, bound 64"),
        (dict(own__jax__validation_loss=1e-7), "validation loss: 1e-07 nats, bound 6.4e-08 nats"),
        (dict(same__jax__ulp=math.nan), "same gradients, JAX, parameters: nan ulp"),
        (dict(same__jax__moments_ulp=None), "same gradients, JAX, moments: not measured"),
    ],
    ids=lambda x: "" if isinstance(x, str) else next(iter(x)),
)
def test_each_figure_has_its_bound(change, message):
    assert verdict.broken(figures()) == []
    (line,) = verdict.broken(figures(**change))
    assert line.startswith("adam: ")
    assert message in line


def test_every_algorithm_has_the_same_bound():
    for name in ("adam", "nadam"):
        assert verdict.broken(figures(name, steps=1000, same__jax__ulp=12.0)) == []
        assert len(verdict.broken(figures(name, steps=1000, same__jax__ulp=13.0))) == 1


def test_a_last_shorter_chunk_is_compared_too(monkeypatch):
    monkeypatch.setattr(compare, "POINTS", 17)
    steps = compare.CHUNK + 1
    digits = data.load(0)
    start = network.initial_weights(0, "float32")
    batches = data.batches(0, steps)
    setup = compare.Setup(digits, start, network.one_ulp_away(start, 0), batches)
    told = []
    comparison = compare.compare(ALGORITHMS["adamax"], setup, told.append)
    assert sum(told) == steps
    assert comparison.ulps.shape == (steps,)
    assert comparison.marks == list(range(0, 52, 3))
    for way in (TORCH, BRIDGE, JAX, YARDSTICK):
        assert len(comparison.curves[way]) == len(comparison.marks)
    for gap in (*comparison.own.values(), *comparison.same.values()):
        assert gap.differences.shape == (steps,)
    last = comparison.endings[TORCH].validation_loss
    assert comparison.curves[TORCH][-1] == last
    assert comparison.curves[TORCH][0] == network.loss_and_accuracy(start, digits.validation)[0]


def test_the_picture_does_not_claim_what_is_broken():
    assert "the same numbers" in picture._title([figures(), figures("nadam")])
    title = picture._title([figures(), figures("nadam", same__bridge__ulp=1.0)])
    assert title == "Parity of JAX and PyTorch is broken: nadam"
