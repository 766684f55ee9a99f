"""`functional-adam convert`: round trips of every format, refusals, and no half-written file."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
import safetensors.torch
import torch
from cases import assert_equal
from test_convert import KINDS, _bits, _groups, _held_up, _parameters, _train
from typer.testing import CliRunner

import functional_adam as fa
import functional_adam_torch as ft
from functional_adam.cli._convert.atomic import replacing
from functional_adam.cli.app import app
from functional_adam_torch.moving._tensors import to_tensor

ATOMIC = Path(__file__).parent.parent / "functional_adam" / "cli" / "_convert" / "atomic.py"
# orbax keeps no array without elements.
FULL = ("a.weight", "a.bias", "scale")


def run(*arguments, status=0):
    done = CliRunner().invoke(app, ["convert", *map(str, arguments)])
    assert done.exit_code == status, (done.output, done.exception)
    return done.output


def checkpoint(path, name="AdamW", options=(), dtype=torch.float32, named=True, **more):
    parameters = {key: p for key, p in _parameters(dtype).items() if key in FULL}
    optimizer = getattr(torch.optim, name)(
        _groups(parameters), lr=torch.tensor(1e-2), foreach=False, **dict(options)
    )
    if named:
        first, *others = parameters
        for group, own in zip(optimizer.param_groups, ([first], others), strict=True):
            group["param_names"] = own
    _train(optimizer, parameters, range(4), _held_up)
    model = {key: p.detach() for key, p in parameters.items()} | {"buffer": torch.arange(3.0)}
    held = {"model": model, "optimizer": optimizer.state_dict()} | more
    torch.save(held, path)
    return held


def same(a, b):
    """Checkpoints: keys, types and every bit."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert type(a) is type(b)
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert _bits(a) == _bits(b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64])
@pytest.mark.filterwarnings("ignore::functional_adam.PrecisionWarning")
def test_torch_to_safetensors_to_orbax_to_torch(tmp_path, dtype):
    (tmp_path / "names").write_text("\n".join(FULL))
    for algorithm, name, options in KINDS:
        if dtype != torch.float32 and algorithm not in ("amsgradw", "nadam"):
            continue
        a, b, c, d = (tmp_path / f"{algorithm}{end}" for end in (".pt", ".safetensors", "", ".pth"))
        named = algorithm != "nadam"
        held = checkpoint(a, name, options, dtype, named)
        names = () if named else ("--names", tmp_path / "names")
        run(a, b, "--transpose", "a.*", *names)
        turned = safetensors.torch.load_file(b)["state/a.weight/mu"]
        assert _bits(turned.T) == _bits(held["optimizer"]["state"][0]["exp_avg"])
        run(b, c)
        run(c, d)
        same(torch.load(d, weights_only=True), held)


def test_an_orbax_directory_resumes_under_functional_adam(tmp_path):
    """What is written is the state that `to_jax`'s transformation makes."""
    held = checkpoint(tmp_path / "a.pt", "NAdam", named=True, epoch=3)
    output = run(tmp_path / "a.pt", tmp_path / "b")
    assert "not carried over: epoch" in output
    with ocp.StandardCheckpointer() as checkpointer:
        tree = checkpointer.restore((tmp_path / "b").absolute())
    parts = tree["state"]["inner_states"]
    assert sorted(parts) == ["frozen", "group0", "group1_0", "group1_1"]
    own = parts["group1_1"]["inner_state"]
    theirs = held["optimizer"]["state"][1]
    assert int(own["count"]) == int(theirs["step"]) == 3
    assert float(own["mu_product"]) == float(theirs["mu_product"])
    np.testing.assert_array_equal(own["nu"]["a"]["bias"], theirs["exp_avg_sq"])
    np.testing.assert_array_equal(tree["params"]["buffer"], np.arange(3.0))


