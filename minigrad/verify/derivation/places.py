"""Where a result is wrong, if it is right elsewhere: beyond a gate, above a diagonal, at the ends of an axis."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minigrad.verify.derivation.named_factors import Case, Reason, broadcasts, constant_ratio
from minigrad.verify.derivation.reference import ROUNDING


def places(case: Case) -> Iterator[Reason]:
    """The places at which a result is wrong, and what is wrong there."""
    if case.result.shape != case.expected.shape or case.result.size < 3:
        return
    floor = np.maximum(1e-7 * np.abs(case.expected), ROUNDING * case.reference.scale)
    wrong = np.abs(case.result - case.expected) > floor
    if not np.any(wrong) or np.all(wrong):
        return
    for where, mask in (*_triangles(case), *_gates(case), *_ends(wrong)):
        if np.array_equal(wrong, wrong & mask) and _covers(case, wrong, mask):
            for what in _what(case, wrong):
                yield Reason("place", f"it is right except {where}{what}")


def _covers(case: Case, wrong: np.ndarray, mask: np.ndarray) -> bool:
    """Whether all elements in a place are wrong that can be: 0 may be right by chance."""
    free = mask & ~wrong
    return not np.any(free & (np.abs(case.expected) > ROUNDING * case.reference.scale))


def _what(case: Case, wrong: np.ndarray) -> Iterator[str]:
    there, expected = case.result[wrong], case.expected[wrong]
    if not np.any(np.abs(expected) > ROUNDING * case.reference.scale):
        yield ", where it must be 0"
    elif not np.any(there):
        yield ", where it is 0"
    elif (ratio := constant_ratio(case, there, expected)) is not None and np.isclose(ratio, -1):
        yield ", where the sign is wrong"
    else:
        yield ""


def _gates(case: Case) -> Iterator[tuple[str, np.ndarray]]:
    for name, value in case.values.items():
        array = np.asarray(value)
        if array.ndim == 0 or array.dtype.kind not in "fib" or not broadcasts(array.shape, case.expected.shape):
            continue
        label = case.label(name)
        if array.dtype.kind == "b":
            signs = [(f"where {label} is False", ~array), (f"where {label} is True", array)]
        else:
            signs = [
                (f"where {label} ≤ 0", array <= 0), (f"where {label} > 0", array > 0),
            ]  # fmt: skip
            if np.any(array < 0):
                signs.append((f"where {label} = 0", array == 0))
        for where, mask in signs:
            if np.any(mask) and not np.all(mask):
                yield where, np.broadcast_to(mask, case.expected.shape)


def _triangles(case: Case) -> Iterator[tuple[str, np.ndarray]]:
    shape = case.expected.shape
    if len(shape) < 2 or shape[-1] != shape[-2] or shape[-1] < 2:
        return
    ones = np.ones(shape, bool)
    yield "on the diagonal", np.triu(np.tril(ones))
    yield "above the diagonal", np.triu(ones, 1)
    yield "below the diagonal", np.tril(ones, -1)
    yield "on and above the diagonal", np.triu(ones)
    yield "on and below the diagonal", np.tril(ones)


def _ends(wrong: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The first or last elements along an axis, or both."""
    for axis, n in enumerate(wrong.shape):
        others = tuple(k for k in range(wrong.ndim) if k != axis)
        along = np.flatnonzero(np.any(wrong, axis=others))
        shape = [n if k == axis else 1 for k in range(wrong.ndim)]
        place = np.isin(np.arange(n), along).reshape(shape) & np.ones(wrong.shape, bool)
        where = f"along axis {axis}" if wrong.ndim > 1 else ""
        if n > 2 and along.size == 1 and along[0] in (0, n - 1):
            yield f"at the {'first' if along[0] == 0 else 'last'} element {where}".rstrip(), place
        elif n > 3 and along.tolist() == [0, n - 1]:
            yield f"at both ends {where}".rstrip(), place
