"""Reductions and running sums and products, over all forms of axes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from cases.case import Case, distinct, each, row, signed
from minigrad.ops import cumulative
from minigrad.ops import reduction as r

AXES = [None, 0, 1, -1, (0,), (0, 2), (-1, 0), (2, 1, 0)]


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


REFERENCES: dict[str, Any] = {
    "sum": np.sum, "mean": np.mean, "var": np.var, "std": np.std, "max": np.max, "min": np.min, "prod": np.prod,
    "logsumexp": logsumexp,
}  # fmt: skip


def over(name: str) -> list[Case]:
    ours, theirs = getattr(r, name), REFERENCES[name]
    draw = distinct if name in ("max", "min") else signed
    rows = []
    for axis in AXES:
        for keepdims in (False, True):
            options = {"axis": axis, "keepdims": keepdims}
            label = f"axis={axis}{', kept' * keepdims}"
            rows.append(row(name, label, partial(ours, **options), draw(2, 3, 4), reference=partial(theirs, **options)))
    shapes: list[tuple[tuple[int, ...], Any]] = [((1, 3, 1), (0, 2)), ((1,), None), ((0, 3), 1), ((3, 1), -1)]
    if name not in ("var", "std"):
        shapes += [((), None), ((), ()), ((2, 3), ())]
    if name in ("sum", "prod"):
        shapes += [((0, 3), 0), ((0, 3), None), ((2, 0), -1), ((0,), 0)]
    for shape, axis in shapes:
        zero = {"pull": "std of one element is 0, where the derivative is a convention"}
        skip = zero if name == "std" and 1 in shape and axis != 1 else {}
        skip = {k: v for k in ("pull", "second", "push", "third", "standin") for v in skip.values()}
        rows.append(row(name, f"{shape} axis={axis}", partial(ours, axis=axis), draw(*shape),
                        reference=partial(theirs, axis=axis), **skip))  # fmt: skip
    if name != "logsumexp":
        rows.append(row(name, "by NumPy's name", lambda x: getattr(np, name)(x, axis=1, keepdims=True), draw(2, 3),
                        reference=partial(theirs, axis=1, keepdims=True)))  # fmt: skip
        rows.append(row(name, "method", lambda x: getattr(x, name)(axis=0), draw(2, 3), reference=lambda x: theirs(x, 0),
                        standin="an array has no such method"))  # fmt: skip
    return rows


def recurrence(a: Any, b: Any) -> Any:
    out = np.zeros(b.shape)
    for place in np.ndindex(b.shape):
        before = (*place[:-1], place[-1] - 1)
        out[place] = b[place] + (a[place] * out[before] if place[-1] else 0)
    return out


def running(name: str, ours: Any, theirs: Any) -> list[Case]:
    make = partial(row, name)
    rows = [
        make(f"{shape} axis={axis}", partial(ours, axis=axis), signed(*shape), reference=partial(theirs, axis=axis))
        for shape, axis in [((2, 3, 4), 0), ((2, 3, 4), 1), ((2, 3, 4), -1), ((5,), 0), ((1,), 0), ((3, 1), 1)]
    ]
    rows.append(make("the only axis", ours, signed(4), reference=theirs))
    for shape, axis in [((0, 3), 1), ((2, 0), 1), ((0,), 0)]:
        rows.append(make(f"{shape}", partial(ours, axis=axis), signed(*shape), reference=partial(theirs, axis=axis)))
    first = 0.0 if name == "cumulative_sum" else 1.0
    rows.append(
        make("with the start", partial(ours, axis=1, include_initial=True), signed(2, 3),
             reference=lambda x: np.concatenate([np.full((2, 1), first), theirs(x, axis=1)], axis=1))
    )  # fmt: skip
    alias = np.cumsum if name == "cumulative_sum" else np.cumprod
    rows.append(
        make("by NumPy's name", lambda x: alias(x, axis=0), signed(3, 2), reference=lambda x: theirs(x, axis=0))
    )
    return rows


def running_product(x: Any, axis: int = -1) -> Any:
    moved = np.moveaxis(x, axis, -1)
    parts = [np.prod(moved[place[:-1]][: place[-1] + 1]) for place in np.ndindex(moved.shape)]
    return np.moveaxis(np.reshape(parts, moved.shape), -1, axis)


def running_sum(x: Any, axis: int = -1) -> Any:
    lower = np.tril(np.ones((x.shape[axis],) * 2))
    return np.moveaxis(np.moveaxis(x, axis, -1) @ lower.T, -1, axis)


KINK = "the gradient itself jumps here"

CASES = [case for name in REFERENCES for case in over(name)]
CASES += running("cumulative_sum", cumulative.cumulative_sum, running_sum)
CASES += running("cumulative_prod", cumulative.cumulative_prod, running_product)
CASES += [
    row("recurrence", str(shape), cumulative.recurrence, signed(*shape), signed(*shape), reference=recurrence)
    for shape in [(2, 4), (5,), (1,), (2, 1), (0, 3), (2, 3, 2)]
]
CASES += [
    row("var", "correction 1", partial(r.var, axis=0, correction=1), signed(4, 3), reference=partial(np.var, axis=0, ddof=1)),
    row("var", "np.var, ddof", lambda x: np.var(x, axis=1, ddof=1), signed(3, 4), reference=lambda x: x.var(1, ddof=1)),
    row("std", "squared, of a constant", lambda x: np.std(x) ** 2, each([2.0, 2.0, 2.0]), reference=np.var,
        third="forward mode divides by the deviation, which is 0"),
    row("logsumexp", "masked", lambda x: r.logsumexp(np.where([True, False, True], x, -np.inf)), signed(3),
        reference=lambda x: np.logaddexp(x[0], x[2])),
    row("std", "correction ½", partial(r.std, correction=0.5), signed(4, 3), reference=partial(np.std, ddof=0.5)),
    row("prod", "one zero", partial(r.prod, axis=1), each([[0.0, 2.0, -3.0], [1.5, 0.0, 2.0]]), reference=partial(np.prod, axis=1)),
    row("prod", "two zeros", r.prod, each([0.0, 2.0, 0.0]), reference=np.prod),
    row("prod", "all zeros", partial(r.prod, axis=0), each([[0.0, 0.0], [0.0, 3.0]]), reference=partial(np.prod, axis=0)),
    row("prod", "a zero, all axes", r.prod, each([[1.0, 2.0], [0.0, 3.0]]), reference=np.prod),
    row("cumulative_prod", "one zero", partial(cumulative.cumulative_prod, axis=0), each([1.5, 0.0, -2.0, 3.0]), reference=np.cumprod),
    row("cumulative_prod", "zeros", partial(cumulative.cumulative_prod, axis=1), each([[0.0, 2.0, 0.0], [3.0, 0.0, 0.0]]),
        reference=partial(np.cumprod, axis=1)),
    row("max", "ties of two", partial(r.max, axis=1), each([[2.0, 1.0, 2.0], [3.0, 3.0, -1.0]]), reference=lambda x: np.array([2.0, 3.0]),
        second=KINK),
    row("min", "ties of two", r.min, each([[2.0, 1.0], [1.0, 4.0]]), reference=lambda x: np.float64(1.0), second=KINK),
    row("max", "np.maximum.reduce", lambda x: np.maximum.reduce(x, axis=-1), distinct(3, 4), reference=partial(np.max, axis=-1)),
    row("sum", "np.add.reduce, axis 0", np.add.reduce, signed(3, 4), reference=partial(np.sum, axis=0)),
    row("sum", "list of axes", lambda x: r.sum(x, axis=[0, 1]), signed(2, 3, 4), reference=partial(np.sum, axis=(0, 1))),
    row("cumulative_sum", "np.add.accumulate", lambda x: np.add.accumulate(x, axis=1), signed(3, 4), reference=lambda x: running_sum(x, 1)),
    row("logsumexp", "large", r.logsumexp, each([700.0, 701.0, 650.0]), reference=lambda x: 701 + np.log1p(np.exp(-1.0))),
    row("logsumexp", "large, axis", partial(r.logsumexp, axis=1), each([[700.0, 701.0], [-800.0, -801.0]]),
        reference=lambda x: np.array([701.0, -800.0]) + np.log1p(np.exp(-1.0))),
]  # fmt: skip
