"""Convolutions with windows of 3 × 3 by minimal filtering: F(2 × 2, 3 × 3) of Lavin & Gray (2016, arXiv:1509.09308).

A tile of 2 × 2 outputs y depends on 4 × 4 inputs d. With g the window from one channel to another,

    y = Aᵀ [(G g Gᵀ) · (Bᵀ d B)] A

takes 16 products instead of the 36 of the definition, and the sum over channels is one matrix product for each of the
16. Bᵀ and Aᵀ contain only 0, 1 and -1, so float32 stays as exact as by the definition. F(4 × 4, 3 × 3) was tried: it is
no faster here and loses a digit. The transforms are kernels of loops, because NumPy's passes over memory would take as
long as the products that are saved. Samples are distributed over the cores. Needs numba.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from minigrad.compiler.kernels import files as kernel_files
from minigrad.compiler.kernels.threads import pool
from minigrad.ops.spatial.conv_primitives import convolution, convolution_input, convolution_kernel
from minigrad.ops.spatial.im2col import flipped
from minigrad.ops.spatial.windows import frame

B = ("{0} - {2}", "{1} + {2}", "{2} - {1}", "{1} - {3}")  # the rows of Bᵀ, as sums
A = ("{0} + {1} + {2}", "{1} - {2} - {3}")  # of Aᵀ
BACK = ("{0}", "{0} + {1}", "{0} - {1}", "-{1}")  # of A
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])

INPUT, TILE = "image[2 * p + {i}, 2 * q + {j}, c]", "tiles[4 * {i} + {j}, p * columns + q, c]"
Transform = tuple[tuple[str, ...], int, str, str]
INSIDE: Transform = (B, 4, INPUT, TILE)
OUTSIDE: Transform = (A, 4, TILE, INPUT)
BACKWARDS: Transform = (BACK, 2, INPUT, TILE)
CHANNELS = 32  # from here on the transforms cost less than the products that they save
CACHE = 1 << 20  # bytes of transformed tiles at a time


def suits(function: Any, x: Any, y: Any, out: Any, settings: dict[str, Any]) -> bool:
    """Whether a convolution with operands and result of these shapes is computed in this way."""
    w, places = (out, y) if function is convolution_kernel else (y, out if function is convolution else x)
    size = out if function is convolution_input else x
    if w.ndim != 4 or w.shape[:2] != (3, 3) or settings["groups"] > 1 or min(w.shape[2:]) < CHANNELS:
        return False
    is_plain = (*settings["stride"], *settings["dilation"]) == (1, 1, 1, 1)
    is_narrow = all(0 <= width <= 2 for pair in settings["padding"] for width in pair)
    is_even = not any(n % 2 for v in (size, places) for n in v.shape[1:-1])
    return is_plain and is_narrow and is_even and x.dtype == y.dtype and x.dtype.char in "fd" and out.shape[0] > 0


def faster(function: Any) -> Callable[..., Any]:
    """The function that replaces one of the three convolutions, for operands that `suits` accepts."""
    by_function: dict[Any, Callable[..., Any]] = {
        convolution: _convolution,
        convolution_input: _convolution_input,
        convolution_kernel: _convolution_kernel,
    }
    return by_function[function]


def kernels(dtype: Any) -> list[tuple[Any, ...]]:
    """The arguments of `kernel_files.load` for each kernel that transforms tiles."""
    return [_kernel(transform, dtype) for transform in (INSIDE, OUTSIDE, BACKWARDS)]


def _kernel(transform: Transform, dtype: Any) -> tuple[Any, ...]:
    return _source(*transform), (), [((1, 1, 1), dtype)] * 2


@cache
def _transform(transform: Transform, dtype: Any) -> Callable[..., None]:
    return kernel_files.load(*_kernel(transform, dtype))


def _convolution(x: Any, w: Any, *, padding: Any, out: Any, **_: Any) -> Any:
    filters = np.einsum("ai,bj,ijco->abco", G.astype(w.dtype), G.astype(w.dtype), w, optimize=True)
    filters = np.reshape(filters, (16, *w.shape[2:]))
    outside = _transform(OUTSIDE, w.dtype)

    def work(_: int, n: int, rows: slice, tiles: Any, products: Any) -> None:
        np.matmul(tiles[:, :-1], filters, out=products[:, :-1])
        outside(products, out[n, rows])

    _for_each_block(x, padding, out.shape, w, work)
    return out


def _convolution_input(y: Any, w: Any, *, padding: Any, out: Any, **_: Any) -> Any:
    widths = [
        (2 - before, n - o + before) for n, o, (before, _) in zip(out.shape[1:3], y.shape[1:3], padding, strict=True)
    ]
    return _convolution(y, np.ascontiguousarray(flipped(w, 1)), padding=widths, out=out)


def _convolution_kernel(x: Any, y: Any, *, padding: Any, out: Any, **_: Any) -> Any:
    back = _transform(BACKWARDS, out.dtype)
    y = np.ascontiguousarray(y)
    sums = np.zeros((pool().parts, 16, *out.shape[2:]), out.dtype)

    def work(part: int, n: int, rows: slice, tiles: Any, gradients: Any) -> None:
        back(y[n, rows], gradients)
        sums[part] += np.matmul(np.swapaxes(tiles[:, :-1], 1, 2), gradients[:, :-1])

    _for_each_block(x, padding, y.shape, out, work)
    filters = np.reshape(np.add.reduce(sums, axis=0), (4, 4, *out.shape[2:]))
    np.einsum("ai,bj,abco->ijco", G.astype(out.dtype), G.astype(out.dtype), filters, out=out, optimize=True)
    return out


def _for_each_block(x: Any, padding: Any, places: tuple[int, ...], w: Any, work: Callable[..., None]) -> None:
    """Call work(part, n, rows, tiles, other) for some rows of places of each sample n, in parallel parts.

    `tiles` are those of x, transformed, and `other` has room for tiles with the other number of channels of w.
    """
    inside = _transform(INSIDE, w.dtype)
    rows, columns = places[1] // 2, places[2] // 2
    block = _block(rows, columns, w)

    def run(part: int, first: int, end: int) -> None:
        padded, inner = frame(x, padding, 1)
        tiles, other = (np.empty((16, block * columns + 1, n), w.dtype) for n in w.shape[2:])
        for n in range(first, end):
            np.copyto(inner[0], x[n])
            for row in range(0, rows, block):
                inside(padded[0, 2 * row : 2 * (row + block) + 2], tiles)
                work(part, n, slice(2 * row, 2 * (row + block)), tiles, other)

    pool().run(run, len(x))


def _block(rows: int, columns: int, w: Any) -> int:
    """The number of rows of tiles at a time: a divisor of their number, so that all blocks have one size."""
    fit = CACHE // (16 * columns * max(w.shape[2:]) * w.dtype.itemsize)
    return max(n for n in range(1, rows + 1) if rows % n == 0 and n <= max(1, fit))


def _source(rows: Sequence[str], size: int, read: str, write: str) -> str:
    """The kernel that transforms all tiles, along both axes: from `size` × `size` entries to len(rows) × len(rows).

    One row of `tiles` stays unused: planes at a distance of whole pages would compete for the same cache lines.
    """
    text = [
        f"def kernel({'image, tiles' if write == TILE else 'tiles, image'}):",
        f"    columns = image.shape[1] // 2{' - 1' if size == 4 and read == INPUT else ''}",
        "    for p in range((tiles.shape[1] - 1) // columns):",
        "        for q in range(columns):",
        "            for c in range(image.shape[2]):",
    ]
    one, other = range(size), range(len(rows))
    lines = [f"a{i}{j} = {read.format(i=i, j=j)}" for i in one for j in one]
    lines += [f"b{i}{j} = {rows[i].format(*(f'a{k}{j}' for k in one))}" for i in other for j in one]
    lines += [f"{write.format(i=i, j=j)} = {rows[j].format(*(f'b{i}{k}' for k in one))}" for i in other for j in other]
    return "\n".join([*text, *(" " * 16 + line for line in lines)]) + "\n"
