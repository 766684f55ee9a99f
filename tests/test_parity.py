"""The conformance table and its oracle: they agree with the peers, and they see deliberate faults.

Sizes are reduced; the same measurement in full is `functional-adam parity`.
"""

import ast
import importlib
import inspect
import json
from fractions import Fraction

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
import torch
import typer
from typer.testing import CliRunner

import functional_adam as fa
from functional_adam._two_float import TwoFloat, as_two_float
from functional_adam.cli import reference
from functional_adam.cli._parity import figures
from functional_adam.cli._parity.bounds import broken, limits
from functional_adam.cli._parity.implementations import make
from functional_adam.cli._parity.inputs import beginning, gradients
from functional_adam.cli._parity.measure import Sizes, measure
from functional_adam.cli._parity.rows import COMMON, PEERS, VARIANTS, every_row, select
from functional_adam.cli.parity import parity

# The package has functions of the same names.
adam, adamax, amsgrad, nadam, radam = (
    importlib.import_module(f"functional_adam.rules.{name}")
    for name in ("adam", "adamax", "amsgrad", "nadam", "radam")
)
ONE = "adamax/plain/float64/jax/torch-single"
SCHEDULED = "adamw/papers-source-schedule/float64/*"
SMALL = Sizes(one_step=4_096, free=515, common_steps=8, free_steps=60)


def measured(*patterns, sizes=SMALL):
    rows = select(every_row(), patterns)
    assert rows, patterns
    return measure(rows, sizes, lambda row: None)


def faults(table):
    return [fault for row, found in table.items() for fault in broken(row, found)]


# The oracle. Against torch and optax in float64, without anything of the package.

ORACLE_OPTIONS = {
    "plain": {},
    "weight_decay": {"weight_decay": 0.1},
    "maximize": {"maximize": True},
    "eps": {"eps": 1e-2},
    "b2=.95": {"b2": 0.95},
    "b2=.99999": {"b2": 0.99999},
    "b1=.3": {"b1": 0.3},
    "b1=0": {"b1": 0.0},
}
TORCH_CLASSES = {
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "amsgrad": (torch.optim.Adam, {"amsgrad": True}),
    "amsgradw": (torch.optim.AdamW, {"amsgrad": True}),
    "nadam": (torch.optim.NAdam, {}),
    "nadamw": (torch.optim.NAdam, {"decoupled_weight_decay": True}),
    "radam": (torch.optim.RAdam, {}),
    "radamw": (torch.optim.RAdam, {"decoupled_weight_decay": True}),
    "adamax": (torch.optim.Adamax, {}),
}
REMEMBERS = {"amsgrad": [0.0] * 3, "nadam": [0.0, 0.0, 1.0]}


def walk(function, h, start, steps, remembered):
    p = start
    for t in range(1, steps + 1):
        p, *remembered = function(p, drawn(t, len(start)), *remembered, t, h)
    return p


def drawn(t, size, zeros=True):
    rng = np.random.default_rng(t)
    g = rng.standard_normal(size) * 10 ** np.random.default_rng(0).uniform(-4, 3, size)
    return np.where(rng.random(size) < 0.1, 0, g) if zeros else g


@pytest.fixture
def doubles():
    torch.set_default_dtype(torch.float64)
    with jax.enable_x64(True):
        yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("options", ORACLE_OPTIONS.values(), ids=ORACLE_OPTIONS)
@pytest.mark.parametrize("name", TORCH_CLASSES)
def test_the_oracle_is_torch_in_float64(name, options, doubles):
    h = reference.Hyperparameters(lr=1e-2, **options)
    make, more = TORCH_CLASSES[name]
    start = np.random.default_rng(9).standard_normal(97)
    p = torch.tensor(start)
    keep = {"momentum_decay": h.momentum_decay} if "nadam" in name else {}
    optimizer = make(
        [p],
        **dict(lr=h.lr, betas=(h.b1, h.b2), eps=h.eps, weight_decay=h.weight_decay),
        **dict(maximize=h.maximize, foreach=False),
        **keep,
        **more,
    )
    for t in range(1, 81):
        p.grad = torch.tensor(drawn(t, 97))
        optimizer.step()
    expected = walk(
        getattr(reference, name), h, start, 80, REMEMBERS.get(name.rstrip("w"), [0.0, 0.0])
    )
    # torch's own digits: 1 - b2**t, and for RAdam rho_t from it, cancel at b2 = .99999.
    tolerance = 1e-8 if "radam" in name and h.b2 > 0.9999 else 1e-11
    assert np.max(np.abs(p.numpy() - expected)) <= tolerance * np.max(np.abs(expected - start))


