"""Dropout layers. In evaluation they return x itself."""

from __future__ import annotations

from typing import Any, ClassVar

from minigrad import functional
from minigrad.functional.dropout import check_probability
from minigrad.nn.module import Module
from minigrad.ops.spatial.window_arguments import LAYOUT
from minigrad.tensor.tensor import Tensor
from minigrad.util.rng import generator


class Dropout(Module):
    """Each element set to 0 with probability p in training, the others divided by 1 - p; x itself in evaluation.

    Args:
        p: the probability of dropping, in [0, 1].
        rng: a Generator or a seed; the global generator if not given.

    Raises:
        ValueError: p is not in [0, 1].
    """

    _repr_names = ("p",)

    def __init__(self, p: float = 0.5, rng: Any = None) -> None:
        check_probability(type(self).__name__, p)
        self.p = p
        self.rng = None if rng is None else generator(rng)

    def forward(self, x: Any) -> Tensor:
        return functional.dropout(x, p=self.p, training=self.training, rng=self.rng)


class AlphaDropout(Dropout):
    """Dropout that keeps mean 0 and variance 1, for networks of SELU units (`functional.alpha_dropout`).

    Args:
        p, rng: as in Dropout.

    Raises:
        ValueError: p is not in [0, 1].
    """

    def forward(self, x: Any) -> Tensor:
        return functional.alpha_dropout(x, p=self.p, training=self.training, rng=self.rng)


class _SpatialDropout(Dropout):
    """The three layers that drop whole channels; they check the number of spatial axes."""

    rank: ClassVar[int]

    def forward(self, x: Any) -> Tensor:
        if x.ndim != self.rank + 2:
            raise self._input_error(f"expected x of shape {LAYOUT[self.rank]}, got {x.shape}")
        return functional.spatial_dropout(x, p=self.p, training=self.training, rng=self.rng)


class Dropout1d(_SpatialDropout):
    """Whole channels of (N, L, C) dropped with probability p (`functional.spatial_dropout`).

    Keras calls it SpatialDropout1D.

    Args:
        p, rng: as in Dropout.

    Raises:
        ValueError: p is not in [0, 1]; x has another number of axes.
    """

    rank = 1


class Dropout2d(_SpatialDropout):
    """Whole channels of (N, H, W, C) dropped with probability p (`functional.spatial_dropout`).

    Keras calls it SpatialDropout2D.

    Args:
        p, rng: as in Dropout.

    Raises:
        ValueError: p is not in [0, 1]; x has another number of axes.
    """

    rank = 2


class Dropout3d(_SpatialDropout):
    """Whole channels of (N, D, H, W, C) dropped with probability p (`functional.spatial_dropout`).

    Keras calls it SpatialDropout3D.

    Args:
        p, rng: as in Dropout.

    Raises:
        ValueError: p is not in [0, 1]; x has another number of axes.
    """

    rank = 3