@pytest.mark.parametrize("algorithm", ["adam", "adamw", "radam", "adamax"])
def test_an_optax_checkpoint_goes_on_in_torch_and_back(tmp_path, algorithm):
    """A chain of optax, saved by orbax alone, becomes a torch checkpoint and then itself again."""
    params = {"dense": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}}
    own = {"weight_decay": 0.1} if algorithm == "adamw" else {}
    tx = getattr(optax, algorithm)(1e-2, **own)
    state = tx.init(params)
    for i in range(3):
        g = jax.tree.map(lambda p, i=i: jnp.sin(p + i), params)
        updates, state = tx.update(g, state, params)
        params = optax.apply_updates(params, updates)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save((tmp_path / "a").absolute(), {"params": params, "opt_state": state})
    (tmp_path / "names").write_text(
        json.dumps({"dense.kernel": "0.weight", "dense.bias": "0.bias"})
    )
    options = ["--option", "lr=0.01", "--option", "betas=[0.9, 0.999]"]
    options += ["--option", "weight_decay=0.1"] if own else []
    run(tmp_path / "a", tmp_path / "b.pt", "--algorithm", algorithm, "--transpose", "*.kernel",
        "--names", tmp_path / "names", *options)  # fmt: skip
    held = torch.load(tmp_path / "b.pt", weights_only=True)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2))
    model.load_state_dict(held["model"])
    optimizer = getattr(torch.optim, fa.ALGORITHMS[algorithm].torch_class)(
        model.named_parameters(), lr=1.0
    )
    optimizer.load_state_dict(held["optimizer"])
    assert optimizer.param_groups[0]["lr"] == 0.01
    entry = optimizer.state[model[0].weight]
    assert int(entry["step"]) == 3
    np.testing.assert_array_equal(
        entry["exp_avg"].T, optax.tree.get(state, "mu")["dense"]["kernel"]
    )
    back = {new: old for old, new in json.loads((tmp_path / "names").read_text()).items()}
    (tmp_path / "back").write_text(json.dumps(back))
    run(tmp_path / "b.pt", tmp_path / "c", "--structure", "optax", "--transpose", "*.weight",
        "--names", tmp_path / "back")  # fmt: skip
    with ocp.StandardCheckpointer() as checkpointer:
        again = checkpointer.restore(
            (tmp_path / "c").absolute(), {"params": params, "state": tx.init(params)}
        )
    for x, y in zip(jax.tree.leaves(again), jax.tree.leaves((params, state)), strict=True):
        np.testing.assert_array_equal(x, y)
    assert jax.tree.structure(again["state"]) == jax.tree.structure(state)


def _broken(path):
    """A checkpoint of each kind of fault, by name."""
    held = checkpoint(path / "good.pt")
    bare = held["optimizer"]

    def altered(**changes):
        entry = {**held["optimizer"]["state"][0], **changes}
        state = {**held["optimizer"]["state"], 0: {k: v for k, v in entry.items() if v is not None}}
        return {"model": held["model"], "optimizer": {**bare, "state": state}}

    def without(key):
        groups = [{k: v for k, v in g.items() if k != key} for g in bare["param_groups"]]
        return {"model": held["model"], "optimizer": {**bare, "param_groups": groups}}

    model = {key: x for key, x in held["model"].items() if key != "scale"}
    files = {
        "no_moment": altered(exp_avg=None),
        "extra_moment": altered(momentum_buffer=torch.ones(5, 7)),
        "shape": altered(exp_avg=torch.ones(7, 5)),
        "shape_of_nu": altered(exp_avg_sq=torch.ones(4, 4)),
        "integers": altered(exp_avg_sq=torch.ones(5, 7).long()),
        "strays": {
            "model": held["model"],
            "optimizer": bare | {"state": {str(i): x for i, x in bare["state"].items()}},
        },
        "no_params": without("params"),
        "betas": {
            "model": held["model"],
            "optimizer": bare
            | {
                "param_groups": [
                    bare["param_groups"][0],
                    {**bare["param_groups"][1], "betas": None},
                ]
            },
        },
        "fraction": altered(step=torch.tensor(2.5)),
        "nameless": without("param_names"),
        "old": without("decoupled_weight_decay"),
        "no_parameter": {"model": model, "optimizer": bare},
        "only_model": {"weights": held["model"]},
        "objects": {"model": held["model"], "optimizer": bare, "config": Path("x")},
    }
    for name, contents in files.items():
        torch.save(contents, path / f"{name}.pt")
    (path / "garbage.pt").write_bytes(b"garbage" * 99)
    (path / "hello.pt").write_bytes(b"hello" * 99)
    (path / "full").mkdir()
    (path / "full" / "thesis.tex").write_text("precious")
    (path / "dangling.pt").symlink_to("nowhere")
    (path / "cut.pt").write_bytes((path / "good.pt").read_bytes()[:1500])
    (path / "pickle.pt").write_bytes(pickle.dumps({"a": Path("x")}, protocol=2))
    (path / "garbage.safetensors").write_bytes(b"garbage" * 99)
    safetensors.torch.save_file(dict(model), path / "weights.safetensors")
    (path / "two.names").write_text("a\nb\n")
    (path / "folder").mkdir()
    (path / "there.safetensors").write_text("precious")


