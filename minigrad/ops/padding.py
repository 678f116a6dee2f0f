"""np.pad for Tensors: constants, repeated elements, statistics and ramps around an array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.engine.errors import call
from minigrad.engine.primitive import tensor_function, value_of
from minigrad.engine.specialize import untracked
from minigrad.ops.indexing import getitem
from minigrad.ops.reduction import max, mean, min
from minigrad.ops.searching import sort
from minigrad.ops.shape import concat, copy, pad_zeros

REPEATED = ("edge", "reflect", "symmetric", "wrap")  # modes whose result has only elements of x
OPTIONS = {"constant": "constant_values", "linear_ramp": "end_values"} | dict.fromkeys(
    ("maximum", "mean", "median", "minimum"), "stat_length"
)


@tensor_function
def pad(x: Any, /, widths: Any, mode: str = "constant", **options: Any) -> Any:
    """x with elements added before and after along each axis, as np.pad does.

    Args:
        x: any shape.
        widths: a number, a pair (before, after), a pair for each axis, or a dictionary from axes to these.
        mode: "constant"; "edge", "reflect", "symmetric" or "wrap", which repeat elements of x; "maximum", "mean",
            "median" or "minimum" of each row along the axis; "linear_ramp" from the edge to a value; "empty", which
            gives zeros.
        options: `constant_values` (default 0), `end_values` of ramps (0), or `stat_length`, the number of elements at
            the edge that a statistic is computed from (all): each in the same forms as widths.

    Raises:
        ValueError: a width is negative, or a mode is unknown.
        TypeError: an option does not belong to the mode.

    Example:
        >>> pad(np.array([1.0, 3.0]), 1, "mean")
        array([2., 1., 3., 2.])
    """
    what = call("pad", (x, widths, mode), options)
    if not isinstance(mode, str) or mode not in (*REPEATED, *OPTIONS, "empty"):
        raise ValueError(f"{what}: mode must be one of {', '.join(sorted((*REPEATED, *OPTIONS, 'empty')))}")
    if options.get("reflect_type") == "even" and mode in ("reflect", "symmetric"):
        options.pop("reflect_type")
    if set(options) - {OPTIONS.get(mode)}:
        raise TypeError(f"{what}: mode {mode!r} takes {OPTIONS.get(mode, 'no options')}")
    literal: Any = mode  # NumPy's stubs list the modes, and one of them it is
    shape = np.shape(x)
    pairs = _pairs(widths, len(shape), what)
    if any(n < 0 for pair in pairs for n in pair):
        raise ValueError(f"{what}: widths must not be negative; to remove elements, index x: x[1:-1]")
    if not pairs:
        return copy(x)
    if x.dtype.kind != "f":  # no gradient flows, and NumPy rounds statistics and ramps of integers
        padded = np.pad(value_of(x), pairs, literal, **options)
        return untracked(padded) if hasattr(x, "node") else padded
    option: Any = options.get(OPTIONS.get(mode, ""), 0 if mode != "mean" else None)
    if mode == "empty" or (mode == "constant" and np.ndim(option) == 0):
        return _constant(x, pairs, option if mode == "constant" else 0)
    if mode in REPEATED:
        return _repeated(x, pairs, mode)
    sides = _pairs(option, len(shape), what, None if OPTIONS[mode] == "stat_length" else float)
    for k, (before, after) in enumerate(pairs):
        if before or after:
            x = _SIDES[mode](x, k, before, after, sides[k])
    return x


def _pairs(value: Any, ndim: int, what: str, kind: Any = int) -> tuple[tuple[Any, Any], ...]:
    """(before, after) for each axis, converted to a type; with kind None, 0 and None become None."""
    if isinstance(value, dict):
        pairs: list[Any] = [(0, 0)] * ndim
        for axis, pair in value.items():
            pairs[axis] = pair if isinstance(pair, (tuple, list)) else (pair, pair)
        value = pairs
    try:
        full = np.broadcast_to(np.asarray(value, dtype=object), (ndim, 2)).tolist()
    except ValueError:
        raise ValueError(f"{what}: {value!r} is neither a number, a pair, nor a pair for each of {ndim} axes") from None
    convert = (lambda n: n if n is None or n else None) if kind is None else kind
    return tuple((convert(a), convert(b)) for a, b in full)


def _constant(x: Any, pairs: Any, value: Any) -> Any:
    padded = pad_zeros(x, widths=pairs)
    if isinstance(value, (int, float)) and value == 0:
        return padded
    return np.where(np.pad(np.ones(np.shape(x), dtype=bool), pairs), padded, value)


def _repeated(x: Any, pairs: Any, mode: Any) -> Any:
    for k, pair in enumerate(pairs):
        if pair != (0, 0):
            index = np.pad(np.arange(np.shape(x)[k]), pair, mode=mode)
            x = getitem(x, index=(slice(None),) * k + (index,))
    return x


def _around(x: Any, k: int, before: Any, after: Any) -> Any:
    """x joined with what comes before and after it, which may be None."""
    return concat([part for part in (before, x, after) if part is not None], axis=k)


def _repeat(row: Any, k: int, width: int) -> Any:
    """A slice of size 1, repeated along axis k."""
    shape = list(np.shape(row))
    shape[k] = width
    return np.broadcast_to(row, tuple(shape)) if width else None


def _constants(x: Any, k: int, before: int, after: int, values: Any) -> Any:
    row = np.zeros_like(getitem(x, index=(slice(None),) * k + (slice(0, 1),)))
    return _around(x, k, _repeat(row + values[0], k, before), _repeat(row + values[1], k, after))


def _ramp(x: Any, k: int, before: int, after: int, ends: Any) -> Any:
    """Ramps from the end values, inclusive, to the edges of x, exclusive."""
    lead = (slice(None),) * k

    def side(index: Any, width: int, end: float, is_after: bool) -> Any:
        if not width:
            return None
        slope = np.reshape(np.arange(width) / width, (-1,) + (1,) * (len(np.shape(x)) - k - 1)).astype(x.dtype)
        return end + (getitem(x, index=(*lead, index)) - end) * (slope[::-1] if is_after else slope)

    return _around(x, k, side(slice(0, 1), before, ends[0], False), side(slice(-1, None), after, ends[1], True))


def _statistic(statistic: Callable[..., Any]) -> Any:
    def padded(x: Any, k: int, before: int, after: int, lengths: Any) -> Any:
        size, lead = np.shape(x)[k], (slice(None),) * k

        def side(width: int, length: Any, is_after: bool) -> Any:
            count = size if length is None or length > size else int(length)
            edge = slice(size - count, size) if is_after else slice(0, count)
            return _repeat(statistic(getitem(x, index=(*lead, edge)), k), k, width) if width else None

        return _around(x, k, side(before, lengths[0], False), side(after, lengths[1], True))

    return padded


def _median(x: Any, k: int) -> Any:
    n, lead = np.shape(x)[k], (slice(None),) * k
    return mean(getitem(sort(x, axis=k), index=(*lead, slice((n - 1) // 2, n // 2 + 1))), axis=k, keepdims=True)


_SIDES: dict[str, Any] = {
    "constant": _constants,
    "linear_ramp": _ramp,
    "maximum": _statistic(lambda x, k: max(x, axis=k, keepdims=True)),
    "minimum": _statistic(lambda x, k: min(x, axis=k, keepdims=True)),
    "mean": _statistic(lambda x, k: mean(x, axis=k, keepdims=True)),
    "median": _statistic(_median),
}
