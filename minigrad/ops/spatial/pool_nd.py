"""Pooling, the public functions: channels last, (N, *spatial, C).

window, stride (by default the window) and dilation are an integer, or a tuple with one for each spatial axis; padding
is given as for convolutions ("valid", "same", integers, pairs) and smaller than the window.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.primitive import tensor_function
from minigrad.ops.precision import widened
from minigrad.ops.spatial.pool_primitives import avg_pool, max_pool
from minigrad.ops.spatial.window_arguments import Call, Numbers, Padding
from minigrad.ops.spatial.windows import Pairs, Sizes, extent


@tensor_function
def max_pool1d(
    x: Any, window: Numbers, *, stride: Numbers | None = None, padding: Padding = 0, dilation: Numbers = 1
) -> Any:
    """The largest entry of each window: (N, L, C) -> (N, L', C).

    Args:
        x: (N, L, C).
        window, stride, padding, dilation: as in max_pool2d.

    Raises:
        ValueError: shapes or arguments do not fit; the message repeats the call.

    Example:
        >>> max_pool1d(np.array([1.0, 3.0, 2.0, 0.0]).reshape(1, 4, 1), 2).ravel()
        array([3., 2.])
    """
    return _max_pool(1, x, window, stride, padding, dilation)


@tensor_function
def max_pool2d(
    x: Any, window: Numbers, *, stride: Numbers | None = None, padding: Padding = 0, dilation: Numbers = 1
) -> Any:
    """The largest entry of each window: (N, H, W, C) -> (N, H', W', C).

    The gradient goes to the first of equal entries in a window, as in PyTorch.

    Args:
        x: (N, H, W, C).
        window, dilation: an integer, or one for each spatial axis.
        stride: an integer, or one for each spatial axis; by default the window.
        padding: as in conv2d, but smaller than the window; counts as -inf.

    Raises:
        ValueError: shapes or arguments do not fit; the message repeats the call.

    Example:
        >>> max_pool2d(np.ones((1, 7, 7, 3)), 3, stride=2, padding=1).shape
        (1, 4, 4, 3)
    """
    return _max_pool(2, x, window, stride, padding, dilation)


@tensor_function
def max_pool3d(
    x: Any, window: Numbers, *, stride: Numbers | None = None, padding: Padding = 0, dilation: Numbers = 1
) -> Any:
    """The largest entry of each window: (N, D, H, W, C) -> (N, D', H', W', C).

    Args:
        x: (N, D, H, W, C).
        window, stride, padding, dilation: as in max_pool2d.

    Raises:
        ValueError: shapes or arguments do not fit; the message repeats the call.

    Example:
        >>> max_pool3d(np.ones((1, 4, 6, 6, 3)), 2).shape
        (1, 2, 3, 3, 3)
    """
    return _max_pool(3, x, window, stride, padding, dilation)


@tensor_function
def avg_pool1d(
    x: Any, window: Numbers, *, stride: Numbers | None = None, padding: Padding = 0, count_include_pad: bool = True
) -> Any:
    """The mean of each window: (N, L, C) -> (N, L', C).

    Args:
        x: (N, L, C).
        window, stride, padding, count_include_pad: as in avg_pool2d.

    Raises:
        ValueError: shapes or arguments do not fit; the message repeats the call.

    Example:
        >>> avg_pool1d(np.array([1.0, 3.0, 2.0, 0.0]).reshape(1, 4, 1), 2).ravel()
        array([2., 1.])
    """
    return _avg_pool(1, x, window, stride, padding, count_include_pad)


@tensor_function
def avg_pool2d(
    x: Any, window: Numbers, *, stride: Numbers | None = None, padding: Padding = 0, count_include_pad: bool = True
) -> Any:
    """The mean of each window: (N, H, W, C) -> (N, H', W', C).

    Args:
        x: (N, H, W, C).
        window: an integer, or one for each spatial axis.
        stride: an integer, or one for each spatial axis; by default the window.
        padding: as in conv2d, but smaller than the window.
        count_include_pad: padding counts as zeros, as in PyTorch; with False the mean is over the entries of x alone,
            as in TensorFlow and Keras.

    Raises:
        ValueError: shapes or arguments do not fit; the message repeats the call.

    Example:
        >>> avg_pool2d(np.ones((1, 3, 3, 1)), 3, stride=2, padding=1).ravel()
        array([0.44444444, 0.44444444, 0.44444444, 0.44444444])
    """
    return _avg_pool(2, x, window, stride, padding, count_include_pad)


@tensor_function
def avg_pool3d(
    x: Any, window: Numbers, *, stride: Numbers | None = None, padding: Padding = 0, count_include_pad: bool = True
) -> Any:
    """The mean of each window: (N, D, H, W, C) -> (N, D', H', W', C).

    Args:
        x: (N, D, H, W, C).
        window, stride, padding, count_include_pad: as in avg_pool2d.

    Raises:
        ValueError: shapes or arguments do not fit; the message repeats the call.

    Example:
        >>> avg_pool3d(np.ones((1, 4, 6, 6, 3)), 2).shape
        (1, 2, 3, 3, 3)
    """
    return _avg_pool(3, x, window, stride, padding, count_include_pad)


@tensor_function
def adaptive_max_pool(x: Any, output_size: Numbers) -> Any:
    """The largest entry of a given number of windows: (N, *spatial, C) -> (N, *output_size, C).

    Window i of n covers floor(i * size / n) up to ceil((i + 1) * size / n), as in PyTorch.

    Args:
        x: (N, *spatial, C), with any number of spatial axes.
        output_size: an integer, or one for each spatial axis.

    Raises:
        ValueError: shapes or arguments do not fit; the message repeats the call.

    Example:
        >>> adaptive_max_pool(np.arange(5.0).reshape(1, 5, 1), 2).ravel()
        array([2., 4.])
    """
    x, window, _ = _equal_windows("adaptive_max_pool", x, output_size)
    rank = len(window)
    return max_pool(x, window=window, stride=window, padding=((0, 0),) * rank, dilation=(1,) * rank)


@tensor_function
@widened
def adaptive_avg_pool(x: Any, output_size: Numbers) -> Any:
    """The mean of a given number of windows: (N, *spatial, C) -> (N, *output_size, C).

    The windows are those of adaptive_max_pool.

    Args:
        x: (N, *spatial, C), with any number of spatial axes.
        output_size: an integer, or one for each spatial axis; 1 is global average pooling.

    Raises:
        ValueError: shapes or arguments do not fit; the message repeats the call.

    Example:
        >>> adaptive_avg_pool(np.arange(5.0).reshape(1, 5, 1), 2).ravel()
        array([1., 3.])
    """
    x, window, weights = _equal_windows("adaptive_avg_pool", x, output_size)
    for weight in weights:
        x = x * weight
    return avg_pool(x, window=window, stride=window, padding=((0, 0),) * len(window), count_include_pad=True)


def _max_pool(rank: int, x: Any, window: Numbers, stride: Numbers | None, padding: Padding, dilation: Numbers) -> Any:
    shape = np.shape(x)
    call = Call(f"max_pool{rank}d", x=shape, window=window, stride=stride, padding=padding, dilation=dilation)
    window, stride, padding, dilation = _geometry(call, shape, rank, window, stride, padding, dilation)
    return max_pool(x, window=window, stride=stride, padding=padding, dilation=dilation)


def _avg_pool(
    rank: int, x: Any, window: Numbers, stride: Numbers | None, padding: Padding, count_include_pad: bool
) -> Any:
    shape = np.shape(x)
    call = Call(
        f"avg_pool{rank}d", x=shape, window=window, stride=stride, padding=padding, count_include_pad=count_include_pad
    )
    window, stride, padding, _ = _geometry(call, shape, rank, window, stride, padding, 1)
    return avg_pool(x, window=window, stride=stride, padding=padding, count_include_pad=bool(count_include_pad))


def _geometry(
    call: Call, shape: Sizes, rank: int, window: Numbers, stride: Numbers | None, padding: Padding, dilation: Numbers
) -> tuple[Sizes, Sizes, Pairs, Sizes]:
    """(window, stride, padding, dilation) with an entry for each spatial axis, checked."""
    call.check_rank(shape, rank)
    window, dilation = call.integers("window", window, rank), call.integers("dilation", dilation, rank)
    stride = window if stride is None else call.integers("stride", stride, rank)
    pairs = call.padding(padding, shape[1:-1], window, stride, dilation)
    if any(max(pair) >= e for pair, e in zip(pairs, extent(window, dilation), strict=True)):
        raise call.error(f"padding={padding!r} must be smaller than the window; else a window could hold only padding")
    call.check_window(shape[1:-1], window, stride, pairs, dilation)
    return window, stride, pairs, dilation


def _equal_windows(name: str, x: Any, output_size: Numbers) -> tuple[Any, tuple[int, ...], list[Any]]:
    """x rearranged so that windows of equal size cover it, that size, and the weights that make averages exact.

    An axis that output_size does not divide is rearranged window by window, short windows filled up with their last
    entry; for each such axis there are weights.
    """
    shape = np.shape(x)
    call = Call(name, x=shape, output_size=output_size)
    if len(shape) < 3 or 0 in shape[1:-1]:
        raise call.error("x must be (N, *spatial, C) with at least one spatial axis, and none empty")
    outputs = call.integers("output_size", output_size, len(shape) - 2)
    x = x if hasattr(x, "dtype") else np.asarray(x)
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
    window, weights = [], []
    for axis, (size, out) in enumerate(zip(shape[1:-1], outputs, strict=True), 1):
        start = np.arange(out) * size // out
        stop = -(-np.arange(1, out + 1) * size // out)
        length = int((stop - start).max())
        window.append(length)
        if size % out == 0:
            continue
        index = start[:, None] + np.arange(length)
        inside = index < stop[:, None]
        weight = inside * length / (stop - start)[:, None]
        x = np.take(x, np.minimum(index, stop[:, None] - 1).ravel(), axis=axis)
        weights.append(weight.astype(dtype).reshape((-1,) + (1,) * (len(shape) - 1 - axis)))
    return x, tuple(window), weights
