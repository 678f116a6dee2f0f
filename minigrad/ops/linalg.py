"""Linear algebra: inverses and linear systems, determinants, powers and products.

Rules follow M. B. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008), with his letters: A is x, and Ā is its cotangent. All functions accept stacks of matrices.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minigrad.engine.errors import call
from minigrad.engine.primitive import Function, linear, primitive, tensor_function
from minigrad.ops.product import matmul
from minigrad.ops.shape import axis_of, expand_dims, reshape_to


class SlogdetResult(NamedTuple):
    """The result of slogdet."""

    sign: Any
    logabsdet: Any


def matrix_sizes(name: str, x: Any) -> tuple[int, int]:
    """M and N of matrices (..., M, N)."""
    shape = np.shape(x)
    if len(shape) < 2:
        raise ValueError(f"{call(name, (x,), {})}: x must be matrices (..., M, N); insert axes with x[:, None]")
    return shape[-2], shape[-1]


# Inverses and linear systems


def _solve_contributions(v: Any, x: Any, out: Any) -> tuple[Any, Any]:
    """B̄ = A⁻ᵀ C̄, Ā = -B̄ Cᵀ (Giles 2008, 2.3.1)."""
    contribution = solve_matrices(x.mT, v)
    return -contribution @ out.mT, contribution


_INV = """The inverses of square matrices (..., M, M). The derivative is dx⁻¹ = -x⁻¹ dx x⁻¹ (Giles 2008, 2.2.3).

Raises:
    numpy.linalg.LinAlgError: a matrix is singular or not square.
"""
_RANK = """The ranks of matrices (..., M, N): the number of singular values above rtol times the largest.

The default of rtol is max(M, N) times the dtype's eps. No gradient flows through it.
"""
_DET = """The determinants of square matrices (..., M, M). The derivative is that of Jacobi's formula, det(x) x⁻ᵀ.

