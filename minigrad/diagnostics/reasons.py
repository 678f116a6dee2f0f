"""Why an operation gives NaN or infinity, told from the numbers at the place where it did."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.diagnostics.causes import BACKWARD, FORWARD, Reason, vectors, whole
from minigrad.engine.node import Node
from minigrad.engine.primitive import Elementwise, Primitive, value_of
from minigrad.util.report import counted

Array = Any


LARGE = "scale the inputs, take smaller initial weights or a lower learning rate, or normalize between layers"


def _known(table: Any, name: str, default: Any) -> Any:
    return next((entry for names, entry in table.items() if name in names), default)


def is_finite(value: Any) -> bool:
    """Whether an array, a Tensor, or a tuple of them holds neither NaN nor infinity."""
    if isinstance(value, tuple | list):
        return all(is_finite(part) for part in value)
    value = value_of(value)
    if not isinstance(value, np.ndarray | np.generic | float) or np.result_type(value).kind not in "fc":
        return True
    return bool(np.isfinite(value).all())


def what(value: Array) -> str:
    """The worst in an array: "NaN", "inf" or "-inf"."""
    value = np.asarray(value_of(value))
    if np.isnan(value).any():
        return "NaN"
    return "inf" if not np.isrealobj(value) or np.isposinf(value).any() else "-inf"


def first_bad(value: Array) -> tuple[int, ...]:
    """The index of the first NaN, else of the first infinity."""
    value = np.asarray(value_of(value))
    bad = np.isnan(value)
    bad = bad if bad.any() else ~np.isfinite(value)
    return tuple(int(k) for k in np.unravel_index(int(np.argmax(bad)), bad.shape))


def elements(value: Array, p: Primitive | None = None, operands: tuple[Array, ...] = ()) -> str:
    """How many elements of an array are not finite, the first of them, and the operands there."""
    value = np.asarray(value_of(value))
    index, bad = first_bad(value), int(np.count_nonzero(~np.isfinite(value)))
    there = []
    if isinstance(p, Elementwise):
        given = [at(x, value.shape, index) for x in operands]
        there = [f"{name} = {x:.6g}" for name, x in zip(p.operands, given, strict=True) if isinstance(x, float | int)]
    where = f", where {' and '.join(there)}" if there else ""
    if value.ndim == 0:
        return f"a single number{where}"
    return f"{bad} of {counted(value.size, 'element')}, the first at [{', '.join(map(str, index))}]{where}"


def at(value: Any, shape: tuple[int, ...], index: tuple[int, ...]) -> Any:
    """The element of a broadcast operand; None if it has no such element."""
    value = np.asarray(value_of(value))
    try:
        return np.broadcast_to(value, shape)[index].item()
    except ValueError:
        return None


def forward_reason(p: Primitive, values: tuple[Array, ...], out: Array) -> Reason:
    """Why an operation on these operands gives a result that is not finite."""
    index = first_bad(out)
    if isinstance(p, Elementwise):
        given = [at(value, np.shape(out), index) for value in values]
        for test, reason in _known(FORWARD, p.name, []):
            if all(isinstance(x, (float, int)) for x in given) and test(*map(np.float64, given)):
                return reason  # type: ignore[no-any-return]
    infinite = any(not is_finite(value) for value in values)
    if not infinite and not isinstance(p, Elementwise):
        found = whole(p.name, tuple(value_of(value) for value in values), value_of(out))
        if found is not None:
            return found
    if what(out) == "NaN" and infinite:
        return _indeterminate(p.name)
    size = max((float(np.abs(value_of(v)).max()) for v in values if np.size(v) and _real(v)), default=0.0)
    return Reason(
        "overflow",
        f"an overflow: the operands are finite, up to {size:.3g}, and the result exceeds its dtype's range",
        LARGE,
    )


def _real(value: Any) -> bool:
    return np.result_type(value_of(value)).kind in "iuf"


def _indeterminate(name: str) -> Reason:
    known = {"multiply": "0 · inf", "divide": "inf / inf", "add": "inf - inf", "subtract": "inf - inf"}
    sentence = known.get(name, "0 · inf or inf - inf")
    remedy = "see where the infinity came from: bound it there, or replace it by a large finite number"
    return Reason(sentence, f"{sentence} is NaN", remedy)


def backward_reason(
    node: Node, v: Array, contribution: Array, residuals: tuple[Array, ...]
) -> tuple[Reason, float | None]:
    """Why a rule gives a contribution that is not finite from a cotangent that is, and that cotangent's value there."""
    p, index = node.primitive, first_bad(contribution)
    upstream = at(v, np.shape(contribution), index) if not isinstance(v, list) else None
    known = _kept_reason(p, contribution, residuals) if isinstance(p, Elementwise) else vectors(p.name, residuals)
    if upstream == 0:
        inner = known.discards if known else "has an infinite derivative"
        told = f"the gradient that arrives is 0, and {p.name} {inner}: 0 · inf is NaN"
        remedy = known.remedy if known else "keep the operand away from where the derivative is infinite"
        return Reason("0 · inf", told, remedy, known.discards if known else "has an infinite slope"), upstream
    held = [value for value in residuals if value is not None and not is_finite(value)]
    if known and not held:
        return known, upstream
    if held:
        told = f"{p.name} kept {what(held[0])} in the forward pass, and its derivative uses it"
        return known or Reason("infinite operand", told, "bound the value in the forward pass"), upstream
    parts = [value_of(part) for part in (v if isinstance(v, list) else [v])]
    size = max((float(np.abs(part).max()) for part in parts if np.size(part)), default=0.0)
    told = f"the gradient that arrives is finite, up to {size:.3g}, and its product with the derivative is not"
    remedy = "scale the inputs or the loss down, or take smaller weights; to clip what is infinite already is too late"
    return Reason("exploding gradient", told, remedy), upstream


def _kept_reason(p: Primitive, contribution: Array, residuals: tuple[Array, ...]) -> Reason | None:
    """The cause by what an elementwise rule has kept, at the place if it can be told, else anywhere."""
    kept = [np.nan if value is None else value_of(value) for value in residuals[:]]  # nan passes no test
    index = first_bad(contribution)
    here = [at(value, np.shape(contribution), index) for value in kept]
    given = kept if any(x is None for x in here) else here
    with np.errstate(all="ignore"):
        for test, reason in _known(BACKWARD, p.name, []):
            if np.any(test(**dict(zip(p.residuals, map(np.asarray, given), strict=False)))):
                return reason  # type: ignore[no-any-return]
    return None


def from_outside(p: Primitive, values: tuple[Array, ...], nodes: list[Node | None]) -> Reason:
    """An operand that came with NaN, or else an infinity, in it."""
    bad = {k: what(value) for k, value in enumerate(values) if not is_finite(value)}
    k = min(bad, key=lambda k: bad[k] != "NaN")
    node = nodes[k]
    name = getattr(node, "name", None)
    operand = f"operand {k if p.sequence else p.operands[k]}{f' ({name})' if name else ''}"
    if node is not None and node.primitive is None:
        remedy = "an earlier update or a file put it there: watch from the first step on, or load the weights again"
    else:
        remedy = f"look for {bad[k]} in the data: ~np.isfinite(x).all(axis=0) says which features have some"
    kind = "NaN" if bad[k] == "NaN" else "infinity"
    return Reason(f"{kind} from outside", f"{operand} had {bad[k]} before it came to {p.name}", remedy)
