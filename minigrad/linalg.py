"""Linear algebra: the functions of the Python array API standard, and more of NumPy's."""

from minigrad.ops.factorization import (
    EighResult,
    QRResult,
    SVDResult,
    cholesky,
    eigh,
    eigvalsh,
    qr,
    svd,
    svdvals,
)
from minigrad.ops.linalg import (
    SlogdetResult,
    cross,
    det,
    inv,
    matrix_power,
    matrix_rank,
    multi_dot,
    slogdet,
    solve,
)
from minigrad.ops.norms import matrix_norm, norm, vector_norm
from minigrad.ops.product import diagonal, matmul, outer, tensordot, trace, vecdot
from minigrad.ops.pseudoinverse import pinv
from minigrad.ops.shape import matrix_transpose

__all__ = [
    "EighResult",
    "QRResult",
    "SVDResult",
    "SlogdetResult",
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]