REFUSALS = [
    # arguments, exit status, what is said
    ("no_moment.pt x", 1, r"state of a\.weight is not that of adamw: exp_avg is missing"),
    ("extra_moment.pt x", 1, r"momentum_buffer is extra"),
    ("shape.pt x", 1, r"shape: a\.weight is \(7, 5\), must be \(5, 7\)"),
    ("fraction.pt x", 1, r"step of a\.weight must be a whole number in \[0, 2\*\*31\), got 2\.5"),
    ("nameless.pt x", 1, r"does not name its parameters: pass --names FILE"),
    ("nameless.pt x --names two.names", 1, r"has 3 parameters, but there are 2 different names"),
    ("nameless.pt x --names model", 1, r"has 3 parameters, but there are 4 different names"),
    ("nameless.pt x --names none.names", 2, r"--names \S*none\.names: cannot be read"),
    ("old.pt x", 1, r"does not say by which class it was made: pass --algorithm"),
    ("no_parameter.pt x", 1, r"missing: scale"),
    ("only_model.pt x", 1, r"found no optimizer's state: pass --optimizer-key; there are weights"),
    ("good.pt x --optimizer-key a.b", 1, r"--optimizer-key a\.b: there is no 'a'"),
    ("objects.pt x", 1, r"is refused: .*could run code \(.*Path.*\)\. Save state_dicts"),
    ("garbage.pt x", 1, r"is refused: it is not a torch checkpoint"),
    ("pickle.pt x", 1, r"is refused: .*could run code"),
    ("cut.pt x", 1, r"is not a torch checkpoint: PytorchStreamReader failed"),
    ("garbage.safetensors x", 1, r"is not a safetensors file"),
    ("weights.safetensors x", 1, r"holds no optimizer"),
    ("folder x", 1, r"is not an orbax checkpoint"),
    ("good.pt x --algorithm sgd", 2, r"--algorithm sgd: must be one of adam, adamw"),
    (
        "good.pt x --algorithm nadam",
        2,
        r"--algorithm nadam: group 0 of SOURCE says that it is adamw",
    ),
    ("good.pt x --option lr=5", 2, r"--option lr: SOURCE has its own"),
    ("shape_of_nu.pt x", 1, r"shape: nu of a\.weight is \(4, 4\), must be \(5, 7\)"),
    ("integers.pt x", 1, r"dtype: nu of a\.weight is int64, must be floating"),
    ("strays.pt x", 1, r"(?s)entries that belong to no parameter of its groups:\s+'0'\s+'1'"),
    ("no_params.pt x", 1, r"found no optimizer's state"),
    ("betas.pt x", 1, r"options of group 1 are damaged: .*NoneType"),
    ("hello.pt x", 1, r"hello\.pt is not a torch checkpoint: 101 \(KeyError\)"),
    ("good.pt full --force", 2, r"full is a folder with other things in it"),
    ("good.pt dangling.pt", 2, r"dangling\.pt exists: --force replaces it"),
    ("good.pt x --transpose q*", 2, r"--transpose q\*: no parameter has such a name"),
    ("good.pt x --transpose scale=1,0", 2, r"\(1, 0\) does not permute scale of shape \(\)"),
    ("good.pt x --transpose a*=b", 2, r"axes must be numbers"),
    ("good.pt x --option lr", 2, r"--option lr: must be NAME=VALUE"),
    ("good.pt there.safetensors", 2, r"there\.safetensors exists: --force replaces it"),
    ("good.pt good.pt --force", 2, r"is SOURCE"),
    ("good.pt x.npz", 2, r"must end in \.pt"),
    ("none.pt x", 2, r"there is no such file"),
    ("good.pt no/x", 2, r"its folder does not exist"),
]


