"""Linear algebra: inverses, determinants, factorizations, norms.

Rules follow M. B. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008), with his letters: A is x, and its cotangent Ā the share. All take stacks of matrices. The
gradient of a function of a symmetric matrix (cholesky, eigh) is the symmetric one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minigrad.errors import call
from minigrad.ops.product import diagonal, matmul
from minigrad.ops.reduction import sum
from minigrad.ops.shape import axis_of, concat, expand_dims, matrix_transpose, reshape_to
from minigrad.primitive import elementwise, linear, primitive, tensor_function
from minigrad.specialize import untracked


class EighResult(NamedTuple):
    eigenvalues: Any
    eigenvectors: Any


class QRResult(NamedTuple):
    Q: Any
    R: Any


class SlogdetResult(NamedTuple):
    sign: Any
    logabsdet: Any


class SVDResult(NamedTuple):
    U: Any
    S: Any
    Vh: Any


def _diagonal_matrix(w: Any) -> Any:
    """Matrices with w on their diagonals."""
    return w[..., None] * np.eye(w.shape[-1], dtype=w.dtype)


def _symmetric(x: Any) -> Any:
    return 0.5 * (x + x.mT)


def _inverse_or_zero(x: Any) -> Any:
    """1 / x, 0 where x is 0."""
    return (x != 0) / (x + (x == 0))


# Inverses and linear systems


def _solve_shares(v: Any, x: Any, out: Any) -> tuple[Any, Any]:
    """B̄ = A⁻ᵀ C̄, Ā = -B̄ Cᵀ (Giles 2008, 2.3.1)."""
    share = solve_matrices(x.mT, v)
    return -share @ out.mT, share


def _pinv_share(v: Any, x: Any, out: Any) -> Any:
    """The transpose of Golub & Pereyra 1973, equation 4.12, for a rank that does not change."""
    left = v.mT - (x @ out) @ v.mT
    right = v.mT - v.mT @ (out @ x)
    return left @ out @ out.mT + out.mT @ out @ right - out.mT @ v @ out.mT


_INV = """The inverses of square matrices (..., M, M). The derivative is dx⁻¹ = -x⁻¹ dx x⁻¹ (Giles 2008, 2.2.3).

Raises:
    numpy.linalg.LinAlgError: a matrix is singular or not square.
"""
_RANK = """The ranks of matrices (..., M, N): the number of singular values above rtol times the largest.

rtol is max(M, N) times the dtype's eps if not given. No gradient flows through it.
"""
_DET = """The determinants of square matrices (..., M, M). The derivative is that of Jacobi's formula, det(x) x⁻ᵀ.

It is computed from singular values, so that a first derivative exists where x is singular; a second one does not.
"""

inv = primitive(np.linalg.inv, lambda v, out: -(out.mT @ v @ out.mT), signature="(x, /)", doc=_INV)
solve_matrices = primitive(np.linalg.solve, joint=_solve_shares, signature="(x, y, /)")
pinv_of = primitive(
    lambda x, /, *, rtol: np.linalg.pinv(x, rtol=rtol), lambda v, x, out: _pinv_share(v, x, out), name="pinv"
)
matrix_rank = elementwise(
    lambda x, /, *, rtol=None: np.linalg.matrix_rank(x, rtol=rtol) if rtol is not None else np.linalg.matrix_rank(x),
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
        >>> z, x.grad
        (Tensor([1. , 0.5], from reshape), Tensor([[-0.5  , -0.25 ],
               [-0.25 , -0.125]]))
    """
    if len(np.shape(y)) != 1:
        return solve_matrices(x, y)
    out = solve_matrices(x, expand_dims(y, axis=1))
    return reshape_to(out, shape=out.shape[:-1])


@tensor_function
def pinv(x: Any, /, *, rtol: Any = None) -> Any:
    """The Moore-Penrose inverse of matrices: (..., M, N) to (..., N, M).

    Singular values below rtol times the largest count as 0; rtol is max(M, N) times the dtype's eps if not given. The
    derivative (Golub & Pereyra 1973, equation 4.12) supposes that the rank does not change.

    Example:
        >>> import minigrad as mg
        >>> mg.linalg.pinv(mg.Tensor([[2.0, 0.0], [0.0, 0.0]]))
        Tensor([[0.5, 0. ],
               [0. , 0. ]])
    """
    return pinv_of(x, rtol=rtol)


