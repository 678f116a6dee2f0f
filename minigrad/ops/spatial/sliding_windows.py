"""Sliding windows as an array, and their transpose.

Example:
    >>> windows = sliding_windows(np.arange(5.0), 3, stride=2)
    >>> windows
    array([[0., 1., 2.],
           [2., 3., 4.]])
    >>> overlap_add(windows, size=(5,), stride=(2,), dilation=(1,), axes=(0,))
    array([0., 1., 4., 3., 4.])
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.engine.primitive import Function, linear, tensor_function
from minigrad.ops.precision import summing
from minigrad.ops.spatial.window_arguments import Call, Numbers
from minigrad.ops.spatial.windows import Sizes, extent, output_size, taps, window_view, zeros


@tensor_function
def sliding_windows(
    x: Any, window: Numbers, *, axes: int | Sequence[int] | None = None, stride: Numbers = 1, dilation: Numbers = 1
) -> Any:
    """The windows of x as an array: the axes keep one entry for each position of the window, its taps come last.

    This is np.lib.stride_tricks.sliding_window_view with strides. The value is a read-only view of x; the gradient sums
    the contributions of every element.

    Args:
        x: an array or Tensor of any shape.
        window: the number of taps, an integer or one for each of the axes.
        axes: the axes along which the window slides, all different; by default the last ones, as many as window has.
        stride, dilation: the distance between positions and between taps, an integer or one for each of the axes.

    Raises:
        ValueError: shapes or arguments do not fit; the message repeats the call.

    Example:
        >>> sliding_windows(np.arange(5.0), 3, stride=2)
        array([[0., 1., 2.],
               [2., 3., 4.]])
    """
    shape = np.shape(x)
    call = Call("sliding_windows", x=shape, window=window, axes=axes, stride=stride, dilation=dilation)
    if axes is None:
        axes = range(-len(window) if isinstance(window, Sequence) else -1, 0)
    axes = call.integers("axes", axes, len(axes) if isinstance(axes, Sequence) else 1, least=-len(shape))
    if max(axes, default=0) >= len(shape) or len({axis % len(shape) for axis in axes}) < len(axes):
        raise call.error(f"the axes must be different ones of the {len(shape)} axes of x")
    rank = len(axes)
    window, stride, dilation = (
        call.integers(name, value, rank)
        for name, value in (("window", window), ("stride", stride), ("dilation", dilation))
    )
    size = tuple(shape[axis] for axis in axes)
    if 0 in output_size(size, window, stride, ((0, 0),) * rank, dilation):
        raise call.error(f"a window that covers {extent(window, dilation)} does not fit into axes of size {size}")
    return unfold(x, window=window, stride=stride, dilation=dilation, axes=axes)


def _sliding_windows(x: Any, /, *, window: Sizes, stride: Sizes, dilation: Sizes, axes: Sizes) -> Any:
    """The windows of x over the given axes, as a read-only view.

    Axis `axes[i]` keeps one entry for each position of the window, and a trailing axis of `window[i]` taps is added,
    in the order of `axes`. The axes differ from each other.
    """
    return window_view(x, window, stride, dilation, axes)


@summing(lambda y, axes, **_: math.prod(y.shape[-len(axes) :]))
def _overlap_add(y: Any, /, *, size: Sizes, stride: Sizes, dilation: Sizes, axes: Sizes) -> Any:
    """The transpose of sliding_windows: every tap is added where it came from, onto axes of the given size."""
    rank = y.ndim - len(axes)
    window, axes = y.shape[rank:], [axis % rank for axis in axes]
    shape = list(y.shape[:rank])
    for axis, n in zip(axes, size, strict=True):
        shape[axis] = n
    x = zeros(y, tuple(shape))
    out = [y.shape[axis] for axis in axes]
    for tap, _, inputs in taps(size, out, window, stride, [(0, 0)] * len(axes), dilation):
        index = [slice(None)] * rank
        for axis, part in zip(axes, inputs, strict=True):
            index[axis] = part
        target = x[tuple(index)]
        np.add(target, y[(..., *tap)], out=target)
    return x


unfold: Function = linear(  # the primitive "sliding_windows", whose arguments are complete
    _sliding_windows,
    lambda v, x_shape, stride, dilation, axes: overlap_add(
        v, size=tuple(x_shape[axis] for axis in axes), stride=stride, dilation=dilation, axes=axes
    ),
)
overlap_add: Function = linear(
    _overlap_add,
    lambda v, y_shape, stride, dilation, axes: unfold(
        v, window=tuple(y_shape[-len(axes) :]), stride=stride, dilation=dilation, axes=axes
    ),
)
