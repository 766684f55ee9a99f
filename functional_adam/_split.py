"""One array cut into many, and back by one concatenation: what unpacking is made of.

XLA on CPU compiles a kernel for each slice: a thousand of them take 20 CPU seconds. Here pieces of
one length come out of one kernel with many results, in 2.3 seconds. Its results are those of
a reduction of each piece with itself, for only reductions have many results on CPU: the bits of x,
or else those of x, are x. The derivative is the plain split, whose transpose is one concatenation.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

# Results of one kernel: from about 32 on, more of them save nothing.
_RESULTS = 64
# Pieces of one length from which a kernel of many results pays.
_MANY = 4
# Elements of a piece up to which; the kernel runs on one thread.
_SHORT = 1 << 16


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def split(flat: jax.Array, sizes: tuple[int, ...]) -> list[jax.Array]:
    """Cut a vector into pieces of these lengths, which sum to its own."""
    if not jnp.issubdtype(flat.dtype, jnp.floating) or len(sizes) < _MANY:
        return _plainly(flat, sizes)
    return lax.platform_dependent(
        flat,
        cpu=functools.partial(_together, sizes=sizes),
        default=functools.partial(_plainly, sizes=sizes),
    )


@split.defjvp
def _split_jvp(sizes, primals, tangents):
    return split(primals[0], sizes), _plainly(tangents[0], sizes)


def join(pieces: Sequence[jax.Array]) -> jax.Array:
    """One vector of many."""
    return lax.concatenate(list(pieces), 0)


def _plainly(flat, sizes):
    return list(lax.split(flat, sizes))


def _together(flat, sizes):
    # As floats the larger would do, but where subnormal numbers are flushed to zero.
    bits = lax.bitcast_convert_type(flat, jnp.dtype(f"uint{8 * flat.dtype.itemsize}"))
    starts = list(itertools.accumulate(sizes, initial=0))
    alike: dict[int, list[int]] = {}
    for i, size in enumerate(sizes):
        alike.setdefault(size, []).append(i)
    pieces: dict[int, jax.Array] = {}
    for size, members in alike.items():
        cuts = [lax.slice(bits, (starts[i],), (starts[i] + size,)) for i in members]
        if len(members) >= _MANY and 0 < size <= _SHORT:
            cuts = _results(cuts, size)
        pieces.update(zip(members, cuts, strict=True))
    return [lax.bitcast_convert_type(pieces[i], flat.dtype) for i in range(len(sizes))]


def _results(cuts, size):
    none = jnp.zeros((), cuts[0].dtype)
    found = []
    for first in range(0, len(cuts), _RESULTS):
        some = cuts[first : first + _RESULTS]
        twice = tuple(lax.broadcast_in_dim(x, (2, size), (1,)) for x in some)
        found += lax.reduce(twice, (none,) * len(some), _either, (0,))
    return found


def _either(a, b):
    return tuple(x | y for x, y in zip(a, b, strict=True))