# Determinants


def _cofactors(x: Any, /) -> Any:
    """The derivative of the determinant, det(x) x⁻ᵀ, from the singular values so that it exists for singular x too."""
    u, s, vh = np.linalg.svd(x)
    n = x.shape[-1]
    others = np.multiply.reduce(np.where(np.eye(n, dtype=bool), 1, s[..., None, :]), axis=-1).astype(s.dtype)
    sign = np.sign(np.linalg.det(u) * np.linalg.det(vh))
    return sign[..., None, None] * (u * others[..., None, :] @ vh)


def _cofactors_share(v: Any, x: Any, out: Any) -> Any:
    """From d(det(x) x⁻ᵀ) = tr(x⁻¹ dx) C - x⁻ᵀ dxᵀ C. Second derivatives of det need a regular x."""
    inverse = inv(x).mT
    return np.add.reduce(v * out, axis=(-2, -1), keepdims=True) * inverse - out @ v.mT @ inverse


def _slogdet_share(v: Any, x: Any) -> tuple[Any]:
    """d log|det x| = tr(x⁻¹ dx) (Giles 2008, 2.2.4). The sign is constant."""
    return (None if v[1] is None else v[1][..., None, None] * inv(x).mT,)


cofactors = primitive(_cofactors, lambda v, x, out: _cofactors_share(v, x, out), name="cofactors")
det = primitive(np.linalg.det, lambda v, x: v[..., None, None] * cofactors(x), signature="(x, /)", doc=_DET)
slogdet_parts = primitive(
    lambda x, /: tuple(np.linalg.slogdet(x)), joint=_slogdet_share, outputs=("sign", "logabsdet"), name="slogdet"
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


# Factorizations


def _cholesky_share(v: Any, out: Any) -> Any:
    """Ā = ½ L⁻ᵀ (P + Pᵀ) L⁻¹, P the lower half of Lᵀ L̄ with its diagonal halved (Murray 2016, equation 10)."""
    p = out.mT @ v
    half = solve_matrices(out.mT, np.tril(p) + np.tril(p, -1).mT)
    return 0.5 * solve_matrices(out.mT, half.mT).mT


def _eigh_share(v: Any, w: Any, q: Any) -> tuple[Any]:
    """Ā = Q (diag(w̄) + F ∘ Qᵀ Q̄) Qᵀ, F_ij = 1 / (w_j - w_i) (Giles 2008, 3.1). F is 0 for equal eigenvalues."""
    v_w, v_q = v
    inner: Any = 0
    if v_q is not None:
        inner = _inverse_or_zero(w[..., None, :] - w[..., :, None]) * (q.mT @ v_q)
    if v_w is not None:
        inner = inner + _diagonal_matrix(v_w)
    return (_symmetric(q @ inner @ q.mT),)


def _qr_share(v: Any, q: Any, r: Any) -> tuple[Any]:
    """Ā = (Q̄ + Q M) R⁻ᵀ, M the lower half of R R̄ᵀ - Q̄ᵀ Q made symmetric (Walter & Lehmann 2010; full rank, M ≥ N)."""
    v_q, v_r = v
    m: Any = 0
    if v_r is not None:
        m = r @ v_r.mT
    if v_q is not None:
        m = m - v_q.mT @ q
    share = q @ (np.tril(m) + np.tril(m, -1).mT)
    if v_q is not None:
        share = v_q + share
    return (solve_matrices(r, share.mT).mT,)


def _svd_share(v: Any, u: Any, s: Any, vh: Any) -> tuple[Any]:
    """The thin form of Giles 2008, 3.2 (Townsend 2016): F_ij = 1 / (s_j² - s_i²), 0 for equal singular values.

    Ā = U ((F ∘ (UᵀŪ - ŪᵀU)) S + S (F ∘ (VᵀV̄ - V̄ᵀV)) + diag(s̄)) Vᵀ + (I - UUᵀ) Ū S⁻¹ Vᵀ + U S⁻¹ V̄ᵀ (I - VVᵀ)
    """
    v_u, v_s, v_vh = v
    row, inverse = s[..., None, :], _inverse_or_zero(s)
    f = _inverse_or_zero((row - row.mT) * (row + row.mT))
    inner: Any = 0 if v_s is None else _diagonal_matrix(v_s)
    outside: Any = 0
    if v_u is not None:
        turn = u.mT @ v_u
        inner = inner + f * (turn - turn.mT) * row
        outside = ((v_u - u @ turn) * inverse[..., None, :]) @ vh
    if v_vh is not None:
        turn = vh @ v_vh.mT
        inner = inner + row.mT * (f * (turn - turn.mT))
        outside = outside + u @ (inverse[..., :, None] * (v_vh - turn.mT @ vh))
    return (u @ inner @ vh + outside,)


cholesky_lower = primitive(np.linalg.cholesky, lambda v, out: _cholesky_share(v, out), signature="(x, /)")
eigh_parts = primitive(lambda x, /: tuple(np.linalg.eigh(x)), joint=_eigh_share, outputs=("w", "q"), name="eigh")
qr_parts = primitive(lambda x, /: tuple(np.linalg.qr(x)), joint=_qr_share, outputs=("q", "r"), name="qr")
svd_parts = primitive(
    lambda x, /: tuple(np.linalg.svd(x, full_matrices=False)), joint=_svd_share, outputs=("u", "s", "vh"), name="svd"
)


@tensor_function
def cholesky(x: Any, /, *, upper: bool = False) -> Any:
    """The lower triangular L with x = L @ L.mT for symmetric positive definite x (..., M, M), or the upper one.

    Only the triangle asked for is read. The gradient is the symmetric one (Murray 2016, "Differentiation of the
    Cholesky decomposition").

    Raises:
        numpy.linalg.LinAlgError: x is not positive definite.

    Example:
        >>> import minigrad as mg
        >>> mg.linalg.cholesky(mg.Tensor([[4.0, 2.0], [2.0, 5.0]]))
        Tensor([[2., 0.],
               [1., 2.]])
    """
    return matrix_transpose(cholesky_lower(matrix_transpose(x))) if upper else cholesky_lower(x)


def eigh(x: Any, /) -> EighResult:
    """The eigenvalues (..., M), ascending, and eigenvectors (..., M, M) of symmetric matrices (..., M, M).

    Only the lower triangle is read; the gradient is the symmetric one. Eigenvectors of equal eigenvalues have no
    derivative, and nothing flows between them.

    Example:
        >>> import minigrad as mg
        >>> mg.linalg.eigh(mg.Tensor([[2.0, 1.0], [1.0, 2.0]])).eigenvalues
        Tensor([1., 3.])
    """
    return EighResult(*eigh_parts(x))


@tensor_function
def eigvalsh(x: Any, /) -> Any:
    """The eigenvalues (..., M), ascending, of symmetric matrices (..., M, M). See eigh."""
    return eigh(x).eigenvalues


def qr(x: Any, /, *, mode: str = "reduced") -> QRResult:
    """The factors of x = Q @ R, Q with orthonormal columns and R upper triangular.

    Args:
        x: matrices (..., M, N), whose first min(M, N) columns are linearly independent where a gradient is asked for.
        mode: "reduced" for Q (..., M, K) and R (..., K, N) with K = min(M, N); "complete" for Q (..., M, M), which
            has no derivative if M > N, since its last columns are any basis of what is left.

    Example:
        >>> import minigrad as mg
        >>> mg.linalg.qr(mg.Tensor([[3.0], [4.0]])).R
        Tensor([[-5.]])
    """
    rows, columns = _sizes("qr", x)
    if mode not in ("reduced", "complete"):
        raise ValueError(f"{call('qr', (x,), {'mode': mode})}: mode must be 'reduced' or 'complete'")
    if mode == "complete" and rows > columns:
        return QRResult(
            *_without_gradient("qr", x, lambda value: np.linalg.qr(value, mode="complete"), "mode='reduced'")
        )
    if rows >= columns:
        return QRResult(*qr_parts(x))
    q, r = qr_parts(x[..., :rows])
    return QRResult(q, concat([r, matmul(matrix_transpose(q), x[..., rows:])], axis=-1))


def svd(x: Any, /, *, full_matrices: bool = True) -> SVDResult:
    """The factors of x = U @ diag(S) @ Vh, U and V with orthonormal columns, S descending.

    Args:
        x: matrices (..., M, N).
        full_matrices: U (..., M, M) and Vh (..., N, N). They have a derivative only if M = N or with
            full_matrices=False, which gives U (..., M, K) and Vh (..., K, N), K = min(M, N).

    Vectors of equal singular values have no derivative, and nothing flows between them; what a gradient means must
    not depend on the signs of the vectors either (Giles 2008, section 3.2).

    Example:
        >>> import minigrad as mg
        >>> mg.linalg.svd(mg.Tensor([[0.0, 2.0], [1.0, 0.0]])).S
        Tensor([2., 1.])
    """
    rows, columns = _sizes("svd", x)
    if full_matrices and rows != columns:
        return SVDResult(*_without_gradient("svd", x, np.linalg.svd, "full_matrices=False"))
    return SVDResult(*svd_parts(x))


@tensor_function
def svdvals(x: Any, /) -> Any:
    """The singular values (..., min(M, N)), descending, of matrices (..., M, N)."""
    return svd(x, full_matrices=False).S


def _sizes(name: str, x: Any) -> tuple[int, int]:
    shape = np.shape(x)
    if len(shape) < 2:
        raise ValueError(f"{call(name, (x,), {})}: needs matrices, (..., M, N); insert axes with x[:, None]")
    return shape[-2], shape[-1]


def _without_gradient(name: str, x: Any, function: Any, way_out: str) -> Any:
    if getattr(x, "node", None) is not None:
        raise ValueError(
            f"{call(name, (x,), {})}: the full factors of a matrix that is not square have no derivative; say {way_out}, "
            "or x.detach() if no gradient is wanted"
        )
    return untracked(tuple(function(x.data))) if hasattr(x, "node") else function(x)


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
    rows, columns = _sizes("matrix_power", x)
    if rows != columns:
        raise ValueError(f"{call('matrix_power', (x, n), {})}: the matrices must be square")
    if n < 0:
        x, n = inv(x), -n
    if n == 0:
        return np.zeros_like(x) + np.eye(rows, dtype=x.dtype)
    out = None
    while True:  # by squaring, as the bits of n say
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


@tensor_function
def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """The sums of the diagonals of matrices (..., M, N), or of diagonals above (offset > 0) or below the main one."""
    return sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)