def _nesterov_twin(name, h):
    # optax has RAdam's eps after the correction: the same formula only without eps.
    scale = {"adam": optax.scale_by_adam, "radam": optax.scale_by_radam}[name.rstrip("w")]
    decay = optax.add_decayed_weights(h.weight_decay)
    direction = scale(b1=h.b1, b2=h.b2, eps=h.eps, nesterov=True)
    parts = (direction, decay) if name.endswith("w") else (decay, direction)
    return optax.chain(*parts, optax.scale(-h.lr))


@pytest.mark.parametrize("name", ["adam", "adamw", "radam", "radamw"])
def test_the_oracle_that_looks_ahead_is_optax_in_float64(name, doubles):
    h = reference.Hyperparameters(lr=1e-2, eps=0.0 if "radam" in name else 1e-8, weight_decay=0.1)
    tx = _nesterov_twin(name, h)
    start = p = np.random.default_rng(9).standard_normal(97)
    function = getattr(reference, f"{name}_nesterov")
    expected, remembered, state = p, [0.0, 0.0], tx.init(p)
    update = jax.jit(tx.update)
    for t in range(1, 41):
        g = drawn(t, 97, zeros=False)
        updates, state = update(g, state, p)
        p = optax.apply_updates(p, updates)
        expected, *remembered = function(expected, g, *remembered, t, h)
    assert np.max(np.abs(p - expected)) <= 1e-11 * np.max(np.abs(expected - start))


@pytest.mark.parametrize("b2", [0.5, 0.95, 0.999, 0.99999])
@pytest.mark.parametrize("t", [1, 4, 5, 6, 100, 1000])
def test_the_oracle_keeps_the_digits_of_its_scalars(b2, t):
    b = Fraction(b2)
    correction = 1 - b**t
    rho = 2 / (1 - b) - 1 - 2 * t * b**t / correction
    assert abs(Fraction(reference._correction(b2, t)) / correction - 1) < 1e-14
    assert abs(Fraction(reference._average_length(b2, t)) / rho - 1) < 1e-14


def test_the_oracle_imports_nothing_of_ours():
    tree = ast.parse(inspect.getsource(reference))
    imported = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else ["." * node.level + (node.module or "")]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= {"__future__", "dataclasses", "functools", "math", "numpy"}


# Figures, on arrays whose distance is known.


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_an_ulp_is_the_distance_to_the_neighbour(dtype):
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    x = np.array([1e-3, 0.1, 0.75, 1, 1.5, 3, 1000], kind)
    steps = np.nextafter(x, np.array(np.inf, kind)).astype(np.float64) - x.astype(np.float64)
    np.testing.assert_array_equal(figures._spacing(x.astype(np.float64), kind), steps)


def one_leaf(p, mu):
    pad = np.zeros(64)
    pad[: len(p)] = p
    m = np.ones(64)
    m[: len(mu)] = mu
    return figures.State(1, {"float32": pad}, {"mu": {"float32": m}}, {})


def test_figures_of_one_step():
    ulp = 2.0**-23
    a = one_leaf([4, 1, np.nan, np.inf], [1 + 3 * ulp])
    b = one_leaf([4, 1 + 2 * ulp, np.nan, np.inf], [1])
    found = figures.one_step(a, b, "float32")
    assert found == dict(p_ulp=0.5, p_own_ulp=2, p_off=1 / 64, mu_ulp=3, mu_off=1 / 64)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_and_no_number_are_infinitely_far(value):
    found = figures.one_step(one_leaf([value], [1]), one_leaf([1], [1]), "float32")
    assert found["p_ulp"] == found["p_own_ulp"] == np.inf
    assert found["p_off"] == 1 / 64


def test_a_figure_that_is_no_number_is_beyond_any_bound():
    row = select(every_row(), ["adam/plain/float32/jax/torch-fused"])[0]
    assert broken(row, {"p_ulp": np.nan})
    assert not broken(row, {"p_ulp": 0.0})


# The table.


