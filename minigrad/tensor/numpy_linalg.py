"""NumPy's linear algebra on Tensors: np.linalg.inv(t), np.cross(t, u)."""

from __future__ import annotations

from typing import Any

from minigrad.ops import factorization, linalg, norms, product, pseudoinverse, shape
from minigrad.tensor.numpy_protocol import implements

# Functions whose parameters agree with ours
for _ours, *_theirs in (
    (linalg.inv, "linalg.inv"),
    (linalg.solve, "linalg.solve"),
    (linalg.det, "linalg.det"),
    (linalg.slogdet, "linalg.slogdet"),
    (factorization.cholesky, "linalg.cholesky"),
    (factorization.svdvals, "linalg.svdvals"),
    (linalg.matrix_power, "linalg.matrix_power"),
    (linalg.multi_dot, "linalg.multi_dot"),
    (linalg.cross, "linalg.cross"),
    (linalg.trace, "linalg.trace"),
    (norms.norm, "linalg.norm"),
    (norms.matrix_norm, "linalg.matrix_norm"),
    (norms.vector_norm, "linalg.vector_norm"),
    (product.diagonal, "linalg.diagonal"),
    (product.outer, "linalg.outer"),
    (product.tensordot, "linalg.tensordot"),
    (product.matmul, "linalg.matmul"),
    (product.vecdot, "linalg.vecdot"),
    (shape.matrix_transpose, "linalg.matrix_transpose"),
):
    implements(*_theirs)(_ours)


@implements("linalg.eigh")
def _eigh(a: Any, UPLO: str = "L") -> Any:
    return factorization.eigh(shape.matrix_transpose(a) if UPLO.upper() == "U" else a)


@implements("linalg.eigvalsh")
def _eigvalsh(a: Any, UPLO: str = "L") -> Any:
    return _eigh(a, UPLO).eigenvalues


@implements("linalg.qr")
def _qr(a: Any, mode: str = "reduced") -> Any:
    return factorization.qr(a, mode=mode)


@implements("linalg.svd")
def _svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    return factorization.svd(a, full_matrices=full_matrices) if compute_uv else factorization.svdvals(a)


@implements("linalg.pinv")
def _pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = 1e-15) -> Any:
    return pseudoinverse.pinv(a, rtol=rtol if rcond is None else rcond)


@implements("linalg.matrix_rank")
def _matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    if tol is not None:
        raise TypeError(
            "np.linalg.matrix_rank(tol=...) is not supported for Tensors; give rtol, relative to the largest"
        )
    return linalg.matrix_rank(A, rtol=rtol)


@implements("cross")
def _cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    if axis is not None:
        axisa = axisb = axisc = axis
    out = linalg.cross(shape.moveaxis(a, axisa, -1), shape.moveaxis(b, axisb, -1))
    return shape.moveaxis(out, -1, axisc)
