"""Convolution, pooling and sliding windows, with strides, uneven padding, dilation and groups; and their transposes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from cases.case import Case, Draw, distinct, each, row, signed
from minigrad.ops.spatial import conv_nd, conv_primitives, pool_nd, pool_primitives, sliding_windows, windows

Rows = list[Case]

# (spatial, window, stride, padding, dilation, groups, in / groups, out / groups)
CONVOLUTIONS: dict[str, Any] = {
    "1-D": ((5,), (2,), (1,), ((0, 0),), (1,), 1, 1, 2),
    "1-D, few inputs for many outputs": ((5,), (2,), (1,), ((0, 1),), (1,), 1, 1, 3),
    "1-D, uneven and dilated": ((6,), (3,), (2,), ((2, 0),), (2,), 1, 2, 1),
    "2-D": ((3, 4), (2, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, 4, 2),
    "2-D, a tile of two positions": ((3, 6), (2, 3), (1, 2), ((0, 0), (1, 2)), (1, 1), 1, 2, 1),
    "2-D, uneven, strided, dilated": ((4, 3), (2, 2), (2, 1), ((1, 0), (0, 1)), (1, 2), 1, 2, 1),
    "2-D, groups": ((3, 3), (2, 2), (1, 2), ((0, 1), (1, 1)), (1, 1), 2, 2, 1),
    "2-D, depthwise": ((3, 3), (2, 2), (1, 1), ((1, 0), (0, 1)), (1, 1), 2, 1, 2),
    "2-D, strided depthwise": ((3, 4), (2, 2), (2, 2), ((0, 1), (0, 0)), (1, 1), 2, 1, 1),
    "2-D, one tap": ((2, 2), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, 2, 2),
    "2-D, size 1": ((1, 3), (1, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, 2, 1),
    "3-D": ((2, 2, 3), (2, 1, 2), (1, 1, 2), ((1, 0), (0, 0), (0, 1)), (1, 1, 1), 1, 1, 1),
}

# (x without the batch, window, stride, padding, dilation)
POOLS: dict[str, Any] = {
    "1-D": ((6, 2), (2,), (2,), ((0, 0),), (1,)),
    "1-D, dilated": ((6, 1), (2,), (1,), ((1, 1),), (3,)),
    "2-D": ((4, 3, 2), (2, 2), (2, 1), ((0, 0), (0, 0)), (1, 1)),
    "2-D, padded": ((3, 4, 1), (3, 2), (1, 2), ((1, 2), (0, 1)), (1, 1)),
    "2-D, one tap": ((2, 2, 1), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    "3-D": ((2, 3, 2, 1), (1, 2, 2), (1, 1, 2), ((0, 0), (1, 0), (0, 0)), (1, 1, 1)),
}

# (shape of x, window, stride, dilation, axes)
SLIDES: dict[str, Any] = {
    "vector": ((5,), (3,), (1,), (1,), (0,)),
    "steps": ((6, 2), (2,), (2,), (3,), (0,)),
    "two axes, exchanged": ((3, 2, 4), (2, 3), (2, 1), (1, 1), (-1, 0)),
    "one tap": ((2, 2), (1,), (1,), (1,), (1,)),
}


def meetings(size: Any, window: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """Every (position, tap, index into the spatial axes) that a window meets inside the array, by the definition."""
    positions = windows.output_size(size, window, stride, padding, dilation)
    for position, tap in itertools.product(np.ndindex(*positions), np.ndindex(*window)):
        met = zip(position, stride, tap, dilation, padding, strict=True)
        at = tuple(p * s + t * d - before for p, s, t, d, (before, _) in met)
        if all(0 <= i < n for i, n in zip(at, size, strict=True)):
            yield position, tap, at


def trilinear(x: Any, w: Any, y: Any, groups: int, geometry: Any, operand: str) -> Any:
    """The derivative of <y, convolve(x, w)> with respect to `operand`, one tap of one position at a time."""
    out = np.zeros_like({"x": x, "w": w, "y": y}[operand])
    for position, tap, at in meetings(x.shape[1:-1], w.shape[:-2], *geometry):
        for g in range(groups):
            ins, outs = w.shape[-2], w.shape[-1] // groups
            i, o = slice(g * ins, (g + 1) * ins), slice(g * outs, (g + 1) * outs)
            xs, ws, ys = (slice(None), *at, i), (*tap, slice(None), o), (slice(None), *position, o)
            if operand == "x":
                out[xs] += y[ys] @ w[ws].T
            elif operand == "w":
                out[ws] += x[xs].T @ y[ys]
            else:
                out[ys] += x[xs] @ w[ws]
    return out


def convolutions(label: str, size: Any, window: Any, *geometry: Any) -> Rows:
    stride, padding, dilation, groups, ins, outs = geometry
    static = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    positions = windows.output_size(size, window, stride, padding, dilation)
    x, w, y = (2, *size, groups * ins), (*window, ins, groups * outs), (2, *positions, groups * outs)

    def reference(operand: str, x: Any, w: Any, y: Any) -> Any:
        return trilinear(x, w, y, groups, (stride, padding, dilation), operand)

    return [
        row("convolve", label, lambda x, w: conv_primitives.convolve(x, w, **static), signed(*x), signed(*w),
            reference=lambda x, w: reference("y", x, w, np.zeros(y))),
        row("convolve_input", label, lambda y, w: conv_primitives.convolve_input(y, w, size=size, **static), signed(*y), signed(*w),
            reference=lambda y, w: reference("x", np.zeros(x), w, y)),
        row("convolve_kernel", label, lambda x, y: conv_primitives.convolve_kernel(x, y, window=window, **static), signed(*x), signed(*y),
            reference=lambda x, y: reference("w", x, np.zeros(w), y)),
    ]  # fmt: skip


def pooled(pick: Any, window: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """For each window pick(its entries, stacked; their taps), by the definition."""

    def reference(x: Any, *more: Any) -> Any:
        positions = windows.output_size(x.shape[1:-1], window, stride, padding, dilation)
        entries: dict[Any, Any] = {position: ([], []) for position in np.ndindex(*positions)}
        for position, tap, at in meetings(x.shape[1:-1], window, stride, padding, dilation):
            entries[position][0].append(x[(slice(None), *at)])
            entries[position][1].append(int(np.ravel_multi_index(tap, window)))
        out = np.zeros((x.shape[0], *positions, x.shape[-1]))
        for position, (seen, taps) in entries.items():
            out[(slice(None), *position)] = pick(np.array(seen), taps, *(m[(slice(None), *position)] for m in more))
        return out

    return reference


def named(seen: Any, taps: Any, index: Any) -> Any:
    """The entries of the windows at the taps that index names, zero where these lie in the padding."""
    return sum(entry * (index == tap) for entry, tap in zip(seen, taps, strict=True))


def transposed(reference: Any, shape: Any) -> Any:
    """The transpose of a linear map, column by column."""

    def transpose(y: Any, *more: Any) -> Any:
        x = np.zeros(shape)
        for position in np.ndindex(*shape):
            unit = np.zeros(shape)
            unit[position] = 1.0
            x[position] = np.sum(reference(unit, *more) * y)
        return x

    return transpose


def pools(label: str, x_size: Any, *geometry: Any) -> Rows:
    window, stride, padding, dilation = geometry
    static = {"window": window, "stride": stride, "padding": padding, "dilation": dilation}
    *size, channels = x_size
    x, y = (2, *x_size), (2, *windows.output_size(size, *geometry), channels)
    index = np.random.default_rng(0).integers(0, int(np.prod(window)), y)
    gather = pooled(named, *geometry)
    rows = [
        row("max_pool", label, lambda x: pool_primitives.max_pool(x, **static), distinct(*x),
            reference=pooled(lambda seen, taps: seen.max(axis=0), *geometry)),
        row("window_gather", label, lambda x: pool_primitives.window_gather(x, index, **static), signed(*x),
            reference=lambda x: gather(x, index)),
        row("window_scatter", label, lambda y: pool_primitives.window_scatter(y, index, size=size, **static), signed(*y),
            reference=lambda y: transposed(gather, x)(y, index)),
    ]  # fmt: skip
    return rows if max(dilation) > 1 else rows + averages(label, x, y, geometry)


def averages(label: str, x: Any, y: Any, geometry: Any) -> Rows:
    window, stride, padding, _ = geometry

    def of_all(seen: Any, taps: Any) -> Any:
        return seen.sum(axis=0) / np.prod(window)

    def of_entries(seen: Any, taps: Any) -> Any:
        return seen.mean(axis=0)

    def rows(label: str, include: bool, mean: Any) -> Rows:
        static = {"window": window, "stride": stride, "padding": padding, "count_include_pad": include}
        reference = pooled(mean, *geometry)
        return [
            row("avg_pool", label, lambda x: pool_primitives.avg_pool(x, **static), signed(*x), reference=reference),
            row("avg_unpool", label, lambda y: pool_primitives.avg_unpool(y, size=x[1:-1], **static), signed(*y),
                reference=transposed(reference, x)),
        ]  # fmt: skip

    return rows(label, True, of_all) + rows(f"{label}, entries alone", False, of_entries)


def slid(window: Any, stride: Any, dilation: Any, axes: Any) -> Any:
    """The sliding windows of x, element by element."""

    def reference(x: Any) -> Any:
        positions = list(x.shape)
        for axis, k, s, d in zip(axes, window, stride, dilation, strict=True):
            positions[axis] = (x.shape[axis] - d * (k - 1) - 1) // s + 1
        out = np.zeros((*positions, *window))
        for position in np.ndindex(*out.shape):
            at = list(position[: x.ndim])
            for axis, s, d, tap in zip(axes, stride, dilation, position[x.ndim :], strict=True):
                at[axis] = at[axis] * s + tap * d
            out[position] = x[tuple(at)]
        return out

    return reference


def slides(label: str, shape: Any, *geometry: Any) -> Rows:
    window, stride, dilation, axes = geometry
    static = {"stride": stride, "dilation": dilation, "axes": axes}
    size, reference = tuple(shape[k] for k in axes), slid(*geometry)
    return [
        row("sliding_windows", label, lambda x: sliding_windows.unfold(x, window=window, **static), signed(*shape),
            reference=reference),
        row("overlap_add", label, lambda y: sliding_windows.overlap_add(y, size=size, **static),
            signed(*reference(np.zeros(shape)).shape), reference=transposed(reference, shape)),
    ]  # fmt: skip


X = (1, 4, 5, 2)
NONE: Draw = lambda rng: np.zeros((0, 3, 3, 2))
SAME = ((0, 1), (1, 1))

CASES: Rows = []
for rows, table in ((convolutions, CONVOLUTIONS), (pools, POOLS), (slides, SLIDES)):
    CASES += [case for label, geometry in table.items() for case in rows(label, *geometry)]
CASES += [
    row("convolve", "empty batch", lambda x, w: conv_nd.conv2d(x, w, padding="same"), NONE, signed(2, 2, 2, 3),
        reference=lambda x, w: np.zeros((0, 3, 3, 3))),
    row("convolve", "conv2d", lambda x, w, b: conv_nd.conv2d(x, w, b, padding="same", stride=(2, 1)), signed(*X), signed(3, 3, 2, 2), signed(2),
        reference=lambda x, w, b: b + trilinear(x, w, np.zeros((1, 2, 5, 2)), 1, ((2, 1), SAME, (1, 1)), "y")),
    row("convolve_input", "conv_transpose2d", lambda x, w, b: conv_nd.conv_transpose2d(x, w, b, stride=2, output_padding=1),
        signed(1, 2, 2, 2), signed(2, 2, 3, 2), signed(3),
        reference=lambda x, w, b: b + trilinear(np.zeros((1, 5, 5, 3)), w, x, 1, ((2, 2), ((0, 0), (0, 0)), (1, 1)), "x")),
    row("max_pool", "max_pool2d, ties", lambda x: pool_nd.max_pool2d(x, 2), each(np.ones((1, 2, 2, 1))),
        reference=lambda x: np.ones((1, 1, 1, 1)), pull="a kink", push="a kink", second="a kink", third="a kink"),
    row("max_pool", "adaptive", lambda x: pool_nd.adaptive_max_pool(x, (2, 2)), distinct(1, 2, 5, 1),
        reference=lambda x: np.stack([x[:, :, :3].max(axis=2), x[:, :, 2:].max(axis=2)], axis=2)),
    row("avg_pool", "adaptive", lambda x: pool_nd.adaptive_avg_pool(x, (1, 2)), signed(1, 2, 5, 1),
        reference=lambda x: np.stack([x[:, :, :3].mean(axis=(1, 2)), x[:, :, 2:].mean(axis=(1, 2))], axis=1)[:, None]),
    row("sliding_windows", "sliding_window_view", lambda x: np.lib.stride_tricks.sliding_window_view(x, 2, axis=1), signed(2, 4),
        reference=lambda x: np.stack([x[:, :3], x[:, 1:]], axis=-1)),
    row("sliding_windows", "the last axis", lambda x: sliding_windows.sliding_windows(x, 2, stride=2), signed(2, 4),
        reference=lambda x: x.reshape(2, 2, 2)),
]  # fmt: skip