def test_names_of_rows_are_unique_and_cover_every_algorithm_dtype_and_option():
    rows = every_row()
    assert len({row.name for row in rows}) == len(rows)
    assert {row.algorithm for row in rows} == {*fa.ALGORITHMS}
    assert {row.variant for row in rows} == {*VARIANTS, *PEERS}
    for row in rows[::97]:
        assert row in select(rows, [f"{row.subject}/{row.against}"])
    assert [row.name for row in select(rows, [ONE])] == [ONE]
    assert {row.algorithm for row in select(rows, ["adam/*"])} == {"adam"}


PROMISES = [
    ("*/bridge-*/torch-*", {"p_off": 0, "mu_off": 0, "nu_off": 0, "nu_max_off": 0, "free_off": 0}),
    ("*/float32/jax/torch-fused", {"p_off": 1e-3, "p_ulp": 2, "mu_off": 0, "nu_off": 0}),
    ("a*/float32/jax/torch-*", {"p_ulp": 4, "free": 1e-5, "times_spread": 3}),
    ("*w/*/float32/jax/torch-*", {"p_ulp": 4, "free": 1e-5}),
    ("r*/float32/jax/torch-*", {"p_ulp": 4, "mu_ulp": 1, "nu_ulp": 1, "free": 1e-5}),
    ("n*/float32/jax/torch-*", {"p_ulp": 4, "mu_ulp": 1, "nu_ulp": 1, "free": 1e-5}),
    ("*/float64/jax/torch-*", {"p_ulp": 4, "free": 1e-12}),
    ("*/float64/jax/reference", {"free": 1e-12}),
    ("adam*/float64/jax/optax", {"p_ulp": 2, "free": 1e-12}),
]


@pytest.mark.parametrize(("pattern", "promised"), PROMISES)
def test_what_is_promised_is_bound(pattern, promised):
    rows = select(every_row(), [pattern])
    assert rows
    for row in rows:
        held = limits(row)
        assert all(held[name] <= promised[name] for name in promised), row.name


def test_gradients_change_are_zero_now_and_then_and_spread_over_decades():
    for dtype, decades in (("float32", 9), ("float16", 7)):
        draws = [gradients((dtype,), 4096, t)[dtype].astype(np.float64) for t in range(1, 30)]
        sizes = [np.abs(g[g != 0]) for g in draws]
        assert all(np.log10(s.max() / s.min()) > decades for s in sizes)
        assert all(0.03 < np.mean(g == 0) < 0.08 for g in draws)
        assert np.any(np.all(np.array(draws) == 0, axis=0))
        assert not np.array_equal(*draws[:2])
        assert np.all(np.isfinite(draws))


MEASURED = [
    *(f"{name}/plain/float32/*" for name in fa.ALGORITHMS),
    *(f"{name}/*/float64/*" for name in ("adam", "amsgradw", "nadam", "radam")),
    "adam/weight_decay/float32/*",
    "adamw/b2=.99999/float32/*",
    "adamw/maximize/float32/*",
    "adamw/plain/bfloat16/*",
    "adamw/nesterov/float64/*",
    "amsgrad/b1=.3/float32/*",
    "amsgradw/weight_decay/float16/*",
    "nadamw/plain/float64/*",
    "radamw/nesterov/float64/*",
    "adamax/eps=1e-2/float32/*",
    "adamax/plain/*",
]


@pytest.mark.parametrize("name", fa.ALGORITHMS)
def test_every_row_is_within_its_bounds(name):
    table = measured(*(pattern for pattern in MEASURED if pattern.startswith(f"{name}/")))
    assert faults(table) == []
    assert any(limits(row) for row in table)
    for row, found in table.items():
        fields = {field for a in fa.ALGORITHMS.values() for field in a.rule.moments}
        absent = fields - {*fa.ALGORITHMS[name].rule.moments} | {"nu_max"}
        expected = {*limits(row)} - {f"{x}_{unit}" for x in absent for unit in ("off", "ulp")}
        if row.dtype not in row.variant.free:
            expected -= {"free", "free_off", "truth", "times_truth", "times_spread"}
        if "torch-fused" not in {r.against for r in table if r.dtype == row.dtype}:
            expected -= {"times_spread"}
        assert expected <= {*found}, row.name


