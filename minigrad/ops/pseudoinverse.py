"""The Moore-Penrose inverse, with a cutoff for small singular values."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.primitive import primitive, tensor_function
from minigrad.ops.factorization import svd_parts
from minigrad.ops.linalg import without_infinities
from minigrad.ops.precision import floating

_ROUNDINGS = 64  # a cutoff of at most this many units of rounding only removes zeros


def _pinv_contribution(v: Any, x: Any, out: Any, rtol: Any) -> Any:
    """The transpose of Golub & Pereyra 1973, equation 4.12, for a rank that does not change."""
    left = v.mT - (x @ out) @ v.mT
    right = v.mT - v.mT @ (out @ x)
    contribution = left @ out @ out.mT + out.mT @ out @ right - out.mT @ v @ out.mT
    roundings = _ROUNDINGS * max(x.shape[-2:]) * np.finfo(x.dtype).eps
    removes_only_zeros = rtol is None or np.all(np.asarray(rtol) <= roundings)
    return contribution if removes_only_zeros else contribution + _through_removed_values(v, x, rtol)


def _through_removed_values(v: Any, x: Any, rtol: Any) -> Any:
    """The part of the contribution from singular values that are below the cutoff but not 0.

    Golub & Pereyra assume that only zeros are removed. A⁺ rotates with all singular vectors: for a value sᵢ that is
    kept and one sⱼ that is removed, the part of the differential along uᵢ, vⱼ is (Pᵢⱼ + (sⱼ/sᵢ) Pⱼᵢ) / (sᵢ² - sⱼ²),
    with P = Uᵀ dA V (Daletskii & Krein 1965, for the function that is 1/s where s is kept and 0 elsewhere).
    """
    u, s, vh = svd_parts(x)
    is_kept = s > np.expand_dims(np.asarray(rtol, x.dtype), -1) * np.max(s, axis=-1, keepdims=True)
    is_mixed = np.logical_and(is_kept[..., :, None], np.logical_not(is_kept[..., None, :]))  # i is kept, j is removed
    si, sj = s[..., :, None], s[..., None, :]
    ratio = np.where(is_mixed, sj, 0) / np.where(is_mixed, si, 1)
    factor = ratio / np.where(is_mixed, si * si - sj * sj, 1)
    c = u.mT @ v.mT @ vh.mT
    return u @ (factor * (c * ratio + c.mT) + factor.mT * (c * ratio.mT + c.mT)) @ vh


pinv_of = primitive(
    lambda x, /, *, rtol: np.linalg.pinv(without_infinities(x), rtol=rtol), _pinv_contribution, name="pinv"
)


@tensor_function
def pinv(x: Any, /, *, rtol: Any = None) -> Any:
    """The Moore-Penrose inverse of matrices: (..., M, N) to (..., N, M).

    Singular values below rtol times the largest count as 0; by default, rtol is max(M, N) times the dtype's eps. The
    derivative (Golub & Pereyra 1973, equation 4.12; Daletskii & Krein 1965 for removed values that are not 0) assumes
    that the rank does not change. Integers are converted to float64.

    Example:
        >>> import minigrad as mg
        >>> mg.linalg.pinv(mg.Tensor([[2.0, 0.0], [0.0, 0.0]]))
        Tensor([[0.5, 0. ],
               [0. , 0. ]])
    """
    return pinv_of(floating(x), rtol=rtol)
