"""Tensors between torch and JAX: every layout and dtype, and no buffer that both sides own."""

from __future__ import annotations

import gc

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from jax import lax

from functional_adam_torch import OptaxOptimizer
from functional_adam_torch.any_optax import _exchange


def _dense(shape, dtype=torch.float32):
    return (torch.arange(1.0, 1 + int(np.prod(shape))) / 8).reshape(shape).to(dtype)


LAYOUTS = {
    "contiguous": lambda: _dense((4, 6)),
    "transposed": lambda: _dense((6, 4)).t(),
    "channels_last": lambda: _dense((2, 3, 4, 5)).to(memory_format=torch.channels_last),
    "strided": lambda: _dense((8, 6))[::2],
    "offset": lambda: _dense((25,))[1:],
    "offset-and-strided": lambda: _dense((9, 7))[1::2, 1:],
    "scalar": lambda: _dense(()),
    "empty": lambda: torch.zeros(0, 3),
    "bfloat16": lambda: _dense((4, 6), torch.bfloat16),
    "bfloat16-strided": lambda: _dense((4, 6), torch.bfloat16).t()[1:],
    "bfloat16-scalar": lambda: _dense((), torch.bfloat16),
    "float16": lambda: _dense((5,), torch.float16),
    "complex64": lambda: torch.complex(_dense((3, 2)), -_dense((3, 2))),
    "large": lambda: _dense((300, 100)),
    "large-transposed": lambda: _dense((300, 100)).t(),
}
# Gradients only: a parameter cannot have them.
VIEWS = {
    "expanded": lambda: _dense((1, 5)).expand(4, 5),
    "conjugate": lambda: torch.complex(_dense((3,)), _dense((3,))).conj(),
    "negative": lambda: torch.complex(_dense((3,)), _dense((3,))).conj().imag,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_parameters_of_any_layout(layout):
    """One step of SGD, in place: storage, strides and neighbours in it stay what they are."""
    p = LAYOUTS[layout]().detach().requires_grad_()
    base = p.detach()
    whole = torch.as_strided(
        base, (base.untyped_storage().nbytes() // base.element_size(),), (1,), 0
    )
    before, old, strides = whole.clone(), base.clone(), p.stride()
    p.grad = torch.ones_like(p)
    OptaxOptimizer([p], optax.sgd, lr=0.5).step()
    assert p.stride() == strides
    assert torch.equal(p.detach(), old - 0.5)
    base.copy_(old)
    assert torch.equal(whole, before)


@pytest.mark.parametrize("layout", [*LAYOUTS, *VIEWS])
def test_gradients_of_any_layout(layout):
    g = {**LAYOUTS, **VIEWS}[layout]()
    p = torch.zeros(g.shape, dtype=g.dtype, requires_grad=True)
    p.grad, resolved = g, g.resolve_conj().resolve_neg().clone()
    OptaxOptimizer([p], optax.sgd, lr=0.5).step()
    assert torch.equal(p.detach(), -0.5 * resolved)
    assert torch.equal(p.grad, resolved)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_wide_types_are_never_narrowed(dtype):
    p = torch.ones(3, dtype=dtype, requires_grad=True)
    p.grad = torch.full_like(p, 1 / 3)
    optimizer = OptaxOptimizer([("layer.weight", p)], optax.sgd, lr=0.1)
    with pytest.raises(TypeError, match=r"layer\.weight is .*narrows.*jax_enable_x64"):
        optimizer.step()
    assert (p == 1).all()
    with jax.enable_x64(True):
        optimizer.step()
    assert torch.equal(p.detach(), 1 - 0.1 * torch.full_like(p, 1 / 3))


def test_a_lazy_parameter_is_an_error():
    with pytest.raises(TypeError, match="has no shape yet: call the lazy module once before"):
        OptaxOptimizer(torch.nn.LazyLinear(2).parameters(), optax.adam, lr=0.1)


def test_a_sparse_gradient_is_an_error():
    embedding = torch.nn.Embedding(4, 3, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    optimizer = OptaxOptimizer(embedding.named_parameters(), optax.sgd, lr=0.1)
    with pytest.raises(TypeError, match=r"the gradient of weight is sparse_coo.*to_dense"):
        optimizer.step()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: torch.ones(3).to(torch.complex32), "a dtype that JAX does not have"),
        (lambda: torch.ones(3, device="meta"), "on the meta device"),
        (lambda: torch.ones(3).to_sparse(), "is sparse_coo"),
    ],
)
@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
def test_other_tensors_are_refused(make, reason):
    with pytest.raises(TypeError, match=f"it.*{reason}"):
        _exchange.lent(make(), "it")