def multi_dot(arrays: Any, /) -> Any:
    """The product of two or more matrices, in the order that takes the fewest multiplications.

    The first and the last may be vectors. The order is found by dynamic programming (Cormen et al. 2009, section
    15.2).

    Example:
        >>> import minigrad as mg
        >>> mg.linalg.multi_dot([mg.ones((2, 100)), mg.ones((100, 3)), mg.ones(3)])
        Tensor([300., 300.])
    """
    arrays = list(arrays)
    if len(arrays) < 2:
        raise ValueError(f"multi_dot: needs at least two arrays, and {len(arrays)} were given")
    first, last = np.shape(arrays[0]), np.shape(arrays[-1])
    sizes = [first[0] if len(first) == 2 else 1, *(np.shape(x)[0] for x in arrays[1:])]
    sizes = [sizes[0], first[-1], *sizes[2:], last[1] if len(last) == 2 else 1]
    best: dict[tuple[int, int], tuple[int, int]] = {}  # (i, j): (cost of the product i..j, where to split it)
    for length in range(1, len(arrays)):
        for i in range(len(arrays) - length):
            j = i + length
            costs = [
                (
                    best.get((i, k), (0, 0))[0]
                    + best.get((k + 1, j), (0, 0))[0]
                    + sizes[i] * sizes[k + 1] * sizes[j + 1],
                    k,
                )
                for k in range(i, j)
            ]
            best[i, j] = sorted(costs)[0]

    def product(i: int, j: int) -> Any:
        return arrays[i] if i == j else matmul(product(i, best[i, j][1]), product(best[i, j][1] + 1, j))

    return product(0, len(arrays) - 1)
