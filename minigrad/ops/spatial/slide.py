"""Sliding windows as a user calls them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.engine.primitive import tensor_function
from minigrad.ops.spatial import windows
from minigrad.ops.spatial.arguments import Call, Numbers


@tensor_function
def sliding_windows(
    x: Any, window: Numbers, *, axes: int | Sequence[int] | None = None, stride: Numbers = 1, dilation: Numbers = 1
) -> Any:
    """The windows of x as an array: the axes keep one entry for each place of the window, its taps come last.

    As np.lib.stride_tricks.sliding_window_view, with steps. The value is a read-only view of x; the gradient adds up
    the contributions of every element.

    Args:
        x: an array or Tensor of any shape.
        window: how many taps, a number or one for each of the axes.
        axes: the axes along which the window slides, all different; by default the last ones, as many as window has.
        stride, dilation: how far apart the places and the taps lie, a number or one for each of the axes.

    Raises:
        ValueError: shapes or arguments do not fit; it repeats the call.

    Example:
        >>> sliding_windows(np.arange(5.0), 3, stride=2)
        array([[0., 1., 2.],
               [2., 3., 4.]])
    """
    shape = np.shape(x)
    call = Call("sliding_windows", x=shape, window=window, axes=axes, stride=stride, dilation=dilation)
    if axes is None:
        axes = range(-len(window) if isinstance(window, Sequence) else -1, 0)
    chosen = call.numbers("axes", axes, len(axes) if isinstance(axes, Sequence) else 1, least=-len(shape))
    if max(chosen, default=0) >= len(shape) or len({axis % len(shape) for axis in chosen}) < len(chosen):
        raise call.error(f"the axes must be different ones of the {len(shape)} axes of x")
    rank = len(chosen)
    sizes, steps, gaps = (
        call.numbers(name, value, rank)
        for name, value in (("window", window), ("stride", stride), ("dilation", dilation))
    )
    met = tuple(shape[axis] for axis in chosen)
    if 0 in windows.output_size(met, sizes, steps, ((0, 0),) * rank, gaps):
        raise call.error(f"a window that covers {windows.extent(sizes, gaps)} does not fit into axes of size {met}")
    return windows.sliding_windows(x, window=sizes, stride=steps, dilation=gaps, axes=chosen)
