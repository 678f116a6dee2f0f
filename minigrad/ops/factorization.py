"""Factorizations of matrices: Cholesky, eigenvalues of symmetric matrices, QR, singular values.

The letters are those of Giles 2008 (see linalg.py): A is x, its cotangent Ā the gradient. The gradient of a function of
a symmetric matrix (cholesky, eigh) is the symmetric one.

Derivatives of eigenvectors and singular vectors divide by the differences of the values that they belong to. For equal
values this is 0 / 0 if the function does not depend on which basis of their space was computed. Its derivative then
exists, but no rule can find it: Q log(Λ) Qᵀ and a function that does not use these vectors have the same cotangent at
the identity, 0, and different limits of the quotient. So the result is NaN, not a guess.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minigrad.engine.errors import call, explain_error
from minigrad.engine.primitive import elementwise, primitive, tensor_function
from minigrad.engine.specialize import untracked
from minigrad.ops.linalg import matrix_sizes, solve_matrices, without_infinities
from minigrad.ops.product import matmul
from minigrad.ops.shape import concat, matrix_transpose

_ROUNDINGS = 32  # two values or two products that differ by fewer units of rounding count as equal


class EighResult(NamedTuple):
    """The result of eigh."""

    eigenvalues: Any
    eigenvectors: Any


class QRResult(NamedTuple):
    """The result of qr."""

    Q: Any
    R: Any


class SVDResult(NamedTuple):
    """The result of svd."""

    U: Any
    S: Any
    Vh: Any


def _diagonal_matrix(w: Any) -> Any:
    """Matrices with w on their diagonals."""
    return w[..., None] * np.eye(w.shape[-1], dtype=w.dtype)


def _rounding(values: Any) -> Any:
    return _ROUNDINGS * np.finfo(values.dtype).eps


def _is_close(gaps: Any, values: Any) -> Any:
    largest = np.maximum.reduce(np.absolute(values), axis=-1, keepdims=True, initial=0)[..., None]
    return np.absolute(gaps) < _rounding(values) * largest


def _is_unused(gaps: Any, values: Any, noise: Any, /) -> Any:
    """Where values are equal up to rounding, but not exactly, if no vectors are used at all."""
    return _is_close(gaps, values) & (gaps != 0) & (np.maximum.reduce(noise, axis=None, initial=0) == 0)


def _is_lost(x: Any, gaps: Any, values: Any, noise: Any, /) -> Any:
    """Where x / gaps is 0 / 0 up to rounding, or gaps is 0."""
    return (gaps == 0) | (_is_close(gaps, values) & (np.absolute(x) < _rounding(values) * noise))


def _over_gaps(x: Any, gaps: Any, values: Any, noise: Any) -> Any:
    """x / gaps, NaN where gaps is 0, and where both are rounding errors: 0 / 0.

    x are differences of products of vectors, gaps differences or sums of the values (..., K). noise has the sizes of
    the cotangents of the vectors: where they are 0, the vectors are not used, and x is exactly 0. If all are 0, as when
    forward mode records this rule to transpose it, so is the quotient, but its derivative, which it needs, is NaN.
    """
    unused = is_unused(gaps, values, noise)
    return np.where(unused, 0, x / np.where(unused | is_lost(x, gaps, values, noise), np.nan, gaps))


def _rotation(q: Any, v: Any) -> tuple[Any, Any]:
    """QᵀQ̄ - Q̄ᵀQ, the derivative by a rotation of two columns of q into each other, and the sizes of its terms."""
    if v is None:
        return 0, 0
    products, column = q.mT @ v, column_sizes(v)
    return products - products.mT, column + column.mT


def _off_diagonal(x: Any) -> Any:
    """x with inf on the diagonals, so that dividing by it gives 0 there."""
    return np.where(np.eye(x.shape[-1], dtype=bool), np.inf, x)


def _outside(q: Any, v: Any, s: Any) -> Any:
    """(I - QQᵀ) Q̄ S⁻¹: the part of the cotangent that is orthogonal to the columns of q."""
    return _over_gaps(v - q @ (q.mT @ v), s[..., None, :], s, column_sizes(v))


def _cholesky_contribution(v: Any, out: Any) -> Any:
    """Ā = ½ L⁻ᵀ (P + Pᵀ) L⁻¹, P the lower half of Lᵀ L̄ with its diagonal halved (Murray 2016, equation 10)."""
    p = out.mT @ v
    half = solve_matrices(out.mT, np.tril(p) + np.tril(p, -1).mT)
    return 0.5 * solve_matrices(out.mT, half.mT).mT


def _eigh_contributions(v: Any, w: Any, q: Any) -> tuple[Any]:
    """Ā = Q (diag(w̄) + ½ F ∘ (QᵀQ̄ - Q̄ᵀQ)) Qᵀ, F_ij = 1 / (w_j - w_i) (Giles 2008, 3.1, the symmetric part)."""
    v_w, v_q = v
    inner: Any = 0
    if v_q is not None:
        rotation, noise = _rotation(q, v_q)
        row = w[..., None, :]
        inner = 0.5 * _over_gaps(rotation, _off_diagonal(row - row.mT), w, noise)
    if v_w is not None:
        inner = inner + _diagonal_matrix(v_w)
    contribution = q @ inner @ q.mT
    return (0.5 * (contribution + contribution.mT),)


def _qr_contributions(v: Any, q: Any, r: Any) -> tuple[Any]:
    """Ā = (Q̄ + Q M) R⁻ᵀ, M the symmetrized lower half of R R̄ᵀ - Q̄ᵀ Q (Walter & Lehmann 2010; full rank, M ≥ N)."""
    v_q, v_r = v
    m: Any = 0
    if v_r is not None:
        m = r @ v_r.mT
    if v_q is not None:
        m = m - v_q.mT @ q
    contribution = q @ (np.tril(m) + np.tril(m, -1).mT)
    if v_q is not None:
        contribution = v_q + contribution
    return (solve_matrices(r, contribution.mT).mT,)


def _svd_contributions(v: Any, u: Any, s: Any, vh: Any) -> tuple[Any]:
    """The thin form of Giles 2008, 3.2 (Townsend 2016).

    Ā = U ((F ∘ P) S + S (F ∘ R) + diag(s̄)) Vᵀ + (I - UUᵀ) Ū S⁻¹ Vᵀ + U S⁻¹ V̄ᵀ (I - VVᵀ)

    with F_ij = 1 / (s_j² - s_i²), P = UᵀŪ - ŪᵀU, R = VᵀV̄ - V̄ᵀV. The first two terms are written as
    ½ ((P + R)_ij / (s_j - s_i) + (P - R)_ij / (s_j + s_i)), which has no squares that over- or underflow.
    """
    v_u, v_s, v_vh = v
    v_v = None if v_vh is None else v_vh.mT
    inner: Any = 0 if v_s is None else _diagonal_matrix(v_s)
    if v_u is not None or v_v is not None:
        (p, p_noise), (r, r_noise) = _rotation(u, v_u), _rotation(vh.mT, v_v)
        row, noise = s[..., None, :], p_noise + r_noise
        inner = inner + 0.5 * _over_gaps(p + r, _off_diagonal(row - row.mT), s, noise)
        inner = inner + 0.5 * _over_gaps(p - r, _off_diagonal(row + row.mT), s, noise)
    contribution = u @ inner @ vh
    if v_u is not None and u.shape[-2] > u.shape[-1]:
        contribution = contribution + _outside(u, v_u, s) @ vh
    if v_v is not None and vh.shape[-1] > vh.shape[-2]:
        contribution = contribution + u @ _outside(vh.mT, v_v, s).mT
    return (contribution,)


is_unused = elementwise(_is_unused)
is_lost = elementwise(_is_lost)
column_sizes = primitive(
    lambda x, /: np.maximum.reduce(np.absolute(x), axis=-2, keepdims=True, initial=0), name="column_sizes"
)
cholesky_lower = primitive(np.linalg.cholesky, _cholesky_contribution, signature="(x, /)")
eigh_parts = primitive(
    lambda x, /: tuple(np.linalg.eigh(x)), joint=_eigh_contributions, outputs=("w", "q"), name="eigh"
)
qr_parts = primitive(lambda x, /: tuple(np.linalg.qr(x)), joint=_qr_contributions, outputs=("q", "r"), name="qr")
svd_parts = primitive(
    lambda x, /: tuple(np.linalg.svd(without_infinities(x), full_matrices=False)),
    joint=_svd_contributions,
    outputs=("u", "s", "vh"),
    name="svd",
)


@tensor_function
def cholesky(x: Any, /, *, upper: bool = False) -> Any:
    """The lower triangular L with x = L @ L.mT for symmetric positive definite x (..., M, M), or the upper one.

    Only the lower (or upper) triangle of x is read. The gradient is the symmetric one (Murray 2016, "Differentiation of
    the Cholesky decomposition").

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

    Only the lower triangle is read; the gradient is the symmetric one.

    Where eigenvalues are equal, or equal up to rounding, their eigenvectors have no derivative. The gradient of a
    function of eigenvectors is NaN there, and so is a second derivative of eigenvalues; first derivatives of
    eigenvalues alone are right. If the function is smooth there, write it without eigh (slogdet, solve, matrix_power, x
    @ x), or separate the values: eigh(x + np.diag(1e-6 * np.arange(M))).

    Example:
        >>> import minigrad as mg
        >>> mg.linalg.eigh(mg.Tensor([[2.0, 1.0], [1.0, 2.0]])).eigenvalues
        Tensor([1., 3.])
    """
    return EighResult(*eigh_parts(x))


@tensor_function
def eigvalsh(x: Any, /) -> Any:
    """The eigenvalues (..., M), ascending, of symmetric matrices (..., M, M).

    Second derivatives are NaN where eigenvalues are equal, also of functions that are smooth there. See eigh.
    """
    return eigh(x).eigenvalues


def qr(x: Any, /, *, mode: str = "reduced") -> QRResult:
    """The factors of x = Q @ R, Q with orthonormal columns and R upper triangular.

    Args:
        x: matrices (..., M, N). For a gradient, the first min(M, N) columns must be linearly independent.
        mode: "reduced" for Q (..., M, K) and R (..., K, N) with K = min(M, N); "complete" for Q (..., M, M), which
            has no derivative if M > N, since its last columns are any basis of the orthogonal complement.

    Example:
        >>> import minigrad as mg
        >>> mg.linalg.qr(mg.Tensor([[3.0], [4.0]])).R
        Tensor([[-5.]])
    """
    rows, columns = matrix_sizes("qr", x)
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

    Where singular values are equal, or equal up to rounding, their vectors have no derivative. The gradient of a
    function of U or Vh is NaN there, and so is a second derivative of singular values; first derivatives of singular
    values alone are right. The same holds for a singular value of 0 if M != N. See eigh for what to do. The function
    must not depend on the signs of the vectors either (Giles 2008, section 3.2).

    Example:
        >>> import minigrad as mg
        >>> mg.linalg.svd(mg.Tensor([[0.0, 2.0], [1.0, 0.0]])).S
        Tensor([2., 1.])
    """
    rows, columns = matrix_sizes("svd", x)
    if full_matrices and rows != columns:
        return SVDResult(
            *_without_gradient("svd", x, lambda value: np.linalg.svd(without_infinities(value)), "full_matrices=False")
        )
    return SVDResult(*svd_parts(x))


@tensor_function
def svdvals(x: Any, /) -> Any:
    """The singular values (..., min(M, N)), descending, of matrices (..., M, N).

    Second derivatives are NaN where singular values are equal, also of functions that are smooth there. See svd.
    """
    return svd(x, full_matrices=False).S


def _without_gradient(name: str, x: Any, function: Any, hint: str) -> Any:
    if getattr(x, "node", None) is not None:
        raise ValueError(
            f"{call(name, (x,), {})}: the full factors of a matrix that is not square have no derivative; "
            f"use {hint}, or x.detach() if you need no gradient"
        )
    try:
        return untracked(tuple(function(x.data))) if hasattr(x, "node") else function(x)
    except np.linalg.LinAlgError as error:
        raise explain_error(error, name, (x,), {}) from None
