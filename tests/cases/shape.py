"""Functions that move elements without changing them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from cases.case import Case, row, signed
from minigrad.ops import shape as s
from minigrad.ops.padding import pad
from minigrad.tensor import linearize


def same(name: str, label: str, ours: Any, theirs: Any, *shapes: tuple[int, ...]) -> Case:
    return row(name, label, ours, *(signed(*shape) for shape in shapes), reference=theirs)


CASES = [
    *(
        same("broadcast_to", f"{a} to {b}", lambda x, b=b: s.broadcast_to(x, b), lambda x, b=b: np.zeros(b) + x, a)
        for a, b in [((4,), (3, 4)), ((3, 1), (3, 4)), ((), (2, 3)), ((1, 4), (2, 3, 4)), ((3,), (3,)), ((1,), (0,)),
                     ((), ()), ((2, 1, 3, 1), (2, 4, 3, 5))]
    ),
    same("broadcast_to", "np.broadcast_to", lambda x: np.broadcast_to(x, (3, 4)), lambda x: x + np.zeros((3, 1)), (4,)),
    same("broadcast_to", "several arrays", lambda x, y: np.multiply(*s.broadcast_arrays(x, y)), np.multiply, (3, 1), (4,)),
    same("broadcast_to", "tile", lambda x: s.tile(x, (2, 3)), lambda x: np.tile(x, (2, 3)), (2, 2)),
    same("broadcast_to", "tile, fewer", lambda x: np.tile(x, 3), lambda x: np.concatenate([x, x, x], -1), (2, 2)),
    same("broadcast_to", "tile, more", lambda x: s.tile(x, (2, 1, 2)), lambda x: np.tile(x, (2, 1, 2)), (3,)),
    *(
        same("reshape", f"{a} to {b}", lambda x, b=b: s.reshape(x, b), lambda x, b=b: x.reshape(b), a)
        for a, b in [((3, 4), (4, 3)), ((3, 4), (-1,)), ((3, 4), (2, -1, 2)), ((), (1, 1)), ((1,), ()), ((0, 3), (3, 0)),
                     ((3, 4), 12), ((2, 3), (2, 3))]
    ),
    same("reshape", "np.reshape", lambda x: np.reshape(x, (2, 6)), lambda x: x.reshape(2, 6), (3, 4)),
    same("reshape", "np.ravel", np.ravel, lambda x: x.reshape(-1), (3, 4)),
    same("reshape", "expand_dims", lambda x: s.expand_dims(x, (0, -1)), lambda x: x[None, ..., None], (3, 4)),
    same("reshape", "squeeze", lambda x: s.squeeze(x, axis=1), lambda x: x[:, 0], (3, 1, 1)),
    same("reshape", "squeeze all", s.squeeze, lambda x: x[:, 0, 0], (3, 1, 1)),
    *(
        same("permute_dims", f"{axes}", lambda x, axes=axes: s.permute_dims(x, axes), lambda x, axes=axes: x.transpose(axes), (2, 3, 4))
        for axes in [(0, 1, 2), (2, 0, 1), (1, 2, 0), (-1, 0, 1), None]
    ),
    same("permute_dims", "0-d", s.permute_dims, lambda x: x, ()),
    same("permute_dims", "empty", s.permute_dims, lambda x: x.T, (0, 3)),
    same("permute_dims", "swapaxes", lambda x: s.swapaxes(x, 0, -1), lambda x: x.T, (2, 3, 4)),
    same("permute_dims", "moveaxis", lambda x: s.moveaxis(x, (0, 1), (-1, 0)), lambda x: x.transpose(1, 2, 0), (2, 3, 4)),
    same("permute_dims", "np.transpose", np.transpose, lambda x: x.T, (2, 3)),
    same("matrix_transpose", "matrix", s.matrix_transpose, lambda x: x.T, (3, 4)),
    same("matrix_transpose", "stack", lambda x: x.mT, lambda x: np.swapaxes(x, 1, 2), (2, 3, 4)),
    same("matrix_transpose", "T", lambda x: x.T, lambda x: np.swapaxes(x, 0, 1), (3, 1)),
    same("matrix_transpose", "empty", s.matrix_transpose, lambda x: x.T, (0, 4)),
    *(
        same("flip", f"{axis}", partial(s.flip, axis=axis), lambda x, axis=axis: np.flip(x, axis), (2, 3, 4))
        for axis in [None, 0, -1, (0, 2)]
    ),
    same("flip", "0-d", s.flip, lambda x: x, ()),
    same("flip", "empty", s.flip, lambda x: x, (0, 2)),
    same("flip", "np.flip", lambda x: np.flip(x, 1), lambda x: x[:, ::-1], (2, 3)),
    same("roll", "axis", partial(s.roll, shift=1, axis=0), lambda x: np.concatenate([x[-1:], x[:-1]]), (3, 4)),
    same("roll", "flat", partial(s.roll, shift=-2), lambda x: np.roll(x, -2), (3, 4)),
    same("roll", "axes", partial(s.roll, shift=(1, -1), axis=(0, 1)), lambda x: np.roll(x, (1, -1), (0, 1)), (3, 4)),
    same("roll", "one shift, two axes", partial(s.roll, shift=1, axis=(0, 1)), lambda x: np.roll(x, 1, (0, 1)), (3, 4)),
    same("roll", "empty", partial(s.roll, shift=1, axis=0), lambda x: x, (0, 4)),
    same("roll", "np.roll", lambda x: np.roll(x, 1, axis=-1), lambda x: np.roll(x, 1, -1), (2, 3)),
    *(
        same("concat", f"{shapes} axis={axis}", lambda *a, axis=axis: s.concat(a, axis=axis), lambda *a, axis=axis: np.concatenate(a, axis), *shapes)
        for axis, shapes in [(0, ((2, 3), (1, 3), (4, 3))), (1, ((2, 3), (2, 1))), (-1, ((2, 3), (2, 2))), (None, ((2, 3), (4,))),
                             (0, ((0, 3), (2, 3))), (0, ((2, 3),)), (0, ((0,), (0,)))]
    ),
    row("concat", "constants between", lambda x, c, y: np.concatenate([x, c, y]), signed(2), np.ones(3), signed(1),
        reference=lambda x, c, y: np.concatenate([x, c, y]), wrt=(0, 2)),
    same("concat", "x twice", lambda x: s.concat([x, x], axis=0), lambda x: np.tile(x, (2, 1)), (2, 3)),
    *(
        same("stack", f"{shapes} axis={axis}", lambda *a, axis=axis: s.stack(a, axis=axis), lambda *a, axis=axis: np.stack(a, axis), *shapes)
        for axis, shapes in [(0, ((2, 3), (2, 3))), (1, ((2, 3), (2, 3), (2, 3))), (-1, ((2, 3), (2, 3))), (0, ((), ())), (1, ((0,), (0,)))]
    ),
    same("stack", "np.stack", lambda x, y: np.stack([x, y], axis=1), lambda x, y: np.array([x, y]).T, (3,), (3,)),
    row("stack", "a constant", lambda x, c: np.stack([c, x]), signed(3), np.ones(3),
        reference=lambda x, c: np.array([c, x]), wrt=(0,)),
    *(
        same("pad", f"{widths}", lambda x, widths=widths: pad(x, widths), lambda x, widths=widths: np.pad(x, widths), shape)
        for shape, widths in [((2, 3), 1), ((2, 3), ((0, 1), (2, 0))), ((2, 3), (1, 2)), ((0, 2), ((1, 0), (1, 1))), ((2, 3), 0)]
    ),
    same("copy", "pad 0-d", lambda x: pad(x, 0), lambda x: x, ()),
    same("pad", "a constant", lambda x: pad(x, 1, constant_values=2.0), lambda x: np.pad(x, 1, constant_values=2.0), (2, 3)),
    *(
        same("getitem", f"pad {mode}", lambda x, mode=mode: pad(x, ((1, 2), (2, 0)), mode), lambda x, mode=mode: np.pad(x, ((1, 2), (2, 0)), mode), (3, 4))
        for mode in ("edge", "reflect", "symmetric", "wrap")
    ),
    *(
        same(name, f"{shape} k={k}", partial(getattr(s, name), k=k), partial(getattr(np, name), k=k), shape)
        for name in ("tril", "triu") for shape, k in [((3, 3), 0), ((3, 4), 1), ((2, 4, 3), -1), ((0, 3), 0)]
    ),
    same("input", "of a transform", linearize.input_node, lambda x: x, (3, 4)),
    same("copy", "matrix", s.copy, lambda x: x, (3, 4)),
    same("copy", "0-d", np.copy, lambda x: x, ()),
    same("astype", "float64", lambda x: s.astype(x, np.float64), lambda x: x, (3, 4)),
    row("astype", "float32", lambda x: s.astype(x, np.float32), lambda rng: rng.integers(-4, 5, (3, 4)) * 0.5,
        reference=lambda x: x.astype(np.float32), pull="values are rounded", second="values are rounded",
        push="values are rounded", third="values are rounded"),
    *(
        same("getitem", f"repeat {n} axis={axis}", lambda x, n=n, axis=axis: s.repeat(x, n, axis=axis), lambda x, n=n, axis=axis: np.repeat(x, n, axis), (2, 3))
        for n, axis in [(2, 0), (2, None), ([1, 0, 3], 1), (0, 0)]
    ),
    same("getitem", "unstack", lambda x: s.unstack(x, axis=1), lambda x: (x[:, 0], x[:, 1], x[:, 2]), (2, 3)),
    same("getitem", "split", lambda x: tuple(s.split(x, 2, axis=1)), lambda x: (x[:, :2], x[:, 2:]), (3, 4)),
    same("getitem", "split at", lambda x: tuple(np.split(x, [1, 3], axis=1)), lambda x: (x[:, :1], x[:, 1:3], x[:, 3:]), (3, 4)),
    same("getitem", "diff", lambda x: s.diff(x, n=2), lambda x: np.diff(x, 2), (3, 4)),
    same("getitem", "diff, more", lambda x, y: s.diff(x, axis=0, prepend=y), lambda x, y: np.diff(x, axis=0, prepend=y), (3, 2), (1, 2)),
]  # fmt: skip