ALL = (torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.bool, torch.uint32)


@pytest.mark.parametrize("dtype", [*ALL, torch.int16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_states_go_there_and_back(dtype):
    tensor = torch.tensor([[0.0, 1.0, 3.0], [2.0, 0.5, 1.5]]).to(dtype)
    array = _exchange.to_array(tensor, jax.eval_shape(lambda: _exchange.lent(tensor, "x")), "x")
    back = _exchange.to_tensor(array)
    assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
    assert torch.equal(back.view(torch.uint8), tensor.view(torch.uint8))


def test_random_keys_go_there_and_back():
    key = jax.random.key(7, impl="rbg")
    back = _exchange.to_array(_exchange.to_tensor(key), key, "key")
    assert back.dtype == key.dtype
    assert jax.random.normal(back) == jax.random.normal(key)


SIZE = 1 << 22


def _slow(x):
    return lax.fori_loop(0, 4, lambda _, y: jnp.sin(y) + x, x)


def _overwritten_while_computing(wait):
    """Whether a result changes where torch writes to the argument after `wait`."""
    tensor, slow = torch.linspace(0, 1, SIZE), jax.jit(_slow)
    view = _exchange.lent(tensor, "x")
    truth = np.array(slow(view))
    result = wait(slow(view))
    tensor.fill_(7.0)
    return not np.array_equal(result, truth)


def test_torch_writes_only_after_the_computation():
    assert not _overwritten_while_computing(_exchange.returned)


def test_without_the_wait_results_are_wrong():
    """The test above can fail: the view is the tensor's own memory."""
    assert any(_overwritten_while_computing(lambda x: x) for _ in range(5))


def _remembering():
    """A transformation whose state is the parameters it saw first, as of prodigy's."""

    def update(updates, state, params=None):
        return jax.tree.map(jnp.zeros_like, updates), state

    return optax.GradientTransformation(lambda params: (params, params), update)


def _state_changes_with_the_parameter(dtype, size):
    p = torch.ones(size, dtype=dtype, requires_grad=True)
    p.grad = torch.ones_like(p)
    optimizer = OptaxOptimizer([p], _remembering())
    optimizer.step()
    with torch.no_grad():
        p.add_(1)
    p.data = torch.full_like(p, 5)
    gc.collect()
    torch.full((size,), 9, dtype=dtype)  # takes the memory that was freed
    optimizer.step()
    first, second = optimizer.to_jax()[1]
    return not (np.asarray(first[0]) == 1).all() or not (np.asarray(second[0]) == 1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [64, 1 << 18])
def test_a_state_never_shares_memory_with_torch(dtype, size):
    assert not _state_changes_with_the_parameter(dtype, size)


def test_without_the_copy_the_step_is_given_one_buffer_twice(monkeypatch):
    monkeypatch.setattr(_exchange, "kept", jax.device_put)
    with pytest.raises(RuntimeError, match="donate the same buffer twice"):
        _state_changes_with_the_parameter(torch.float32, 1 << 18)


def test_a_state_made_of_gradients_is_a_copy():
    """Gradients are zeroed in place by zero_grad(set_to_none=False)."""

    def update(updates, state, params=None):
        return jax.tree.map(jnp.zeros_like, updates), updates

    p = torch.ones(1 << 18, requires_grad=True)
    tx = optax.GradientTransformation(lambda params: jax.tree.map(jnp.zeros_like, params), update)
    optimizer = OptaxOptimizer([p], tx)
    p.grad = torch.full_like(p, 3.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    assert (np.asarray(optimizer.to_jax()[1][0]) == 3).all()


def _copies_that_change():
    """What is loaded and what is handed out: does it follow torch's writes?"""
    tensor = torch.ones(1 << 18)
    loaded = _exchange.to_array(tensor, jax.ShapeDtypeStruct((1 << 18,), jnp.float32), "x")
    (out,), _ = OptaxOptimizer([tensor], optax.sgd, lr=1.0).to_jax()
    tensor.zero_()
    return [not (np.asarray(x) == 1).all() for x in (loaded, out)]


def test_what_jax_keeps_is_a_copy():
    assert _copies_that_change() == [False, False]


def test_without_the_copy_it_follows_torch(monkeypatch):
    """The test above can fail."""
    monkeypatch.setattr(_exchange, "kept", jax.device_put)
    assert _copies_that_change() == [True, True]
