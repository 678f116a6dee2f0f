"""The Moore-Penrose inverse, with singular values cut off."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.primitive import primitive, tensor_function
from minigrad.ops.factorization import svd_parts
from minigrad.ops.linalg import without_infinities
from minigrad.ops.precision import floating

_ROUNDINGS = 64  # so many units of rounding, and less, are cut off as zeros


def _pinv_share(v: Any, x: Any, out: Any, rtol: Any) -> Any:
    """The transpose of Golub & Pereyra 1973, equation 4.12, for a rank that does not change."""
    left = v.mT - (x @ out) @ v.mT
    right = v.mT - v.mT @ (out @ x)
    contribution = left @ out @ out.mT + out.mT @ out @ right - out.mT @ v @ out.mT
    roundings = _ROUNDINGS * max(x.shape[-2:]) * np.finfo(x.dtype).eps
    cuts_zeros_only = rtol is None or np.all(np.asarray(rtol) <= roundings)
    return contribution if cuts_zeros_only else contribution + _of_cut_values(v, x, rtol)


def _of_cut_values(v: Any, x: Any, rtol: Any) -> Any:
    """What singular values add to the contribution that are cut off and are not 0.

    Golub & Pereyra suppose that nothing but zeros is cut off. A⁺ turns with all singular vectors: for a value sᵢ that
    is kept and one sⱼ that is not, the part of the differential along uᵢ, vⱼ is (Pᵢⱼ + (sⱼ/sᵢ) Pⱼᵢ) / (sᵢ² - sⱼ²), with
    P = Uᵀ dA V (Daletskii & Krein 1965, for the function that is 1/s where s is kept and 0 elsewhere).
    """
    u, s, vh = svd_parts(x)
    kept = s > np.expand_dims(np.asarray(rtol, x.dtype), -1) * np.max(s, axis=-1, keepdims=True)
    across = np.logical_and(kept[..., :, None], np.logical_not(kept[..., None, :]))  # i is kept, j is not
    si, sj = s[..., :, None], s[..., None, :]
    ratio = np.where(across, sj, 0) / np.where(across, si, 1)
    factor = ratio / np.where(across, si * si - sj * sj, 1)
    c = u.mT @ v.mT @ vh.mT
    return u @ (factor * (c * ratio + c.mT) + factor.mT * (c * ratio.mT + c.mT)) @ vh


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
