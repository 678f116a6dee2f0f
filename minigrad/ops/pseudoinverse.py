"""The Moore-Penrose inverse, with singular values cut off."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.ops.factorization import svd_parts
from minigrad.ops.linalg import without_infinities
from minigrad.ops.precision import floating
from minigrad.primitive import primitive, tensor_function, value_of


def _pinv_share(v: Any, x: Any, out: Any, rtol: Any) -> Any:
    """The transpose of Golub & Pereyra 1973, equation 4.12, for a rank that does not change."""
    left = v.mT - (x @ out) @ v.mT
    right = v.mT - v.mT @ (out @ x)
    share = left @ out @ out.mT + out.mT @ out @ right - out.mT @ v @ out.mT
    cuts_zeros_only = rtol is None or np.all(np.asarray(rtol) <= max(x.shape[-2:]) * np.finfo(x.dtype).eps)
    return share if cuts_zeros_only else _with_cut_values(share, v, x, rtol)


def _with_cut_values(share: Any, v: Any, x: Any, rtol: Any) -> Any:
    """The share, and what singular values add to it that are cut off and are not 0.

    Golub & Pereyra suppose that nothing but zeros is cut off. A⁺ turns with all singular vectors: for a value sᵢ that
    is kept and one sⱼ that is not, the part of the differential along uᵢ, vⱼ is (Pᵢⱼ + (sⱼ/sᵢ) Pⱼᵢ) / (sᵢ² - sⱼ²), with
    P = Uᵀ dA V (Daletskii & Krein 1965, for the function that is 1/s where s is kept and 0 elsewhere).
    """
    u, s, vh = svd_parts(x)
    values = value_of(s)
    kept = values > np.expand_dims(np.asarray(rtol), -1) * np.max(values, axis=-1, keepdims=True, initial=0)
    least = max(x.shape[-2:]) * np.finfo(x.dtype).eps * np.max(values, axis=-1, keepdims=True, initial=0)
    if not np.any(~kept & (values > least)):
        return share
    across = kept[..., :, None] & ~kept[..., None, :]  # i is kept, j is not
    si, sj = s[..., :, None], s[..., None, :]
    ratio = np.where(across, sj, 0) / np.where(across, si, 1)
    factor = ratio / np.where(across, si**2 - sj**2, 1)
    c = u.mT @ v.mT @ vh.mT
    more = factor * (c * ratio + c.mT) + factor.mT * (c * ratio.mT + c.mT)
    return share + u @ more @ vh


pinv_of = primitive(lambda x, /, *, rtol: np.linalg.pinv(without_infinities(x), rtol=rtol), _pinv_share, name="pinv")


@tensor_function
def pinv(x: Any, /, *, rtol: Any = None) -> Any:
    """The Moore-Penrose inverse of matrices: (..., M, N) to (..., N, M).

    Singular values below rtol times the largest count as 0; rtol is max(M, N) times the dtype's eps if not given. The
    derivative (Golub & Pereyra 1973, equation 4.12; Daletskii & Krein 1965 where values are cut off that are not 0)
    supposes that the rank does not change. Integers are taken as float64.

    Example:
        >>> import minigrad as mg
        >>> mg.linalg.pinv(mg.Tensor([[2.0, 0.0], [0.0, 0.0]]))
        Tensor([[0.5, 0. ],
               [0. , 0. ]])
    """
    return pinv_of(floating(x), rtol=rtol)
