"""Why an operation gives NaN or infinity, told from the numbers at the place where it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.node import Node
from minigrad.primitive import Elementwise, Primitive, value_of
from minigrad.verify.report import counted

Array = Any


@dataclass(frozen=True)
class Reason:
    """A cause in a few words, the sentence that explains it, and the way out.

    `discards` says what a branch does that np.where does not choose: "divides by zero".
    """

    cause: str
    sentence: str
    remedy: str
    discards: str = ""


LOGITS = "use a loss on logits (softmax_cross_entropy, bce_with_logits), log_softmax or logsumexp; else clamp: "
NOT_WHERE = ". np.where on the result does not help: the gradient of the branch that it discards would be NaN"
LARGE = "scale the inputs, take smaller initial weights or a lower learning rate, or normalize between layers"
INSIDE = "keep the operand inside the domain: mg.clip(x, -1 + 1e-7, 1 - 1e-7)"

LOG = Reason("log of zero", "log of 0", LOGITS + "mg.log(mg.clip(x, 1e-12))" + NOT_WHERE, "takes the log of 0")
LOG_NEGATIVE = Reason("log of a negative number", "log of a negative number", LOG.remedy, "takes the log of x < 0")
DIVISION = Reason(
    "division by zero",
    "division by zero",
    "add a small number to the denominator, or choose another one where it is 0: x / mg.where(y == 0, 1, y)",
    "divides by zero",
)
ROOT = Reason(
    "infinite slope",
    "a root of 0, whose slope is infinite",
    "clamp below, mg.sqrt(mg.clip(x, 1e-12)), or add a small number inside the root",
    "takes the root of 0, where its slope is infinite",
)
ROOT_NEGATIVE = Reason(
    "root of a negative number", "root of a negative number", ROOT.remedy + NOT_WHERE, "takes the root of x < 0"
)
EXP = Reason(
    "exp overflows",
    "exp of a number that is too large",
    "subtract the maximum before exp (softmax, logsumexp and the losses on logits do), or bound x: mg.clip(x, max=80)",
    "overflows",
)
DOMAIN = Reason("outside the domain", "an operand outside [-1, 1]", INSIDE, "leaves its domain")
EDGE = Reason("infinite slope", "±1, where the slope is infinite", INSIDE, "has an infinite slope at ±1")

# For each operation, what is to be said if the numbers at the place are so.
FORWARD: dict[tuple[str, ...], list[tuple[Callable[..., Any], Reason]]] = {
    ("log", "log2", "log10"): [(lambda x: x == 0, LOG), (lambda x: x < 0, LOG_NEGATIVE)],
    ("log1p",): [(lambda x: x == -1, LOG), (lambda x: x < -1, LOG_NEGATIVE)],
    ("divide",): [(lambda x, y: y == 0, DIVISION)],
    ("reciprocal",): [(lambda x: x == 0, DIVISION)],
    ("sqrt",): [(lambda x: x < 0, ROOT_NEGATIVE)],
    ("power",): [(lambda x, y: x == 0, DIVISION), (lambda x, y: x < 0, ROOT_NEGATIVE)],
    ("exp", "exp2", "expm1", "sinh", "cosh"): [(lambda x: abs(x) > 80, EXP)],
    ("arcsin", "arccos", "arctanh"): [(lambda x: abs(x) > 1, DOMAIN), (lambda x: abs(x) == 1, EDGE)],
}
BACKWARD: dict[tuple[str, ...], Reason] = {
    ("sqrt", "cbrt", "power"): ROOT,
    ("log", "log2", "log10", "log1p"): LOG,
    ("divide", "reciprocal"): DIVISION,
    ("exp", "exp2", "expm1", "sinh", "cosh"): EXP,
    ("arcsin", "arccos"): EDGE,
}


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
            if all(isinstance(x, (float, int)) for x in given) and test(*given):
                return reason  # type: ignore[no-any-return]
    infinite = any(not is_finite(value) for value in values)
    if what(out) == "NaN" and infinite:
        return _indeterminate(p.name)
    size = max((float(np.abs(value_of(v)).max()) for v in values if np.size(v) and _real(v)), default=0.0)
    return Reason(
        "overflow", f"the operands are finite, up to {size:.3g}, and the result exceeds its dtype's range", LARGE
    )


def _real(value: Any) -> bool:
    return np.result_type(value_of(value)).kind in "iuf"


def _indeterminate(name: str) -> Reason:
    known = {"multiply": "0 · inf", "divide": "inf / inf", "add": "inf - inf", "subtract": "inf - inf"}
    sentence = known.get(name, "0 · inf or inf - inf")
    remedy = "see where the infinity came from: bound it there, or replace it by a large finite number"
    return Reason(sentence, f"{sentence} is NaN", remedy)


def backward_reason(line: Node, v: Array, share: Array, saved: tuple[Array, ...]) -> tuple[Reason, float | None]:
    """Why a rule gives a share that is not finite from a cotangent that is, and that cotangent's value there."""
    p, index = line.primitive, first_bad(share)
    upstream = at(v, np.shape(share), index) if not isinstance(v, list) else None
    known: Reason | None = _known(BACKWARD, p.name, None)
    if upstream == 0:
        inner = known.discards if known else "has an infinite derivative"
        told = f"the gradient that arrives is 0, and {p.name} {inner}: 0 · inf is NaN"
        remedy = known.remedy if known else "keep the operand away from where the derivative is infinite"
        return Reason("0 · inf", told, remedy, known.discards if known else "has an infinite slope"), upstream
    held = [value for value in saved if value is not None and not is_finite(value)]
    if known and not held:
        return known, upstream
    if held:
        told = f"{p.name} kept {what(held[0])} in the forward pass, and its derivative uses it"
        return known or Reason("infinite operand", told, "bound the value in the forward pass"), upstream
    parts = [value_of(part) for part in (v if isinstance(v, list) else [v])]
    size = max((float(np.abs(part).max()) for part in parts if np.size(part)), default=0.0)
    told = f"the gradient that arrives is finite, up to {size:.3g}, and its product with the derivative is not"
    remedy = "clip the gradients (global_clipnorm=1.0 in the optimizer), or take smaller weights"
    return Reason("exploding gradient", told, remedy), upstream


def from_outside(p: Primitive, values: tuple[Array, ...], lines: list[Node | None]) -> Reason:
    """An operand that came with NaN, or else an infinity, in it."""
    bad = {k: what(value) for k, value in enumerate(values) if not is_finite(value)}
    k = min(bad, key=lambda k: bad[k] != "NaN")
    line = lines[k]
    name = getattr(line, "name", None)
    operand = f"operand {k if p.sequence else p.operands[k]}{f' ({name})' if name else ''}"
    if line is not None and line.primitive is None:
        remedy = "an earlier update or a file put it there: watch from the first step on, or load the weights anew"
    else:
        remedy = f"look for {bad[k]} in the data: ~np.isfinite(x).all(axis=0) says which features have some"
    kind = "NaN" if bad[k] == "NaN" else "infinity"
    return Reason(f"{kind} from outside", f"{operand} had {bad[k]} before it came to {p.name}", remedy)
