"""NumPy's linear algebra on Tensors: np.linalg.inv(t), np.cross(t, u)."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.ops import factorization, linalg, norms, product, pseudoinverse, shape


def _eigh(a: Any, UPLO: str = "L") -> Any:
    return factorization.eigh(shape.matrix_transpose(a) if UPLO.upper() == "U" else a)


def _eigvalsh(a: Any, UPLO: str = "L") -> Any:
    return _eigh(a, UPLO).eigenvalues


def _qr(a: Any, mode: str = "reduced") -> Any:
    return factorization.qr(a, mode=mode)


def _svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    return factorization.svd(a, full_matrices=full_matrices) if compute_uv else factorization.svdvals(a)


def _pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = 1e-15) -> Any:
    return pseudoinverse.pinv(a, rtol=rtol if rcond is None else rcond)


def _matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    if tol is not None:
        raise TypeError(
            "np.linalg.matrix_rank(tol=...) is not supported for Tensors; give rtol, relative to the largest"
        )
    return linalg.matrix_rank(A, rtol=rtol)


def _cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    if axis is not None:
        axisa = axisb = axisc = axis
    out = linalg.cross(shape.moveaxis(a, axisa, -1), shape.moveaxis(b, axisb, -1))
    return shape.moveaxis(out, -1, axisc)


# Names of functions that have the same parameters as NumPy's
_SAME: dict[Any, str] = {
    linalg: "inv solve det slogdet matrix_power multi_dot cross",
    factorization: "cholesky svdvals",
    norms: "norm matrix_norm vector_norm",
    product: "trace diagonal outer tensordot matmul vecdot",
    shape: "matrix_transpose",
}
FUNCTIONS: dict[Any, Any] = {
    **{getattr(np.linalg, name): getattr(module, name) for module, names in _SAME.items() for name in names.split()},
    # The parameters have other names, or another order
    np.linalg.eigh: _eigh,
    np.linalg.eigvalsh: _eigvalsh,
    np.linalg.qr: _qr,
    np.linalg.svd: _svd,
    np.linalg.pinv: _pinv,
    np.linalg.matrix_rank: _matrix_rank,
    np.cross: _cross,
}
