"""Numbers for how far apart two arrays are.

`ulp` is a unit in the last place of the dtype compared. Two elements that are not finite are the
same if they are the same infinity or both NaN, and an infinity is no distance from a number that
is one in that dtype; otherwise their distance is infinite.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np

from .inputs import Leaves, State, numpy_dtype

Figures = dict[str, float]
"""Name -> value:

p_ulp           largest difference of parameters, in ulp of the largest parameter
p_own_ulp       the same, each in ulp of the element itself
p_off           fraction of the parameters that differ in any bit
<moment>_ulp    largest difference of a moment, each in ulp of the element itself
<moment>_off    fraction of its elements that differ in any bit
free            free-running: largest difference of parameters over the distance travelled
free_off        free-running: fraction of the parameters that differ in the end
spread          `free` between torch's own fused and single modes
times_spread    free / spread
truth           `free` between the subject and the float64 reference
truth_other     `free` between what it is held against and the float64 reference
times_truth     truth / truth_other
"""


def one_step(a: State, b: State, leaf: str) -> Figures:
    """Figures of two states, in float64, after one step from the same one."""
    dtype = numpy_dtype(leaf)
    p, q = _whole(a.params[leaf]), _whole(b.params[leaf])
    own, off = _differences(p, q, dtype)
    figures = {"p_ulp": _distance(p, q) / _ulp_of_largest(q, dtype), "p_own_ulp": own, "p_off": off}
    for field in a.moments.keys() & b.moments.keys():
        m, n = (_whole(state.moments[field][leaf]) for state in (a, b))
        ulp, off = _differences(m, n, dtype)
        figures |= {f"{field}_ulp": ulp, f"{field}_off": off}
    return figures


def free(a: Leaves, b: Leaves, start: Leaves, leaf: str) -> Figures:
    """Figures of two ends, in float64, of free running from the same start."""
    p, q, origin = (_whole(leaves[leaf]) for leaves in (a, b, start))
    _, off = _differences(p, q, numpy_dtype(leaf))
    return {"free": ratio(_distance(p, q), _distance(q, origin)), "free_off": off}


def worst(figures: list[Figures]) -> Figures:
    """The largest of each figure; of the fractions that differ, the mean."""
    return {
        name: float((np.mean if name.endswith("_off") else np.max)([f[name] for f in figures]))
        for name in figures[0]
    }


def ratio(a: float, b: float) -> float:
    """``a / b``, and zero where nothing differs at all."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 0.0 if a == 0 else float(np.float64(a) / np.float64(b))


def double(leaves: Leaves) -> Leaves:
    """Leaves in float64."""
    return {name: array.astype(np.float64) for name, array in leaves.items()}


def _whole(x: np.ndarray) -> np.ndarray:
    """Without the scalar tail of torch's fused kernel, which contracts other products."""
    return x[: len(x) // 64 * 64]


def _differences(a: np.ndarray, b: np.ndarray, dtype: np.dtype) -> tuple[float, float]:
    """Largest difference in ulp of the element, and the fraction differing after rounding."""
    size = len(a)
    gap, where = _gaps(a, b)
    a, b = a[where], b[where]
    with np.errstate(invalid="ignore", over="ignore"):
        rounded = b.astype(dtype).astype(np.float64)
    gap = np.where(np.isinf(a) & (a == rounded), 0, gap)
    off = np.count_nonzero(a != rounded)
    return float(np.max(gap / _spacing(b, dtype), initial=0)), off / size


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.max(_gaps(a, b)[0], initial=0))


def _gaps(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Differences of the elements that differ, and which these are; infinite without a number."""
    (where,) = np.nonzero(a != b)
    where = where[~(np.isnan(a[where]) & np.isnan(b[where]))]
    with np.errstate(invalid="ignore"):
        gap = np.abs(a[where] - b[where])
    return np.where(np.isnan(gap), np.inf, gap), where


def _ulp_of_largest(x: np.ndarray, dtype: np.dtype) -> float:
    largest = np.max(np.abs(x), initial=0, where=np.isfinite(x))
    return float(_spacing(largest, dtype))


def _spacing(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Distance of neighbours in the dtype, at zero that of the subnormals."""
    info = ml_dtypes.finfo(dtype)
    _, exponent = np.frexp(np.where(np.isfinite(x), x, 1))
    return np.ldexp(1.0, np.maximum(exponent - 1, info.minexp) - info.nmant)
