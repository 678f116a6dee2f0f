"""Factorizations of matrices: Cholesky, eigenvalues of symmetric matrices, QR, singular values.

The letters are those of Giles 2008 (see linalg.py): A is x, and its cotangent Ā the share. The gradient of a function
of a symmetric matrix (cholesky, eigh) is the symmetric one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minigrad.errors import call
from minigrad.ops.linalg import matrix_sizes, solve_matrices
from minigrad.ops.product import matmul
from minigrad.ops.shape import concat, matrix_transpose
from minigrad.primitive import primitive, tensor_function
from minigrad.specialize import untracked


class EighResult(NamedTuple):
    """What eigh returns."""

    eigenvalues: Any
    eigenvectors: Any


class QRResult(NamedTuple):
    """What qr returns."""

    Q: Any
    R: Any


class SVDResult(NamedTuple):
    """What svd returns."""

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


cholesky_lower = primitive(np.linalg.cholesky, _cholesky_share, signature="(x, /)")
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

    Vectors of equal singular values have no derivative, and nothing flows between them; what a gradient means must
    not depend on the signs of the vectors either (Giles 2008, section 3.2).

    Example:
        >>> import minigrad as mg
        >>> mg.linalg.svd(mg.Tensor([[0.0, 2.0], [1.0, 0.0]])).S
        Tensor([2., 1.])
    """
    rows, columns = matrix_sizes("svd", x)
    if full_matrices and rows != columns:
        return SVDResult(*_without_gradient("svd", x, np.linalg.svd, "full_matrices=False"))
    return SVDResult(*svd_parts(x))


@tensor_function
def svdvals(x: Any, /) -> Any:
    """The singular values (..., min(M, N)), descending, of matrices (..., M, N)."""
    return svd(x, full_matrices=False).S


def _without_gradient(name: str, x: Any, function: Any, way_out: str) -> Any:
    if getattr(x, "node", None) is not None:
        raise ValueError(
            f"{call(name, (x,), {})}: the full factors of a matrix that is not square have no derivative; "
            f"say {way_out}, or x.detach() if no gradient is wanted"
        )
    return untracked(tuple(function(x.data))) if hasattr(x, "node") else function(x)
