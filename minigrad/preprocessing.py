"""Normalization of data: invertible transforms that are fitted on one array and applied to others.

Features are on the last axis. Statistics are computed from arrays; `transform` and `inverse_transform` also take
Tensors, and are differentiable. For float16, everything is computed in float32, and the results are float16 again.
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np

from minigrad.engine.errors import describe, refuse_mask
from minigrad.engine.primitive import value_of
from minigrad.ops.reduction import mean, root_of_squares
from minigrad.tensor.convert import get_default_dtype

__all__ = ["MinMax", "Standardize", "Whiten"]

Array = Any


class _Transform:
    """fit stores statistics as attributes; transform and inverse_transform use them."""

    features = 0  # 0 until fitted
    dtype: Any = None  # of the array that it is fitted on

    def fit(self, x: Any) -> Self:
        """Compute the statistics of x, (..., features). Returns the transform."""
        rows = self._rows(x)
        self._fit(rows if rows.dtype != np.float16 else rows.astype(np.float32))
        self.features, self.dtype = rows.shape[1], rows.dtype
        return self

    def fit_transform(self, x: Any) -> Any:
        """fit(x), then transform(x)."""
        return self.fit(x).transform(x)

    def transform(self, x: Any) -> Any:
        """x, (..., features), normalized with the statistics of fit. The result has the same shape."""
        return self._apply(self._transform, self._checked(x, "transform"))

    def inverse_transform(self, z: Any) -> Any:
        """The x whose transform is z, (..., features). The result has the same shape."""
        return self._apply(self._inverse, self._checked(z, "inverse_transform"))

    def _apply(self, function: Any, x: Any) -> Any:
        is_half = x.dtype == self.dtype == np.float16
        return function(x.astype(np.float32)).astype(np.float16) if is_half else function(x)

    def _fit(self, rows: Array) -> None:
        raise NotImplementedError

    def _transform(self, x: Any) -> Any:
        raise NotImplementedError

    def _inverse(self, z: Any) -> Any:
        raise NotImplementedError

    def _rows(self, x: Any) -> Array:
        """x as a matrix of finite numbers, with one row per sample."""
        call = f"{self!r}.fit({describe(x)})"
        refuse_mask(x, call)
        x = np.asarray(value_of(x))
        if x.dtype.kind not in "biuf":
            raise TypeError(f"{call}: x must be an array of numbers, not of dtype {x.dtype}")
        if x.ndim < 2 or not x.size:
            raise ValueError(f"{call}: x must be (N, features) with N >= 1; for a single feature x[:, None]")
        rows = x.reshape(-1, x.shape[-1])
        rows = rows if rows.dtype.kind == "f" else rows.astype(get_default_dtype())
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=0))
        if bad.size:
            raise ValueError(f"{call}: {_columns(bad)} not finite everywhere; drop or replace NaN and inf first")
        with np.errstate(over="ignore"):
            span = rows.max(axis=0).astype(np.float64) - rows.min(axis=0)
        far = np.flatnonzero(span > np.finfo(np.promote_types(rows.dtype, np.float32)).max)
        if far.size:
            raise ValueError(f"{call}: {_columns(far)} wider than the range of {rows.dtype}; scale x down first")
        return rows

    def _refuse_constant(self, rows: Array, constant: Array, hint: str) -> None:
        columns = np.flatnonzero(constant)
        if columns.size:
            raise ValueError(f"{self!r}.fit({describe(rows)}): {_columns(columns)} constant; {hint}")

    def _checked(self, x: Any, method: str) -> Any:
        """x, if the transform is fitted and x has as many features."""
        if not self.features:
            raise ValueError(f"{self!r}.{method}({describe(x)}): not fitted yet; call fit or fit_transform first")
        refuse_mask(x, f"{self!r}.{method}({describe(x)})")
        x = x if hasattr(x, "dtype") else np.asarray(x)
        if not x.ndim or x.shape[-1] != self.features:
            raise ValueError(
                f"{self!r}.{method}({describe(x)}): fitted on {self.features} features, which are the last axis"
            )
        return x if x.dtype.kind == "f" else x.astype(get_default_dtype())


def _mean(rows: Array) -> Array:
    """The mean of each column, also where the sum overflows."""
    with np.errstate(over="ignore"):
        result = mean(rows, axis=0)
    return result if np.isfinite(result).all() else mean(rows / len(rows), axis=0) * len(rows)


def _columns(columns: Array) -> str:
    shown = ", ".join(map(str, columns[:8])) + (", ..." if columns.size > 8 else "")
    return f"column {shown} is" if columns.size == 1 else f"columns {shown} are"


class Standardize(_Transform):
    """(x - mean) / std of each feature, with the biased standard deviation (1/N), as `np.std`.

    Args:
        constant: "error" to refuse features that do not vary, "keep" to divide them by 1, so that they become 0.

    Raises:
        ValueError: features are constant, not finite, or not as many as fitted; nothing is fitted yet.

    Example:
        >>> scaler = Standardize()
        >>> z = scaler.fit_transform(np.array([[1.0, 10.0], [3.0, 30.0]]))
        >>> z, scaler.mean, scaler.std
        (array([[-1., -1.],
               [ 1.,  1.]]), array([ 2., 20.]), array([ 1., 10.]))
        >>> scaler.inverse_transform(z).tolist()
        [[1.0, 10.0], [3.0, 30.0]]
    """

    mean: Array
    std: Array

    def __init__(self, constant: str = "error") -> None:
        self.constant = _checked_constant(constant, "Standardize")

    def __repr__(self) -> str:
        return "Standardize()" if self.constant == "error" else f"Standardize(constant={self.constant!r})"

    def _fit(self, rows: Array) -> None:
        constant = (rows == rows[0]).all(axis=0)
        if self.constant == "error":
            self._refuse_constant(rows, constant, "drop them, or keep them as 0 with Standardize(constant='keep')")
        # The mean of equal numbers may differ from them by rounding.
        self.mean = np.where(constant, rows[0], _mean(rows))
        deviations = root_of_squares(rows - self.mean, 0, False, len(rows))
        self.std = np.where(constant, 1, deviations).astype(rows.dtype)

    def _transform(self, x: Any) -> Any:
        return (x - self.mean) / self.std

    def _inverse(self, z: Any) -> Any:
        return z * self.std + self.mean


class MinMax(_Transform):
    """Each feature shifted and scaled so that its least value becomes `low` and its largest `high`.

    Args:
        low: the least value of the result.
        high: the largest value of the result, more than low.
        constant: "error" to refuse features that do not vary, "keep" to scale them by 1, so that they become low.

    Raises:
        ValueError: low is not less than high; features are constant, not finite, or not as many as fitted; nothing is
            fitted yet.

    Example:
        >>> MinMax(-1, 1).fit_transform(np.array([[1.0], [2.0], [5.0]])).tolist()
        [[-1.0], [-0.5], [1.0]]
    """

    minimum: Array
    maximum: Array

    def __init__(self, low: float = 0.0, high: float = 1.0, constant: str = "error") -> None:
        if not low < high:
            raise ValueError(f"MinMax({low}, {high}): low must be less than high")
        self.low, self.high = float(low), float(high)
        self.constant = _checked_constant(constant, "MinMax")

    def __repr__(self) -> str:
        constant = "" if self.constant == "error" else f", constant={self.constant!r}"
        return f"MinMax({self.low:g}, {self.high:g}{constant})"

    def _fit(self, rows: Array) -> None:
        self.minimum, self.maximum = rows.min(axis=0), rows.max(axis=0)
        constant = self.minimum == self.maximum
        if self.constant == "error":
            self._refuse_constant(rows, constant, "drop them, or keep them as low with MinMax(constant='keep')")
        span = np.where(constant, self.high - self.low, self.maximum - self.minimum)
        self._scale = (span / (self.high - self.low)).astype(rows.dtype)

    def _transform(self, x: Any) -> Any:
        return (x - self.minimum) / self._scale + self.low

    def _inverse(self, z: Any) -> Any:
        return (z - self.low) * self._scale + self.minimum


class Whiten(_Transform):
    """Features made uncorrelated and of variance 1 (Kessy, Lewin & Strimmer 2018, section 2).

    With the covariance Σ = (x - μ)ᵀ (x - μ) / N = U Λ Uᵀ:
        "pca": z = (x - μ) U (Λ + ε)^(-1/2), the principal components, the one of largest variance first
        "zca": z = (x - μ) U (Λ + ε)^(-1/2) Uᵀ, of all whitened features those nearest to x (Bell & Sejnowski 1997)

    The sign of each column of U is such that its largest element in magnitude is positive.

    Args:
        method: "pca" or "zca".
        eps: ε >= 0, added to the variances: it damps directions of small variance; the inverse is exact with it.

    Raises:
        ValueError: an option is unknown; some combination of features is constant and ε is 0; features are not finite,
            or not as many as fitted; nothing is fitted yet.

    Example:
        >>> x = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> Whiten("zca").fit_transform(x).round(4).tolist()[::2]
        [[1.4142, 0.0], [0.0, 1.4142]]
    """

    mean: Array
    variances: Array  # Λ, the largest first
    components: Array  # U, with one column per component

    def __init__(self, method: str = "pca", eps: float = 0.0) -> None:
        if method not in ("pca", "zca"):
            raise ValueError(f"Whiten(method={method!r}): must be 'pca' or 'zca'")
        if not eps >= 0:
            raise ValueError(f"Whiten(eps={eps}): must not be negative")
        self.method, self.eps = method, float(eps)

    def __repr__(self) -> str:
        return f"Whiten({self.method!r}{f', eps={self.eps:g}' if self.eps else ''})"

    def _fit(self, rows: Array) -> None:
        mean = _mean(rows)
        centered = rows - mean
        # The singular values are the roots of the variances: they keep twice the digits of the covariance's.
        _, sizes, transposed = np.linalg.svd(centered, full_matrices=False)
        rank = int((sizes > sizes.max() * max(rows.shape) * np.finfo(rows.dtype).eps).sum())
        if rank < rows.shape[1] and not self.eps:
            raise ValueError(
                f"{self!r}.fit({describe(rows)}): only {rank} of {rows.shape[1]} directions vary, some features are "
                f"constant, repeat others, or there are too few rows; drop some, or damp: "
                f"Whiten({self.method!r}, eps=1e-3)"
            )
        if len(sizes) < rows.shape[1]:  # fewer rows than features: add the directions that do not vary
            transposed = np.linalg.svd(centered)[2]
        components = transposed.T
        largest = np.take_along_axis(components, np.abs(components).argmax(axis=0)[None], axis=0)
        deviations = np.zeros_like(mean)
        deviations[: len(sizes)] = sizes / math.sqrt(len(rows))
        with np.errstate(over="ignore", under="ignore"):  # the transform uses the deviations only
            self.variances = deviations * deviations
        self.mean, self.components = mean, components * np.sign(largest)
        if self.eps:
            deviations = np.hypot(deviations, deviations.dtype.type(math.sqrt(self.eps)))
        self._forward, self._backward = self.components / deviations, (self.components * deviations).T
        if self.method == "zca":
            self._forward, self._backward = self._forward @ self.components.T, self.components @ self._backward

    def _transform(self, x: Any) -> Any:
        return (x - self.mean) @ self._forward

    def _inverse(self, z: Any) -> Any:
        return z @ self._backward + self.mean


def _checked_constant(constant: str, call: str) -> str:
    if constant not in ("error", "keep"):
        raise ValueError(f"{call}(constant={constant!r}): must be 'error' or 'keep'")
    return constant
