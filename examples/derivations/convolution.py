"""Convolution along one axis, backwards (Goodfellow, Bengio & Courville 2016, section 9.5).

A kernel w of K taps slides over x; position t has the patch of K neighbors x[t], ..., x[t + K − 1]:

    P[n, t, k, c] = x[n, t + k, c]        out[n, t, f] = Σ_k Σ_c P[n, t, k, c] · w[k, c, f] + b[f]

An element of x is part of up to K patches, and its gradient has a contribution from each. Written without patches,
that sum is again a convolution: of dl/dout, padded with K − 1 zeros on both sides, with the kernel reversed and its
channels exchanged.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation


def convolution(x: Any, w: Any, b: Any) -> Any:
    """x `(N, L, C)` with w `(K, C, F)` and b `(F,)`, no padding -> `(N, L - K + 1, F)`."""
    taps = len(w)
    length = x.shape[1] - taps + 1
    patches = mg.name("patches", np.stack([x[:, k : k + length] for k in range(taps)], axis=2), label="P")
    return np.einsum("ntkc,kcf->ntf", patches, w) + b


terms = Derivation(convolution, x="N L C", w="K C F", b="F")


@terms.line
def dpatches(dout: Any, w: Any) -> Any:
    """dl/dP[n, t, k, c] = Σ_f dl/dout[n, t, f] · w[k, c, f]"""
    return np.einsum("ntf,kcf->ntkc", dout, w)


@terms.line
def dx(dpatches: Array) -> Any:
    """dl/dx[n, s, c] = Σ_k dl/dP[n, s − k, k, c]"""
    taps = dpatches.shape[2]
    return sum(np.pad(dpatches[:, :, k], ((0, 0), (k, taps - 1 - k), (0, 0))) for k in range(taps))


@terms.line
def dw(dout: Any, patches: Any) -> Any:
    """dl/dw[k, c, f] = Σ_n Σ_t P[n, t, k, c] · dl/dout[n, t, f]"""
    return np.einsum("ntkc,ntf->kcf", patches, dout)


@terms.line
def db(dout: Array) -> Array:
    """dl/db[f] = Σ_n Σ_t dl/dout[n, t, f]"""
    return dout.sum(axis=(0, 1))


fused = Derivation(convolution, x="N L C", w="K C F", b="F")
fused.line(dw)
fused.line(db)


@fused.line(of="x")
def fused_dx(dout: Array, x: Array, w: Array) -> Any:
    """dl/dx[n, s, c] = Σ_k Σ_f dl/dout[n, s − (K − 1) + k, f] · w[K − 1 − k, c, f]"""
    taps = len(w)
    padded = np.pad(dout, ((0, 0), (taps - 1, taps - 1), (0, 0)))
    return sum(padded[:, k : k + x.shape[1]] @ w[taps - 1 - k].T for k in range(taps))
