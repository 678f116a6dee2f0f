"""Tensor: the array that records, with its operators, NumPy's protocols, and transformations of functions."""

from minigrad.tensor.tensor import (
    Tensor,
    _rebuilt,  # noqa: F401  # under this path in pickles of version 0.1.0
)
from minigrad.util.hints import no_function

__all__ = ["Tensor"]

no_function(__name__, "It is mg.Tensor(values), or mg.asarray(values), which does not copy")