The derivative is computed from singular values, so that the first and the second one exist where x is singular; the
third needs a regular x.
"""


def without_infinities(x: Any) -> Any:
    """Matrices (..., M, N), all NaN where a matrix has an infinity, for which LAPACK's SVD may never return.

    For NaN it reports that it does not converge.
    """
    if np.ndim(x) < 2:
        return x
    return np.where(np.all(np.isfinite(x), axis=(-2, -1), keepdims=True), x, np.nan)


inv = primitive(np.linalg.inv, lambda v, out: -(out.mT @ v @ out.mT), signature="(x, /)", doc=_INV, analytic=True)
solve_matrices = primitive(np.linalg.solve, joint=_solve_contributions, signature="(x, y, /)", analytic=True)
matrix_rank = primitive(
    lambda x, /, *, rtol=None: np.linalg.matrix_rank(without_infinities(x), **({} if rtol is None else {"rtol": rtol})),
    name="matrix_rank",
    doc=_RANK,
)


@tensor_function
def solve(x: Any, y: Any, /) -> Any:
    """The solution z of x @ z = y.

    Args:
        x: square matrices, (..., M, M).
        y: a vector (M,), or matrices (..., M, K).

    Raises:
        numpy.linalg.LinAlgError: x is singular, or not square.

    Example:
        >>> import minigrad as mg
        >>> x = mg.Tensor([[2.0, 0.0], [0.0, 4.0]], requires_grad=True)
        >>> z = mg.linalg.solve(x, mg.Tensor([2.0, 2.0]))
        >>> z.sum().backward()
        >>> z.tolist(), x.grad.tolist()
        ([1.0, 0.5], [[-0.5, -0.25], [-0.25, -0.125]])
    """
    if len(np.shape(y)) != 1:
        return solve_matrices(x, y)
    out = solve_matrices(x, expand_dims(y, axis=1))
    return reshape_to(out, shape=out.shape[:-1])


# Determinants


def _products_without(s: Any, *left_out: Any) -> Any:
    """The products of singular values (..., M), without one factor of each array that is left out.

    One array (..., M) gives (..., M), two that broadcast to (..., M, M) give that. Mantissas and exponents are
    multiplied separately, so that only the result can over- or underflow. Zeros are counted, as they cannot be divided
    out.
    """
    mantissas, exponents = np.frexp(np.where(s == 0, 1, s))
    mantissa, exponent = np.ones(s.shape[:-1], s.dtype), np.add.reduce(exponents, axis=-1)
    for k in range(s.shape[-1]):
        mantissa, shift = np.frexp(mantissa * mantissas[..., k])
        exponent = exponent + shift
    spread = (..., *(None for _ in left_out))
    mantissa, exponent, zeros = mantissa[spread], exponent[spread], np.add.reduce(s == 0, axis=-1)[spread]
    for factor in left_out:
        divisor, shift = np.frexp(np.where(factor == 0, 1, factor))
        mantissa, exponent, zeros = mantissa / divisor, exponent - shift, zeros - (factor == 0)
    return np.where(zeros == 0, np.ldexp(mantissa, exponent), 0)


def _power_of_two(x: Any, /) -> Any:
    """The largest power of two that is at most the largest |element| of each matrix (..., M, N), as (..., 1, 1)."""
    largest = np.maximum.reduce(np.absolute(x), axis=(-2, -1), keepdims=True, initial=0)
    return np.ldexp(np.ones_like(largest), np.frexp(largest)[1] - 1)


def _svd(x: Any) -> Any:
    """The singular value decomposition; the singular values of a matrix with NaN or infinity are NaN."""
    is_finite = np.all(np.isfinite(x), axis=(-2, -1), keepdims=True)
    u, s, vh = np.linalg.svd(np.where(is_finite, x, 0))
    return u, np.where(is_finite[..., 0], s, np.nan), vh


def _cofactors(x: Any, /) -> Any:
    """The derivative of the determinant, det(x) x⁻ᵀ, computed from the singular values: it exists for singular x."""
    u, s, vh = _svd(x)
    sign = np.sign(np.linalg.det(u) * np.linalg.det(vh))
    return sign[..., None, None] * (u * _products_without(s, s)[..., None, :] @ vh)


def _second_of_det(y: Any, x: Any, /) -> Any:
    """The derivative of <y, cofactors(x)>, computed from the singular values: it exists for singular x.

    For a diagonal matrix S it is diag(P diag(y)) - P ∘ yᵀ, where P_ij is the product of all singular values except the
    i-th and the j-th, and P_ii = 0, as the determinant is linear in each of its rows and columns.
    """
    u, s, vh = _svd(x)
    is_diagonal = np.eye(x.shape[-1], dtype=bool)
    p = np.where(is_diagonal, 0, _products_without(s, s[..., :, None], np.where(is_diagonal, 1, s[..., None, :])))
    rotated = u.mT @ y @ vh.mT
    diagonals = (p @ np.diagonal(rotated, axis1=-2, axis2=-1)[..., None]) * is_diagonal
    sign = np.sign(np.linalg.det(u) * np.linalg.det(vh))
    return sign[..., None, None] * (u @ (diagonals - p * rotated.mT) @ vh)


def _third_of_det(v: Any, y: Any, x: Any) -> Any:
    """The derivative of <v, second_of_det(y, x)> by x, for regular x; a polynomial of degree M - 3.

    x is divided by a power of two first, as det(x) may overflow where the third derivative does not.
    """
    n = x.shape[-1]
    scale = power_of_two(x)
    x = x / scale
    inverse = inv(x)
    a, b = inverse @ y, inverse @ v
    one = np.eye(n, dtype=x.dtype)
    trace_a, trace_b, trace_ab = (np.add.reduce(m * one, axis=(-2, -1), keepdims=True) for m in (a, b, a @ b))
    inner = (trace_a * trace_b - trace_ab) * one - trace_a * b - trace_b * a + a @ b + b @ a
    return (det(x)[..., None, None] * scale ** max(n - 3, 0)) * (inner @ inverse).mT


def _slogdet_contributions(v: Any, x: Any) -> tuple[Any]:
    """d log|det x| = tr(x⁻¹ dx) (Giles 2008, 2.2.4). The sign is constant."""
    return (None if v[1] is None else v[1][..., None, None] * inv(x).mT,)


power_of_two = primitive(_power_of_two)
second_of_det: Function = primitive(
    _second_of_det, lambda v, x: second_of_det(v, x), _third_of_det, name="second_of_det"
)
cofactors = primitive(_cofactors, lambda v, x: second_of_det(v, x), name="cofactors")
det = primitive(
    np.linalg.det, lambda v, x: v[..., None, None] * cofactors(x), signature="(x, /)", doc=_DET, analytic=True
)
slogdet_parts = primitive(
    lambda x, /: tuple(np.linalg.slogdet(x)),
    joint=_slogdet_contributions,
    outputs=("sign", "logabsdet"),
    name="slogdet",
)


def slogdet(x: Any, /) -> SlogdetResult:
    """The sign and the logarithm of the absolute value of the determinants of matrices (..., M, M).

    Neither over- nor underflows where det would. The derivative is that of log|det x|, x⁻ᵀ.

    Example:
        >>> import minigrad as mg
        >>> mg.linalg.slogdet(-mg.eye(3)).sign
        Tensor(-1.)
    """
    return SlogdetResult(*slogdet_parts(x))


# Powers and products


@tensor_function
def matrix_power(x: Any, n: int, /) -> Any:
    """Square matrices (..., M, M) multiplied n times with themselves; their inverses for negative n.

    Example:
        >>> import minigrad as mg
        >>> mg.linalg.matrix_power(mg.Tensor([[1.0, 1.0], [0.0, 1.0]]), 5)
        Tensor([[1., 5.],
               [0., 1.]])
    """
    rows, columns = matrix_sizes("matrix_power", x)
    if rows != columns:
        raise ValueError(f"{call('matrix_power', (x, n), {})}: the matrices must be square")
    if n < 0:
        x, n = inv(x), -n
    if n == 0:
        return np.zeros_like(x) + np.eye(rows, dtype=x.dtype)
    out = None
    while True:  # by repeated squaring
        if n & 1:
            out = x if out is None else matmul(out, x)
        n >>= 1
        if not n:
            return out
        x = matmul(x, x)


cross_along = linear(
    np.linalg.cross,
    lambda v, y, axis: np.linalg.cross(y, v, axis=axis),
    lambda v, x, axis: np.linalg.cross(v, x, axis=axis),
    signature="(x, y, /, *, axis=-1)",
)


@tensor_function
def cross(x: Any, y: Any, /, *, axis: int = -1) -> Any:
    """The cross product of 3-vectors along an axis of size 3; the other axes broadcast.

    Example:
        >>> import minigrad as mg
        >>> mg.linalg.cross(mg.Tensor([1.0, 0.0, 0.0]), mg.Tensor([0.0, 1.0, 0.0]))
        Tensor([0., 0., 1.])
    """
    ndim = len(np.shape(x))
    return cross_along(x, y, axis=axis_of(axis, ndim) - ndim)


def multi_dot(arrays: Any, /) -> Any:
    """The product of two or more matrices, in the order that needs the fewest multiplications.

    The first and the last may be vectors. The order comes from dynamic programming (Cormen et al. 2009, section 15.2).

    Example:
        >>> import minigrad as mg
        >>> mg.linalg.multi_dot([mg.ones((2, 100)), mg.ones((100, 3)), mg.ones(3)])
        Tensor([300., 300.])
    """
    arrays = list(arrays)
    if len(arrays) < 2:
        raise ValueError(f"multi_dot: needs at least two arrays, but got {len(arrays)}")
    first, last = np.shape(arrays[0]), np.shape(arrays[-1])
    sizes = [first[0] if len(first) == 2 else 1, *(np.shape(x)[0] for x in arrays[1:])]
    sizes = [sizes[0], first[-1], *sizes[2:], last[1] if len(last) == 2 else 1]
    best: dict[tuple[int, int], tuple[int, int]] = {}  # (i, j): (cost of the product i..j, where to split it)

    def cost(i: int, j: int) -> int:
        return best[i, j][0] if i < j else 0

    for length in range(1, len(arrays)):
        for i in range(len(arrays) - length):
            j = i + length
            costs = [(cost(i, k) + cost(k + 1, j) + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)]
            best[i, j] = sorted(costs)[0]

    def product(i: int, j: int) -> Any:
        return arrays[i] if i == j else matmul(product(i, best[i, j][1]), product(best[i, j][1] + 1, j))

    return product(0, len(arrays) - 1)
