"""Spaces: scales, products, edges; positions and configurations are each other's inverse."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import functional_adam as fa
from functional_adam.tune import Dimension, Space, adamw_space
from functional_adam.tune._hyper import check, check_space
from functional_adam.tune.schedule import filled
from functional_adam.tune.script import untuned
from functional_adam.tune.strategies._search import tidy


def test_positions_and_configurations_are_inverse():
    space = adamw_space("eps", "amsgrad", "warmup", "final", "dialect", "algorithm", steps=300)
    u = np.random.default_rng(0).random((50, len(space)))
    back = space.to_unit(space.from_unit(u))
    for i, d in enumerate(space.dimensions):
        if d.scale == "choice":
            assert all(
                d.from_unit(a) == d.from_unit(b) for a, b in zip(u[:, i], back[:, i], strict=True)
            )
        else:
            np.testing.assert_allclose(back[:, i], u[:, i], atol=1e-9)


def test_each_scale_by_its_formula():
    space = adamw_space(steps=100)
    low, middle, high = (space.from_unit([x] * 4)[0] for x in (0, 0.5, 1))
    assert (low["learning_rate"], high["learning_rate"]) == (1e-4, 1e-1)
    assert (low["b2"], high["b2"]) == (0.9, 0.9999)
    assert middle["learning_rate"] == pytest.approx(10**-2.5)
    assert 1 - middle["b2"] == pytest.approx((0.1 * 1e-4) ** 0.5)
    assert 1 - middle["b1"] == pytest.approx((0.5 * 0.004) ** 0.5)
    # The range is that of the product: 1e-3 to 3 decay times in a run.
    for c, product in ((low, 1e-5), (high, 3e-2)):
        assert c["learning_rate"] * c["weight_decay"] == pytest.approx(product)


def test_one_minus_b_keeps_its_digits():
    d = Dimension("b2", 0.9, 1 - 1e-7, "log_one_minus")
    assert 1 - d.from_unit(0.999) == pytest.approx(0.1 * 1e-6**0.999, rel=1e-8)


def test_the_default_is_adamw_with_a_cosine():
    config = adamw_space("eps", "amsgrad").default()
    assert config == {
        "algorithm": "adamw", "dialect": "TORCH", "final": 0.0, "warmup": 0.0,
        "learning_rate": 1e-3, "b1": 0.9, "b2": 0.999, "weight_decay": 1e-2,
        "eps": 1e-8, "amsgrad": False,
    }  # fmt: skip


def test_the_edge_and_the_wider_space():
    space = adamw_space()
    config = space.from_unit([0.95, 0.5, 0.05, 0.5])[0]
    assert space.edge(config) == {"learning_rate": "high", "b2": "low"}
    wider = space.widened(space.edge(config))
    assert wider["learning_rate"].high == pytest.approx(1.0)
    assert wider["learning_rate"].low == 1e-4
    assert wider["b2"].low == 0.0
    assert wider["b1"] == space["b1"]
    assert space["b2"].widened("high").high == pytest.approx(0.99999)
    outside = {**config, "learning_rate": 0.5}
    assert space.to_unit(outside)[0, 0] > 1
    assert adamw_space("warmup")["warmup"].widened("low").low == 0


def test_dimensions_are_replaced_added_and_fixed():
    space = adamw_space().with_(b1=0.9, width=Dimension("width", 16, 64, "log"))
    assert space.names == ("learning_rate", "b2", "weight_decay", "width")
    assert space.default()["b1"] == 0.9
    assert space.default()["width"] == pytest.approx(32)
    around = {**adamw_space().default(), "weight_decay": 0.5}
    fan = adamw_space().only("learning_rate", around=around)
    assert fan.names == ("learning_rate",)
    assert fan.from_unit([1.0])[0]["weight_decay"] == 0.5
    # Fixed again and searched again.
    assert adamw_space().with_(b1=0.9).with_(b1=Dimension("b1", 0.5, 0.9, "log_one_minus"))["b1"]


def test_choices():
    d = Dimension("algorithm", scale="choice", choices=("adamw", "nadamw", "radamw"))
    assert [d.from_unit(u) for u in (0, 0.4, 1)] == ["adamw", "nadamw", "radamw"]
    assert d.to_unit("nadamw") == 0.5
    assert d.widened("high") is d


ERRORS = [
    (lambda: Dimension("x", 0, 1, "log"), "low of x must be > 0 on a log scale, got 0"),
    (lambda: Dimension("x", 2, 1), "low < high"),
    (lambda: Dimension("b1", 0.5, 1.0, "log_one_minus"), "high of b1 must be < 1"),
    (lambda: Dimension("not a name"), "must be an identifier"),
    (lambda: Dimension("x", scale="cubic"), "scale of x must be one of"),
    (lambda: Dimension("x", choices=(1,)), "choices belong to scale 'choice'"),
    (lambda: Dimension("x", scale="choice", choices=(1, 1)), "must differ"),
    (lambda: Dimension("x", scale="choice", choices=(1,), default=2), "default of x must be"),
    (lambda: Space((Dimension("x"), Dimension("x"))), "x: given more than once"),
    (lambda: Space((Dimension("x", per="y"),)), "x is a product with y"),
    (lambda: adamw_space("epsilon"), "epsilon: cannot be added by name"),
    (lambda: adamw_space(steps=0), "steps must be at least 1, got 0"),
    (lambda: adamw_space(algorithm="sgd"), "algorithm must be one of"),
    (lambda: adamw_space(dialect="torch"), "dialect must be one of"),
    (lambda: adamw_space().from_unit([0.5]), r"shape \(n, 4\)"),
    (lambda: adamw_space().from_unit([np.nan] * 4), "got NaN"),
    (lambda: adamw_space().to_unit({"b1": 0.9}), "the configuration has no learning_rate"),
    (lambda: adamw_space().with_(b1=Dimension("b2", 0.5, 0.9)), "the Dimension is named 'b2'"),
    (lambda: adamw_space()["b1"].widened("up"), "side must be 'low' or 'high'"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_name_that_is_not_searched():
    with pytest.raises(KeyError, match="eps is not searched"):
        adamw_space()["eps"]


def test_bounds_stop_widening():
    d = Dimension("warmup", 0.0, 0.4, bounds=(0.0, 0.5))
    assert d.widened("high").high == 0.5
    assert dataclasses.replace(d, bounds=None).widened("low").low == 0.0
    assert Dimension("offset", -0.5, 0.5).widened("low").low == -1.0


def test_decay_that_is_not_given_is_what_the_algorithm_has_by_itself():
    for name, expected in (("adam", 0.0), ("nadam", 0.0), ("adamw", fa.KERAS.weight_decay)):
        config = {"learning_rate": 1e-3, "algorithm": name, "dialect": "KERAS"}
        assert filled(config, 10)["weight_decay"] == expected
        makes = fa.ALGORITHMS[name].make
        p = jnp.ones(3)
        updates = [
            tx.update(jnp.zeros(3), tx.init(p), p)[0]
            for tx in (
                makes(1e-3, dialect=fa.KERAS),
                makes(1e-3, weight_decay=expected, dialect=fa.KERAS),
            )
        ]
        assert (updates[0] == updates[1]).all()


def test_no_widening_leaves_what_a_hyperparameter_can_be():
    ends = {
        "warmup": (Dimension("warmup", 0.0, 0.9), (0.0, 1 - 1e-8)),
        "b1": (Dimension("b1", 0.5, 0.9), (0.0, 1 - 1e-8)),
        "b2": (Dimension("b2", 0.5, 0.99, "log"), (0.0, 1 - 1e-8)),
        "rate": (Dimension("rate", 0.05, 1.0), (0.0, np.inf)),
        "smoothing": (Dimension("smoothing", 0.0, 0.2), (0.0, np.inf)),
        "offset": (Dimension("offset", -1.0, 0.2), (-np.inf, np.inf)),
    }
    for name, (d, (low, high)) in ends.items():
        assert d.limits == (low, high), name
        for side in ("low", "high") * 8:
            d = d.widened(side)
        assert low <= d.low < d.high <= high
        assert (d.low < 0) == (name == "offset")
        assert (d.low == 0) == (name in ("warmup", "smoothing"))
    for scale, low in (("linear", 0.0), ("log", 0.1)):
        with pytest.raises(ValueError, match=r"high <= 0\.99999999"):
            Dimension("warmup", low, 1.0, scale)
    # Decay is a product with the rate, which must stay positive.
    space = adamw_space(steps=20).with_(learning_rate=Dimension("learning_rate", 0.05, 1.0))
    for _ in range(3):
        space = space.widened({"learning_rate": "low"})
    assert 0 < space["learning_rate"].low < 1e-3


def test_a_proposal_with_few_digits_stays_within_the_bounds():
    d = Dimension("learning_rate", 1e-3, 0.0123456, "log", bounds=(1e-3, 0.0123456))
    space = Space((d,))
    assert tidy(space, {"learning_rate": 0.0123456}) == {"learning_rate": 0.0123456}
    assert tidy(space, {"learning_rate": 0.0022222222}) == {"learning_rate": 0.002222}


def test_a_product_needs_a_positive_factor():
    for rate in (Dimension("learning_rate", 0.0, 0.1), 0.0):
        with pytest.raises(ValueError, match="product with learning_rate, which must be positive"):
            adamw_space().with_(learning_rate=rate)
    lone = adamw_space().with_(weight_decay=Dimension("weight_decay", 1e-4, 1.0, "log"))
    assert lone.with_(learning_rate=Dimension("learning_rate", 0.0, 0.1)).default()


def test_numbers_of_numpy_are_numbers():
    choices = tuple(np.float32([0.25, 0.5]))
    space = adamw_space().with_(
        b1=np.float32(0.75),
        eps=Dimension("eps", np.float32(0.5), jnp.float32(1.0), default=np.float64(0.75)),
        final=Dimension("final", scale="choice", choices=choices),
    )
    assert space.fixed["b1"] == 0.75
    values = [space.fixed["b1"], space["eps"].low, space["eps"].high, *space["final"].choices]
    assert {type(x) for x in (*values, space["eps"].default)} == {float}


def test_only_what_an_algorithm_has_can_be_added_by_name():
    for name, algorithm in (("eps", "lion"), ("amsgrad", "nadamw"), ("dialect", "lion")):
        with pytest.raises(ValueError, match=f"{name}: cannot be added by name"):
            adamw_space(name, algorithm=algorithm)


@pytest.mark.parametrize("names", [("algorithm", "amsgrad"), ("algorithm", "dialect")])
def test_choices_that_do_not_go_together(names):
    with pytest.raises(ValueError, match=r"amsgrad belongs to|has no radam"):
        check_space(adamw_space(*names), ())
    check_space(adamw_space("amsgrad", "dialect"), ())


def test_names_of_a_task_beside_those_of_other_algorithms():
    check({"learning_rate": 0.1, "alpha": -3.0}, ("alpha",))
    with pytest.raises(ValueError, match="alpha is the optimizer's already"):
        check({"learning_rate": 0.1, "alpha": 2.0, "algorithm": "ademamix"}, ("alpha",))


def test_untuned_is_what_the_algorithm_comes_with():
    dimensions = (
        Dimension("learning_rate", 1e-4, 1.0, "log"),
        Dimension("b1", 0.5, 0.99, "log_one_minus"),
        Dimension("b2", 0.5, 0.99, "log_one_minus", default=0.95),
        Dimension("eps", 1e-12, 1e-2, "log"),
        Dimension("smoothing", 0.0, 0.2),
    )
    theirs = {"learning_rate": 1e-3, "b1": 0.9, "b2": 0.95, "eps": 1e-8, "smoothing": 0.1}
    rest = {"final": 1.0, "warmup": 0.0, "weight_decay": 0.0}
    assert untuned(Space(dimensions)) == theirs | rest
    keras = Space(dimensions, {"dialect": "KERAS", "algorithm": "adam"})
    assert untuned(keras)["eps"] == 1e-7
    assert untuned(adamw_space()) == {**adamw_space().default(), **rest}
