"""Why an operation gives NaN or infinity, judged by the numbers where it does."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.diagnostics.anomaly.causes import BACKWARD, FORWARD, LARGE, Reason, array_reason, linalg_reason
from minigrad.engine.node import Node
from minigrad.engine.primitive import Elementwise, Primitive, value_of
from minigrad.util.report import counted

Array = Any


def is_finite(value: Any) -> bool:
    """Whether an array, a Tensor, or a tuple of them holds neither NaN nor infinity."""
    if isinstance(value, tuple | list):
        return all(is_finite(part) for part in value)
    value = value_of(value)
    if not isinstance(value, np.ndarray | np.generic | float) or np.result_type(value).kind not in "fc":
        return True
    return bool(np.isfinite(value).all())


def worst_kind(value: Array) -> str:
    """The worst element of an array that is not finite: "NaN", "inf" or "-inf"."""
    value = np.asarray(value_of(value))
    if np.isnan(value).any():
        return "NaN"
    return "inf" if not np.isrealobj(value) or np.isposinf(value).any() else "-inf"


def _first_nonfinite(value: Array) -> tuple[int, ...]:
    """The index of the first NaN; without one, of the first infinity."""
    value = np.asarray(value_of(value))
    mask = np.isnan(value)
    mask = mask if mask.any() else ~np.isfinite(value)
    return tuple(int(k) for k in np.unravel_index(int(np.argmax(mask)), mask.shape))


def describe_elements(value: Array, p: Primitive | None = None, operands: tuple[Array, ...] = ()) -> str:
    """How many elements of a result are not finite, the first of them, and the operands there if p is the operation."""
    value = np.asarray(value_of(value))
    index, count = _first_nonfinite(value), int(np.count_nonzero(~np.isfinite(value)))
    named = []
    if isinstance(p, Elementwise):
        here = [_element(x, value.shape, index) for x in operands]
        named = [f"{name} = {x:.6g}" for name, x in zip(p.operands, here, strict=True) if isinstance(x, float | int)]
    where = f", where {' and '.join(named)}" if named else ""
    if value.ndim == 0:
        return f"a single number{where}"
    return f"{count} of {counted(value.size, 'element')}, the first at [{', '.join(map(str, index))}]{where}"


def _element(value: Any, shape: tuple[int, ...], index: tuple[int, ...]) -> Any:
    """The element of a broadcast operand; None if it has no such element."""
    value = np.asarray(value_of(value))
    try:
        return np.broadcast_to(value, shape)[index].item()
    except ValueError:
        return None


def forward_reason(p: Primitive, values: tuple[Array, ...], out: Array) -> Reason:
    """Why an operation on these operands gives a result that is not finite."""
    index = _first_nonfinite(out)
    if isinstance(p, Elementwise):
        here = [_element(value, np.shape(out), index) for value in values]
        for test, reason in _tests(FORWARD, p.name):
            if all(isinstance(x, (float, int)) for x in here) and test(*map(np.float64, here)):
                return reason
    has_infinity = any(not is_finite(value) for value in values)
    if not has_infinity and not isinstance(p, Elementwise):
        known = array_reason(p.name, tuple(value_of(value) for value in values), value_of(out))
        if known is not None:
            return known
    if worst_kind(out) == "NaN" and has_infinity:
        return _indeterminate(p.name)
    size = max((float(np.abs(value_of(v)).max()) for v in values if np.size(v) and _is_real(v)), default=0.0)
    return Reason(
        "overflow",
        f"an overflow: the operands are finite, up to {size:.3g}, and the result exceeds its dtype's range",
        LARGE,
    )


def _tests(table: Any, name: str) -> Any:
    """The entries of a table of causes for an operation."""
    return next((tests for names, tests in table.items() if name in names), [])


def _is_real(value: Any) -> bool:
    return np.result_type(value_of(value)).kind in "iuf"


def _indeterminate(name: str) -> Reason:
    known = {"multiply": "0 · inf", "divide": "inf / inf", "add": "inf - inf", "subtract": "inf - inf"}
    expression = known.get(name, "0 · inf or inf - inf")
    remedy = "find where the infinity arises: bound it there, or replace it by a large finite number"
    return Reason(expression, f"{expression} is NaN", remedy)


def backward_reason(
    node: Node, v: Array, contribution: Array, residuals: tuple[Array, ...]
) -> tuple[Reason, float | None]:
    """Why a rule gives a contribution that is not finite for a finite cotangent v, and the value of v there."""
    p, index = node.primitive, _first_nonfinite(contribution)
    upstream = _element(v, np.shape(contribution), index) if not isinstance(v, list) else None
    is_elementwise = isinstance(p, Elementwise)
    known = _residual_reason(p, contribution, residuals) if is_elementwise else linalg_reason(p.name, residuals)
    if upstream == 0:
        inner = known.discards if known else "has an infinite derivative"
        sentence = f"the incoming gradient is 0, and {p.name} {inner}: 0 · inf is NaN"
        remedy = known.remedy if known else "keep the operand away from where the derivative is infinite"
        return Reason("0 · inf", sentence, remedy, known.discards if known else "has an infinite slope"), upstream
    nonfinite = [value for value in residuals if value is not None and not is_finite(value)]
    if known and not nonfinite:
        return known, upstream
    if nonfinite:
        sentence = f"{p.name} saved {worst_kind(nonfinite[0])} in the forward pass, and its derivative uses it"
        return known or Reason("infinite operand", sentence, "bound the value in the forward pass"), upstream
    parts = [value_of(part) for part in (v if isinstance(v, list) else [v])]
    size = max((float(np.abs(part).max()) for part in parts if np.size(part)), default=0.0)
    sentence = f"the incoming gradient is finite, up to {size:.3g}, but its product with the derivative is not"
    remedy = (
        "scale down the inputs or the loss, or use smaller weights; clipping cannot help once a gradient is infinite"
    )
    return Reason("exploding gradient", sentence, remedy), upstream


def _residual_reason(p: Primitive, contribution: Array, residuals: tuple[Array, ...]) -> Reason | None:
    """The reason by the residuals of an elementwise rule: at the bad element, or anywhere if their shapes differ."""
    values = [np.nan if value is None else value_of(value) for value in residuals[:]]  # nan passes no test
    index = _first_nonfinite(contribution)
    here = [_element(value, np.shape(contribution), index) for value in values]
    tested = values if any(x is None for x in here) else here
    with np.errstate(all="ignore"):
        for test, reason in _tests(BACKWARD, p.name):
            if np.any(test(**dict(zip(p.residuals, map(np.asarray, tested), strict=False)))):
                return reason
    return None


def outside_reason(p: Primitive, values: tuple[Array, ...], nodes: list[Node | None]) -> Reason:
    """The reason for an operand that had NaN, or else an infinity, before it came to the operation."""
    kinds = {k: worst_kind(value) for k, value in enumerate(values) if not is_finite(value)}
    k = min(kinds, key=lambda k: kinds[k] != "NaN")
    node = nodes[k]
    name = getattr(node, "name", None)
    operand = f"operand {k if p.sequence else p.operands[k]}{f' ({name})' if name else ''}"
    if node is not None and node.primitive is None:
        remedy = "an earlier update or a file put it there: watch from the first step on, or load the weights again"
    else:
        remedy = f"look for {kinds[k]} in the data: ~np.isfinite(x).all(axis=0) shows the features that have some"
    kind = "NaN" if kinds[k] == "NaN" else "infinity"
    return Reason(f"{kind} from outside", f"{operand} had {kinds[k]} before it came to {p.name}", remedy)
