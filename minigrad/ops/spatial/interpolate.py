"""Resizing of images, channels last: (N, *spatial, C). One axis at a time, by `take`, products and sums."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.primitive import tensor_function
from minigrad.ops.indexing import take
from minigrad.ops.spatial.window_arguments import Call, Numbers

LINEAR = {"linear": 1, "bilinear": 2, "trilinear": 3}


@tensor_function
def interpolate(
    x: Any,
    size: Numbers | None = None,
    *,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> Any:
    """Resize the spatial axes: (N, *spatial, C) -> (N, *size, C).

    For m entries instead of n, entry i is taken at the position (i + ½) n/m - ½ of the old axis, which keeps the
    borders of the image in place; with align_corners at i (n - 1)/(m - 1), which keeps the first and last entries in
    place. "nearest" takes entry floor(i n/m), the linear modes interpolate linearly between entries. Values are those
    of PyTorch's `interpolate` (with recompute_scale_factor=True), without its antialiasing.

    Args:
        x: (N, *spatial, C), with one spatial axis or more.
        size: an integer, or one for each spatial axis.
        scale_factor: instead of size, a factor, or one for each spatial axis; the size is floor(factor * n).
        mode: "nearest", or "linear", "bilinear", "trilinear" for one, two, three spatial axes.
        align_corners: for the linear modes only.

    Raises:
        ValueError: x or an argument does not fit; the message repeats the call.

    Example:
        >>> interpolate(np.array([1.0, 5.0]).reshape(1, 2, 1), 4, mode="linear").ravel()
        array([1., 2., 4., 5.])
    """
    shape = np.shape(x)
    call = Call("interpolate", x=shape, size=size, scale_factor=scale_factor, mode=mode, align_corners=align_corners)
    check_mode(call, size, scale_factor, mode, align_corners)
    rank = len(shape) - 2
    if rank < 1 or 0 in shape[1:-1]:
        raise call.error("x must be (N, *spatial, C) with at least one spatial axis, and none empty")
    if LINEAR.get(mode, rank) != rank:
        raise call.error(f"mode={mode!r} is for {LINEAR[mode]} spatial axes, x has {rank}")
    for axis, (old, new) in enumerate(zip(shape[1:-1], _sizes(call, shape, size, scale_factor), strict=True), 1):
        if old != new:
            nearest = mode == "nearest"
            x = take(x, np.arange(new) * old // new, axis=axis) if nearest else _linear(x, axis, new, align_corners)
    return x


def check_mode(call: Call, size: Any, scale_factor: Any, mode: str, align_corners: bool) -> None:
    """Check the arguments that do not depend on x."""
    if (size is None) == (scale_factor is None):
        raise call.error("give either size or scale_factor")
    if mode != "nearest" and mode not in LINEAR:
        raise call.error(f"mode={mode!r} must be 'nearest', 'linear', 'bilinear' or 'trilinear'")
    if align_corners and mode == "nearest":
        raise call.error("align_corners is for the linear modes; 'nearest' has nothing to align")


def _sizes(call: Call, shape: tuple[int, ...], size: Any, scale_factor: Any) -> tuple[int, ...]:
    rank = len(shape) - 2
    if size is not None:
        return call.integers("size", size, rank)
    factors = tuple(scale_factor) if np.ndim(scale_factor) else (scale_factor,) * rank
    if len(factors) != rank or not all(factor > 0 for factor in factors):
        raise call.error(f"scale_factor={scale_factor} must be a positive number, or a tuple of {rank} of them")
    return call.integers("size", tuple(int(f * n) for f, n in zip(factors, shape[1:-1], strict=True)), rank)


def _linear(x: Any, axis: int, size: int, align_corners: bool) -> Any:
    old = x.shape[axis]
    if align_corners:
        position = np.arange(size) * ((old - 1) / max(1, size - 1))
    else:
        position = np.clip((np.arange(size) + 0.5) * (old / size) - 0.5, 0, old - 1)
    before = np.minimum(position.astype(int), max(0, old - 2))
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
    weight = np.reshape((position - before).astype(dtype), (-1,) + (1,) * (x.ndim - 1 - axis))
    return take(x, before, axis=axis) * (1 - weight) + take(x, np.minimum(before + 1, old - 1), axis=axis) * weight