def test_steps_start_from_the_states_that_torch_goes_through(monkeypatch, doubles):
    loaded = {"jax": [], "torch-single": []}

    def recording(name, *arguments):
        implementation = make(name, *arguments)
        load = implementation.load

        def record(state):
            loaded[name].append(state)
            load(state)

        implementation.load = record
        return implementation

    monkeypatch.setattr("functional_adam.cli._parity.measure.make", recording)
    rows = select(every_row(), ["nadam/maximize/float64/jax/torch-single"])
    measure(rows, SMALL, lambda row: None)
    ours, torchs = loaded.values()
    assert [state.count for state in ours] == [0, 1, 2, 3, 2000, 2001, 2002, 2003]
    p = torch.tensor(ours[0].params["float64"])
    optimizer = torch.optim.NAdam([p], lr=COMMON["learning_rate"], maximize=True)
    for t, (a, b) in enumerate(zip(ours, torchs, strict=True)):
        np.testing.assert_array_equal(a.params["float64"], b.params["float64"])
        if t and t <= 4:
            p.grad = torch.tensor(gradients(("float64",), SMALL.one_step, t)["float64"])
            optimizer.step()
            np.testing.assert_array_equal(a.params["float64"], p.numpy())
            own = optimizer.state[p]
            np.testing.assert_array_equal(a.moments["nu"]["float64"], own["exp_avg_sq"].numpy())


def test_measuring_leaves_torch_as_it_was_and_repeats():
    threads = torch.get_num_threads()
    patterns = ["adamax/plain/float64/bridge-single/*", "adamax/plain/float64/jax/optax"]
    assert measured(*patterns) == measured(*patterns)
    assert torch.get_default_dtype() == torch.float32
    assert torch.get_num_threads() == threads
    assert not jax.config.read("jax_enable_x64")
    start = beginning(fa.ALGORITHMS["adamax"], ("float32",), 515).params["float32"]
    np.testing.assert_array_equal(
        start, np.random.default_rng((20250, 0)).standard_normal(515).astype(np.float32)
    )


# Faults. Each replaces a function of the core by one that is nearly right.


@pytest.fixture
def replace(monkeypatch):
    """Give a function of a rule other code: in JAX and in the bridge alike."""

    def swap(function, code):
        monkeypatch.setattr(function, "__code__", code)
        jax.clear_caches()

    yield swap
    monkeypatch.undo()
    jax.clear_caches()


def constant(function, old, new):
    code = function.__code__
    assert old in code.co_consts
    return code.replace(co_consts=tuple(new if x == old else x for x in code.co_consts))


def eps_inside_the_root(ops, u, g, m, v, k):
    m = ops.lerp_(m, g, k.one_minus_b1)
    v = ops.addcmul_(ops.mul_(v, k.b2), g, g, k.one_minus_b2)
    denominator = ops.div_(ops.sqrt(ops.add_(ops.mul(v, 1.0), k.eps)), k.sqrt_c2)
    return ops.addcdiv_(u, m, denominator, k.neg_step), m, v


def half_an_ulp_of_b2(dialect, t, h, _):
    c1 = one_minus_power(h.b1, t)  # noqa: F821 - a name of the module whose function this becomes
    c2 = one_minus_power(h.b2, t)  # noqa: F821
    wrong = h.b2 * (1 - 2.0**-25)
    return AdamCoefficients(  # noqa: F821
        1 - h.b1, wrong, 1 - wrong, sqrt(c2), h.eps, -(h.learning_rate / c1)  # noqa: F821
    )  # fmt: skip


def maximum_too_late(ops, u, g, m, v, v_max, k):
    m = ops.lerp_(m, g, k.one_minus_b1)
    denominator = ops.add_(ops.div_(ops.sqrt(v_max), k.sqrt_c2), k.eps)
    v = ops.addcmul_(ops.mul_(v, k.b2), g, g, k.one_minus_b2)
    v_max = ops.maximum_(v_max, v)
    return ops.addcdiv_(u, m, denominator, k.neg_step), m, v, v_max


def eps_outside_the_maximum(ops, u, g, m, v, k):
    m = ops.lerp_(m, g, k.one_minus_b1)
    v = ops.add_(ops.maximum_(ops.mul_(v, k.b2), ops.abs(g)), k.eps)
    return ops.addcdiv_(u, m, v, k.neg_step), m, v


def rectified_from_four(dialect, rho):
    return rho > 4.0


