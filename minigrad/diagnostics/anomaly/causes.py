"""Known causes of NaN and infinities: for each operation, tests of the numbers where one arises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = Any


@dataclass(frozen=True)
class Reason:
    """A cause in a few words, the sentence that explains it, and a hint.

    `discards` says what a branch does that np.where discards: "divides by zero".
    """

    cause: str
    sentence: str
    remedy: str
    discards: str = ""


LOGITS = (
    "use a loss on logits (softmax_cross_entropy, binary_cross_entropy_with_logits), log_softmax or logsumexp; "
    "otherwise clamp: "
)
NOT_WHERE = ". np.where on the result does not help: the gradient of the branch that it discards would be NaN"
LARGE = "scale the inputs, use smaller initial weights or a lower learning rate, or normalize between layers"
INSIDE = "keep the operand inside the domain: mg.clip(x, -1 + 1e-7, 1 - 1e-7)"

LOG = Reason("log of zero", "log of 0", LOGITS + "mg.log(mg.clip(x, 1e-12))" + NOT_WHERE, "takes the log of 0")
LOG_NEGATIVE = Reason("log of a negative number", "log of a negative number", LOG.remedy, "takes the log of x < 0")
DIVISION = Reason(
    "division by zero",
    "division by zero",
    "add a small number to the denominator, or replace it where it is 0: x / mg.where(y == 0, 1, y); likewise for %",
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
POWER_ROOT = replace(ROOT, remedy="clamp the base: mg.clip(x, 1e-12) ** y")
POWER_NEGATIVE = replace(
    ROOT_NEGATIVE,
    sentence="a power of a negative number with an exponent that is not an integer",
    remedy=POWER_ROOT.remedy + NOT_WHERE,
)
POWER_OF_ZERO = replace(
    DIVISION,
    sentence="a negative power of 0, which is a division by zero",
    remedy="replace the base where it is 0: mg.where(x == 0, 1, x) ** y",
)
EXPONENT = Reason(
    "log of a negative number",
    "the log of a negative base, which is a factor of the derivative with respect to the exponent",
    "pass the exponent as a plain number or array if it needs no gradient (y.detach()); otherwise clamp the base: "
    "mg.clip(x, 1e-12) ** y" + NOT_WHERE,
    "takes the log of a negative base",
)
CBRT = replace(ROOT, remedy="keep the operand away from 0: mg.cbrt(mg.where(x == 0, 1e-12, x))")
LOG1P = replace(LOG, sentence="log of 0: log1p of -1", remedy="clamp: mg.log1p(mg.clip(x, -1 + 1e-6))" + NOT_WHERE)
LOG1P_NEGATIVE = replace(LOG_NEGATIVE, sentence="log of a negative number: log1p of x < -1", remedy=LOG1P.remedy)
STEEP_LOG = Reason(
    "log of almost zero",
    "log of a number so small that its slope 1/x exceeds the dtype's range",
    LOG.remedy,
    "takes the log of almost 0",
)
STEEP_DIVISION = Reason(
    "division by almost zero",
    "division by a number so small that the slope exceeds the dtype's range",
    "keep the denominator away from 0: mg.clip(y, 1e-6) if it is positive, otherwise mg.where(abs(y) < 1e-6, 1e-6, y)",
    "divides by almost 0",
)
SMALL_DIVISION = replace(
    STEEP_DIVISION, sentence="division by a number so small that the quotient exceeds the dtype's range"
)
EXP = Reason(
    "exp overflows",
    "exp of a number that is too large",
    "subtract the maximum before exp (softmax, logsumexp and the losses on logits do), or bound x: mg.clip(x, max=80), "
    "or 10 in float16",
    "overflows",
)
SINH = replace(EXP, remedy="bound x: mg.clip(x, -80, 80), or 10 in float16")
DOMAIN = Reason("outside the domain", "an operand outside [-1, 1]", INSIDE, "leaves its domain")
EDGE = Reason("infinite slope", "±1, where the slope is infinite", INSIDE, "has an infinite slope at ±1")
POLE = Reason("infinite value", "arctanh of ±1, which is infinite", INSIDE, "is infinite at ±1")
ABOVE = "keep the operand inside the domain: mg.clip(x, 1 + 1e-6)"
BELOW_ONE = Reason("outside the domain", "an operand below 1, where arccosh is not defined", ABOVE, "leaves its domain")
ONE = Reason("infinite slope", "1, where the slope of arccosh is infinite", ABOVE, "has an infinite slope at 1")
EMPTY = Reason(
    "empty reduction",
    "a reduction over no elements, which is not defined",
    "skip empty arrays: `if x.size`, or use a sum, which is 0 for them",
)
CONSTANT = replace(
    DIVISION,
    sentence="0 / 0: the normalized values are constant, so their variance is 0, and eps is 0 too",
    remedy="use eps > 0; the default is eps=1e-5",
)
EQUAL = Reason(
    "equal eigenvalues",
    "equal eigenvalues: their vectors are not unique, and the derivative of the vectors is 0 / 0",
    "use functions of the values alone (mg.linalg.eigvalsh), or separate them: x + 1e-3 * np.diag(np.arange(n))",
)
EQUAL_SINGULAR = Reason(
    "equal singular values",
    "singular values that are equal or 0: their vectors are not unique, and the derivative of the vectors is 0 / 0",
    "use functions of the values alone (mg.linalg.svdvals), or separate them: x + 1e-3 * np.diag(1 + np.arange(n))",
)
SINGULAR = Reason(
    "singular matrix",
    "a matrix so close to singular that its inverse or the log of its determinant exceeds the dtype's range",
    "add a small multiple of the identity, x + 1e-6 * mg.eye(n), or use mg.linalg.pinv",
)


def _is_small_denominator(x: Any, y: Any) -> Any:
    """Whether the quotient x / y is large because y is small, rather than because x is large."""
    return (abs(y) < 1e-6) & (abs(y) * abs(x) <= 1)


# For each operation, tests of its operands where the result is not finite, and the reason if a test holds.
FORWARD: dict[tuple[str, ...], list[tuple[Callable[..., Any], Reason]]] = {
    ("log", "log2", "log10"): [(lambda x: x == 0, LOG), (lambda x: x < 0, LOG_NEGATIVE)],
    ("log1p",): [(lambda x: x == -1, LOG1P), (lambda x: x < -1, LOG1P_NEGATIVE)],
    ("divide",): [(lambda x, y: y == 0, DIVISION), (_is_small_denominator, SMALL_DIVISION)],
    ("remainder", "fmod", "floor_divide", "quotient"): [(lambda x, y: y == 0, DIVISION)],
    ("reciprocal",): [(lambda x: x == 0, DIVISION), (lambda x: abs(x) < 1, SMALL_DIVISION)],
    ("sqrt",): [(lambda x: x < 0, ROOT_NEGATIVE)],
    ("power",): [
        (lambda x, y: (x == 0) & (y < 0), POWER_OF_ZERO),
        (lambda x, y: (x < 0) & (abs(x) < np.inf) & (y % 1 > 0), POWER_NEGATIVE),
    ],
    ("exp", "exp2", "expm1"): [(lambda x: (x > 0) & (x < np.inf), EXP)],
    ("sinh", "cosh"): [(lambda x: abs(x) < np.inf, SINH)],
    ("arcsin", "arccos"): [(lambda x: abs(x) > 1, DOMAIN)],
    ("arctanh",): [(lambda x: abs(x) > 1, DOMAIN), (lambda x: abs(x) == 1, POLE)],
    ("arccosh",): [(lambda x: x < 1, BELOW_ONE)],
}
# The same for the backward pass: tests of the residuals, by their names.
BACKWARD: dict[tuple[str, ...], list[tuple[Callable[..., Any], Reason]]] = {
    ("sqrt",): [(lambda out: out == 0, ROOT)],
    ("cbrt",): [(lambda out: out == 0, CBRT)],
    ("power",): [
        (lambda x, y, out: (x == 0) & (y < 0), POWER_OF_ZERO),
        (lambda x, y, out: (x == 0) & (y < 1), POWER_ROOT),
        (lambda x, y, out: (x < 0) & (y % 1 > 0), POWER_NEGATIVE),
        (lambda x, y, out: (x < 0) & (abs(x) < np.inf), EXPONENT),
    ],
    ("log", "log2", "log10"): [
        (lambda x: x == 0, LOG),
        (lambda x: x < 0, LOG_NEGATIVE),
        (lambda x: x < 1e-30, STEEP_LOG),
    ],
    ("log1p",): [(lambda x: x == -1, LOG1P), (lambda x: x < -1, LOG1P_NEGATIVE)],
    ("divide", "quotient"): [(lambda y, out: y == 0, DIVISION), (lambda y, out: abs(y) < 1e-6, STEEP_DIVISION)],
    ("reciprocal",): [(lambda out: abs(out) == np.inf, DIVISION), (lambda out: abs(out) > 1e6, STEEP_DIVISION)],
    ("exp", "exp2"): [(lambda out: out == np.inf, EXP)],
    ("expm1",): [(lambda x: x > 80, EXP)],
    ("sinh", "cosh"): [(lambda x: abs(x) > 80, SINH)],
    ("arcsin", "arccos", "arctanh"): [(lambda x: abs(x) == 1, EDGE), (lambda x: abs(x) > 1, DOMAIN)],
    ("arccosh",): [(lambda x: x == 1, ONE), (lambda x: x < 1, BELOW_ONE)],
}
MEANS = ("mean", "logsumexp", "var", "std", "max", "min")
NORMALIZATIONS = ("batch_norm", "layer_norm")
NEEDS_REGULAR = ("inv", "solve", "pinv", "slogdet", "qr")


def array_reason(name: str, values: tuple[Array, ...], result: Array) -> Reason | None:
    """The reason in an operation that is not elementwise and has finite operands; None if it is unknown."""
    first = np.asarray(values[0]) if values else np.ones(1)
    if name in MEANS and first.size == 0:
        return EMPTY
    if name in NORMALIZATIONS and np.isnan(result).any():
        limit = float(np.sqrt(np.finfo(np.result_type(first)).max)) / max(1, np.size(first))
        return CONSTANT if float(np.abs(first).max(initial=0.0)) < limit else None
    if name in NEEDS_REGULAR and _is_singular(first):
        return SINGULAR
    return None


def linalg_reason(name: str, residuals: tuple[Array, ...]) -> Reason | None:
    """The reason in the rule of a factorization or inverse; None if it is unknown."""
    arrays = [np.asarray(x) for x in residuals if x is not None and np.ndim(x)]
    if name in ("eigh", "svd"):
        most = max((x.ndim for x in arrays), default=0)
        for values in (x for x in arrays if x.ndim == most - 1 and x.size):
            ascending = np.sort(values, axis=-1)
            tolerance = 1e-10 * np.abs(ascending).max()
            is_equal = bool((np.diff(ascending) <= tolerance).any())
            if name == "svd" and (is_equal or bool((ascending[..., 0] <= tolerance).any())):
                return EQUAL_SINGULAR
            if is_equal:
                return EQUAL
    if (
        name in NEEDS_REGULAR
        and all(np.isfinite(x).all() for x in arrays)
        and any(_is_singular(x) or float(np.abs(x).max(initial=0.0)) > 1e30 for x in arrays)
    ):
        return SINGULAR
    return None


def _is_singular(x: Any) -> bool:
    x = np.asarray(x)
    if x.ndim < 2 or x.size == 0 or not np.isfinite(x).all():
        return False
    values = np.linalg.svd(x, compute_uv=False)
    return bool((values[..., -1] <= np.maximum(1e-12 * values[..., 0], 1e-30)).any())