def test_refusals_name_what_is_wrong_and_write_nothing(tmp_path, monkeypatch):
    _broken(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    for arguments, status, said in REFUSALS:
        output = run(*arguments.split(), status=status)
        assert re.search(said, output), (arguments, output)
        assert "Traceback" not in output
        assert sorted(tmp_path.iterdir()) == before, arguments
    assert (tmp_path / "there.safetensors").read_text() == "precious"
    assert (tmp_path / "full" / "thesis.tex").read_text() == "precious"
    run("good.pt", "there.safetensors", "--force")
    run("there.safetensors", "folder", "--force")
    assert sorted(tmp_path.iterdir()) == before
    held = torch.load("good.pt", weights_only=True)
    run("folder", "back.pt")
    same(torch.load("back.pt", weights_only=True), held)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_kill_leaves_the_target_whole(tmp_path, kind):
    """Killed while it writes, and between the two renames of a folder."""
    target = tmp_path / "target"
    if kind == "file":
        target.write_text("old")
    else:
        target.mkdir()
        (target / "a").write_text("old")
    moments = ("write",) if kind == "file" else ("write", "os.replace")
    for moment in moments:
        code = f"""
            import os, runpy, signal
            from pathlib import Path
            def die(*_):
                os.kill(os.getpid(), signal.SIGKILL)
            replacing = runpy.run_path({str(ATOMIC)!r})["replacing"]
            if {moment!r} == "os.replace":
                os.replace = die
            with replacing(Path({str(target)!r}), force=True) as part:
                if {kind!r} == "folder":
                    part.mkdir()
                    part = part / "a"
                part.write_text("half")
                if {moment!r} == "write":
                    die()
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], check=False, timeout=60
        )
        assert done.returncode == -signal.SIGKILL
        if moment == "write":
            kept = target if kind == "file" else target / "a"
        else:
            (kept,) = tmp_path.glob(".target.*.old/a")
        assert kept.read_text() == "old"


def _write_late(target):
    with replacing(target, force=False) as part:
        part.write_text("new")
        target.write_text("precious")


def test_a_target_that_appears_meanwhile_is_not_replaced(tmp_path):
    with pytest.raises(FileExistsError, match="is there by now"):
        _write_late(tmp_path / "target")
    assert (tmp_path / "target").read_text() == "precious"
    assert os.listdir(tmp_path) == ["target"]


@pytest.mark.parametrize("package", ["safetensors", "orbax"])
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, package):
    torch.save({}, tmp_path / "a.pt")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == package else find(n, *a)
    )
    target = tmp_path / ("b.safetensors" if package == "safetensors" else "b")
    output = run(tmp_path / "a.pt", target, status=2)
    assert f"this command needs {package}: pip install 'functional_adam[convert]'" in output


class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(5, 3)
        self.head = torch.nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x):
        return self.head(self.embedding(x))


@pytest.mark.parametrize("first", ["embedding", "head"])
def test_tied_weights_stay_one(tmp_path, first):
    """A change of the one leaf in JAX reaches every name on the way back."""
    torch.manual_seed(0)
    model = Tied()
    optimizer = torch.optim.AdamW([(f"{first}.weight", model.head.weight)], lr=1e-2)
    model(torch.arange(5)).square().sum().backward()
    optimizer.step()
    torch.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "a.pt"
    )
    run(tmp_path / "a.pt", tmp_path / "b.safetensors", "--transpose", f"{first}.*")
    run(tmp_path / "b.safetensors", tmp_path / "c")
    with ocp.StandardCheckpointer() as checkpointer:
        params = checkpointer.restore((tmp_path / "c").absolute())["params"]
    assert list(params) == [first]
    held = safetensors.torch.load_file(tmp_path / "b.safetensors")
    with safetensors.safe_open(tmp_path / "b.safetensors", framework="pt") as file:
        metadata = file.metadata()
    held[f"params/{first}.weight"] = held[f"params/{first}.weight"] + 1
    safetensors.torch.save_file(held, tmp_path / "d.safetensors", metadata)
    run(tmp_path / "d.safetensors", tmp_path / "e.pt")
    again = Tied()
    again.load_state_dict(torch.load(tmp_path / "e.pt", weights_only=True)["model"])
    torch.testing.assert_close(again.head.weight, model.head.weight + 1)
    run(tmp_path / "c", tmp_path / "f.pt")
    found = torch.load(tmp_path / "f.pt", weights_only=True)
    same(found["model"], dict(model.state_dict()))
    same(found["optimizer"], optimizer.state_dict())


def test_what_a_module_keeps_beside_tensors_is_named_and_the_tensors_are_kept(tmp_path):
    held = checkpoint(tmp_path / "a.pt")
    torch.save(held | {"model": held["model"] | {"_extra_state": {"a": 1}}}, tmp_path / "b.pt")
    output = run(tmp_path / "b.pt", tmp_path / "c.safetensors")
    assert "not carried over: model._extra_state" in output
    assert "params/buffer" in safetensors.torch.load_file(tmp_path / "c.safetensors")


def test_names_with_the_mark_of_another_editor(tmp_path):
    held = checkpoint(tmp_path / "a.pt", named=False)
    (tmp_path / "names").write_text("\n".join(FULL), encoding="utf-8-sig")
    run(tmp_path / "a.pt", tmp_path / "b.safetensors", "--names", tmp_path / "names")
    run(tmp_path / "b.safetensors", tmp_path / "c.pt")
    same(torch.load(tmp_path / "c.pt", weights_only=True), held)


def _saved_by_orbax(path, tx, params, **more):
    state = tx.init(params)
    for i in range(3):
        g = jax.tree.map(lambda p, i=i: jnp.sin(p + i).astype(p.dtype), params)
        updates, state = tx.update(g, state, params)
        params = optax.apply_updates(params, updates)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), {"params": params, "opt_state": state} | more)
    return params, state


@pytest.mark.parametrize(("bits", "moments"), [(32, "float32"), (24, "bfloat16"), (16, "int8")])
def test_masters_and_moments_in_few_bits_that_orbax_saved_alone(tmp_path, bits, moments):
    params = {"kernel": jnp.ones((64, 64), jnp.bfloat16), "bias": jnp.ones(64, jnp.bfloat16)}
    tx = fa.with_master(fa.adam(1e-3, moments=moments), bits=bits)
    params, state = _saved_by_orbax(tmp_path / "a", tx, params)
    (tmp_path / "names").write_text("kernel\nbias\n")
    run(tmp_path / "a", tmp_path / "b.pt", "--algorithm", "adam", "--option", "lr=0.001",
        "--names", tmp_path / "names")  # fmt: skip
    held = torch.load(tmp_path / "b.pt", weights_only=True)
    model = torch.nn.ParameterDict({k: torch.zeros(p.shape).bfloat16() for k, p in params.items()})
    model.load_state_dict(held["model"])
    order = [(name, model[name]) for name in ("kernel", "bias")]
    optimizer = ft.Adam(order, lr=1e-3)
    optimizer.load_state_dict(held["optimizer"])
    weights, masters = optimizer.master_params(), fa.master_params(params, state)
    for (name, p), weight in zip(order, weights, strict=True):
        np.testing.assert_array_equal(weight, masters[name])
        codes = {k: x for k, x in optimizer.state[p].items() if "exp_avg" in k}
        want = jax.tree.leaves((state.inner.mu[name], state.inner.nu[name]))
        assert len(codes) == len(want)
        for x, y in zip(codes.values(), want, strict=True):
            assert _bits(x) == _bits(to_tensor(np.asarray(y)))
    run(tmp_path / "b.pt", tmp_path / "c")
    with ocp.StandardCheckpointer() as checkpointer:
        again = checkpointer.restore(
            (tmp_path / "c").absolute(), {"params": params, "state": state}
        )
    assert_equal(again["state"], state)


def test_options_are_checked_and_what_is_left_is_named(tmp_path):
    tx = optax.chain(optax.adam(1e-3), optax.ema(0.9))
    _saved_by_orbax(tmp_path / "a", tx, {"w": jnp.ones(3)}, epoch=jnp.int32(3))
    (tmp_path / "names").write_text("w\n")
    options = ("--algorithm", "adam", "--names", tmp_path / "names")
    for given, said in (
        ("foo=3", "--option foo: Adam has amsgrad, betas"),
        ("lr=-1", "Adam refuses it: Invalid learning rate: -1"),
        ('lr="abc"', "Adam refuses it"),
    ):
        output = run(tmp_path / "a", tmp_path / "b.pt", *options, "--option", "lr=1e-3",
                     "--option", given, status=2)  # fmt: skip
        assert said in output
    output = run(tmp_path / "a", tmp_path / "b.pt", *options, "--option", "lr=1e-3")
    assert "not carried over: epoch, opt_state.1.ema.w" in output


def test_a_checkpoint_manager_is_told_where_to_look(tmp_path):
    with ocp.CheckpointManager(tmp_path / "a") as manager:
        for step in (3, 12):
            manager.save(step, args=ocp.args.StandardSave({"params": jnp.ones(3)}))
    output = run(tmp_path / "a", tmp_path / "b.pt", status=1)
    assert re.search(r"is not an orbax checkpoint; below it there is \S*12/default", output)


def test_what_is_no_file_is_never_replaced(tmp_path):
    """A pipe, or a device: the rename would put a checkpoint in its place."""
    checkpoint(tmp_path / "a.pt")
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "link.pt"):
        if name != "pipe":
            (tmp_path / name).symlink_to(tmp_path / "pipe")
        for options in ((), ("--force",)):
            output = run(tmp_path / "a.pt", tmp_path / name, *options, status=2)
            assert "is neither a file nor a folder" in output
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("ending", [".pt", ".safetensors", ""])
def test_a_full_disk_is_told_and_nothing_is_left(tmp_path, monkeypatch, ending):
    checkpoint(tmp_path / "a.pt")
    (tmp_path / f"b{ending}").mkdir() if not ending else (tmp_path / f"b{ending}").write_text("old")

    def full(path):
        Path(f"{path}.orbax-checkpoint-tmp").mkdir()
        raise RuntimeError("unexpected pos 1536 vs 1430\nand more")

    monkeypatch.setattr(torch, "save", lambda x, path: full(path))
    monkeypatch.setattr(safetensors.torch, "save_file", lambda x, path, metadata: full(path))
    monkeypatch.setattr(ocp.Checkpointer, "save", lambda self, path, *_, **__: full(path))
    before = sorted(tmp_path.iterdir())
    output = run(tmp_path / "a.pt", tmp_path / f"b{ending}", "--force", status=1)
    assert re.fullmatch(
        r"TARGET cannot be written: unexpected pos 1536 vs 1430 \([\d,]+ bytes are free .*\)\n",
        output,
    )
    assert sorted(tmp_path.iterdir()) == before


def test_a_checkpoint_of_lightning_keeps_its_shape(tmp_path):
    held = checkpoint(tmp_path / "a.pt")
    own = {"state_dict": held["model"], "optimizer_states": [held["optimizer"]], "epoch": 3}
    torch.save(own, tmp_path / "a.ckpt")
    run(tmp_path / "a.ckpt", tmp_path / "b.pt")
    same(torch.load(tmp_path / "b.pt"), held)
    keys = ("--optimizer-key", "optimizer_states.0", "--model-key", "state_dict")
    output = run(tmp_path / "a.ckpt", tmp_path / "b.ckpt", *keys)
    assert "not carried over: epoch" in output
    own.pop("epoch")
    same(torch.load(tmp_path / "b.ckpt"), own)
    run(tmp_path / "b.ckpt", tmp_path / "c.pt")
    same(torch.load(tmp_path / "c.pt"), held)
    second = {"state_dict": held["model"], "optimizers": [{}, held["optimizer"]]}
    torch.save(second, tmp_path / "d.ckpt")
    assert "pass --optimizer-key" in run(tmp_path / "d.ckpt", tmp_path / "d.pt", status=1)
    keys = ("--optimizer-key", "optimizers.1", "--model-key", "state_dict")
    run(tmp_path / "d.ckpt", tmp_path / "e.ckpt", *keys)
    run(tmp_path / "e.ckpt", tmp_path / "f", *keys)
    run(tmp_path / "f", tmp_path / "d.pt")
    same(torch.load(tmp_path / "d.pt"), held)
    torch.save({"net": held["model"] | {"own": held["optimizer"]}}, tmp_path / "g.pt")
    keys = ("--optimizer-key", "net.own", "--model-key", "net")
    output = run(tmp_path / "g.pt", tmp_path / "h.pt", *keys, status=2)
    assert "one lies within the other, net" in output


def test_a_count_kept_as_a_number_and_a_rate_as_a_vector(tmp_path):
    """Older torch counts in Python, beyond what float32 holds; a rate may have shape (1,)."""
    held = checkpoint(tmp_path / "a.pt")
    for entry in held["optimizer"]["state"].values():
        entry["step"] = 20_000_001
    for group in held["optimizer"]["param_groups"]:
        group["lr"] = torch.tensor([1e-3])
    torch.save(held, tmp_path / "a.pt")
    for between in ("b", "b.safetensors"):
        assert "to 20000001)" in run(tmp_path / "a.pt", tmp_path / between)
        run(tmp_path / between, tmp_path / "c.pt", "--force")
        found = torch.load(tmp_path / "c.pt")["optimizer"]
        assert {int(entry["step"]) for entry in found["state"].values()} == {20_000_001}
        assert _bits(found["param_groups"][0]["lr"]) == _bits(torch.tensor([1e-3]))


def test_an_orbax_directory_that_was_cut_short_is_damaged(tmp_path):
    checkpoint(tmp_path / "a.pt")
    run(tmp_path / "a.pt", tmp_path / "b")
    for file in (tmp_path / "b").glob("**/d/*"):
        file.write_bytes(file.read_bytes()[:50])
    # In a process of its own: orbax's threads go on complaining after the error.
    done = subprocess.run(
        [sys.executable, "-m", "functional_adam.cli", "convert", "b", "c.pt"],
        capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "b is damaged: orbax cannot read its arrays\n"