FAULTS = {
    "eps inside the root": (adam.step, eps_inside_the_root.__code__, "adam/eps=1e-2"),
    "b2 off by half an ulp": (adam.coefficients, half_an_ulp_of_b2.__code__, "adam/plain"),
    "maximum too late": (amsgrad.step, maximum_too_late.__code__, "amsgrad/plain"),
    "eps outside the maximum": (adamax.step, eps_outside_the_maximum.__code__, "adamax/eps=1e-2"),
    "another threshold": (radam._is_rectified, rectified_from_four.__code__, "radam/plain"),
    "another schedule": (
        nadam.coefficients,
        constant(nadam.coefficients, 0.96, 0.961),
        "nadam/plain",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_rule_is_beyond_its_bounds(fault, replace):
    function, code, rows = FAULTS[fault]
    patterns = [f"{rows}/float64/{end}" for end in ("jax/*", "bridge-*")]
    assert faults(measured(*patterns)) == []
    replace(function, code)
    found = faults(measured(*patterns))
    for subject in ("jax/torch-single", "jax/reference", "bridge-single", "bridge-foreach"):
        assert any(subject in each for each in found), (subject, found)


def test_a_bias_correction_in_float32_is_beyond_its_bounds(monkeypatch, replace):
    def naive(b, t):
        return as_two_float(1 - jnp.float32(b) ** t.hi) if isinstance(t, TwoFloat) else 1 - b**t

    replace(adam.step, adam.step.__code__)
    monkeypatch.setattr(adam, "one_minus_power", naive)
    found = faults(measured("adam/b2=.99999/float32/jax/torch-fused"))
    assert any(": p_off is" in each for each in found)
    assert any(": free is" in each for each in found)


# The command.

APP = typer.Typer()
APP.command()(parity)


def command(*arguments):
    return CliRunner().invoke(APP, arguments)


def test_the_command_lists_rows():
    result = command("--list", "--only", "nadam/b1=.3/float32", "--only", "radam/*/float16/*optax")
    names = result.stdout.split()
    assert result.exit_code == 0
    assert "nadam/b1=.3/float32/jax/torch-foreach" in names
    assert "radam/nesterov/float16/jax/optax" in names
    assert all("float32" in name or name.endswith("optax") for name in names)


def test_the_command_prints_a_table_of_100_columns(tmp_path):
    markdown = tmp_path / "parity.md"
    options = ["--quick", "--jobs", "1", "--only", "adamax/plain/float64/*"]
    result = command(*options, "--markdown", str(markdown))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert "\x1b" not in result.stdout
    (line,) = [line for line in lines if "jax/torch-foreach" in line]
    assert line.endswith(" ok")
    assert " 0 beyond" in result.stderr
    (row,) = [line for line in markdown.read_text().splitlines() if "`adamax`" in line]
    assert row.count("|") == 9


def test_the_command_writes_json_and_says_nothing_else_on_stdout():
    result = command("--quick", "--jobs", "1", "--only", ONE, "--json", "-")
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    (row,) = found["rows"]
    assert row["name"] == ONE
    assert row["within"] is True
    assert row["figures"]["mu_off"] == 0
    assert row["bounds"]["free"] == 1e-12
    assert found["versions"]["torch"] == torch.__version__


def test_the_command_fails_where_a_row_is_beyond_its_bound(replace):
    replace(adamax.step, eps_outside_the_maximum.__code__)
    result = command("--quick", "--jobs", "1", "--only", ONE)
    assert result.exit_code == 1
    assert f"beyond its bound: {ONE}: nu_ulp is " in result.stderr
    assert ", bound 1\n" in result.stderr
    (line,) = [line for line in result.stdout.splitlines() if "jax/torch-single" in line]
    assert line.endswith("BEYOND")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "adagrad"], "no such row"),
        (["--only", ONE, "--json", "no/such/folder/x.json"], "cannot write"),
    ],
)
def test_the_command_refuses_wrong_usage(arguments, said):
    result = command(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_processes_find_the_same_figures():
    # The last one has a schedule, which no process can be sent.
    only = ["--only", "adamax/*/float64/bridge-single/*", "--only", ONE, "--only", SCHEDULED]
    alone, together = (
        command("--quick", "--jobs", jobs, *only, "--json", "-") for jobs in ("1", "2")
    )
    assert together.exit_code == 0, together.output
    assert json.loads(together.stdout)["rows"] == json.loads(alone.stdout)["rows"]


def test_common_hyperparameters_are_those_of_every_algorithm():
    names = {name for a in fa.ALGORITHMS.values() for name in a.hyperparameters}
    # Others are the algorithm's own defaults.
    assert names >= {*COMMON, "weight_decay"}
    own = names - {*COMMON, "weight_decay"}
    for name, a in fa.ALGORITHMS.items():
        assert all(a.defaults[x] is not None for x in own & {*a.hyperparameters}), name
