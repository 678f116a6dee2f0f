"""Expressions in the form in which people write them: without guards, with products and sums collected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import count
from string import ascii_lowercase
from sys import float_info
from typing import NamedTuple

from minigrad.symbols.expression import Call, Expression, Name, Number, mapped

LARGEST = float_info.max
# The values of tests, for finite numbers other than 0.
TESTS = {"isfinite": 1, "isnan": 0, "isinf": 0, "isneginf": 0, "isposinf": 0}


class Product(NamedTuple):
    """A quotient of products: a sign, and the factors of numerator and denominator with their exponents."""

    sign: int
    above: list[tuple[Expression, int]]
    below: list[tuple[Expression, int]]


# The formulas of functions that exist only for numerical accuracy.
DEFINITIONS: dict[str, Callable[..., Expression]] = {
    "quotient": lambda x, y: Call("divide", (x, y)),
    "gaussian": lambda x: Call("exp", (Call("negative", (Call("square", (x,)),)),)),
    "sech_squared": lambda x: Call("subtract", (Number(1), Call("square", (Call("tanh", (x,)),)))),
    "sigmoid_slope": lambda x: _of_sigmoid(Call("sigmoid", (x,))),
    "bounded": lambda x: x,
    "bounded_below": lambda x: x,
}


def _of_sigmoid(y: Expression) -> Expression:
    return Call("multiply", (y, Call("subtract", (Number(1), y))))


def simplified(e: Expression) -> Expression:
    """The expression, simplified for finite operands other than 0."""
    return mapped(e, _simplified)


def _simplified(e: Expression) -> Expression:  # noqa: PLR0912  (a table)
    if not isinstance(e, Call):
        return e
    zero, one = Number(0), Number(1)
    if e.op in DEFINITIONS:
        return DEFINITIONS[e.op](*e.operands)
    match e.op, e.operands:
        case ("equal", (_, Number(0))):
            return zero
        case ("not_equal", (_, Number(0))):
            return one
        case (op, _) if op in TESTS:
            return Number(TESTS[op])
        case ("where", (Number(value), x, y)):
            return x if value else y
        case ("add", (x, Number(0))) | ("add", (Number(0), x)) | ("subtract", (x, Number(0))):
            return x
        case ("positive", (x,)):
            return x
        case ("multiply", (x, Number(1))) | ("multiply", (Number(1), x)) | ("divide" | "power", (x, Number(1))):
            return x
        case ("multiply" | "bitwise_and", (Number(0), _) | (_, Number(0))) | (
            "sum" | "broadcast_to" | "negative",
            (Number(0),),
        ):
            return zero
        case ("minimum", (x, Number(value))) if value == LARGEST:
            return x
        case ("maximum", (Number(0), Number(1))):
            return one
        case ("mean", (Call("subtract", (x, Call("mean", (y,)))),)) if x == y:  # 0 up to rounding
            return zero
        case ("matmul", (Number(1), x)):  # a row of ones
            return Call("sum", (x,), ("axis=0",))
        case ("matrix_transpose", (Call("matrix_transpose", (x,)),)):
            return x
        case ("broadcast_to", (Call("reshape", (x,)),)):
            return Call(e.op, (x,), e.details)
    return e


def shared(e: Expression, is_long: Callable[[Expression], bool]) -> tuple[Expression, list[tuple[Name, Expression]]]:
    """The expression with a letter for each long part that occurs more than once, and those parts."""
    uses: Counter[int] = Counter()
    names = set()
    order: list[Call] = []

    def visit(part: Expression) -> None:
        if isinstance(part, Name):
            names.add(part.text)
        if isinstance(part, Call):
            uses[id(part)] += 1
            if uses[id(part)] == 1:
                for x in part.operands:
                    visit(x)
                order.append(part)

    visit(e)
    candidates = (f"{letter}{k or ''}" for k in count() for letter in ascii_lowercase)
    letters = (letter for letter in candidates if letter not in names)
    replacements: dict[int, Expression] = {}
    parts = []
    for part in order:
        new: Expression = Call(part.op, tuple(replacements.get(id(x), x) for x in part.operands), part.details)
        if uses[id(part)] > 1 and is_long(new):
            letter = Name(next(letters))
            parts.append((letter, new))
            new = letter
        replacements[id(part)] = new
    return replacements.get(id(e), e), parts


def as_product(e: Expression) -> Product:
    """The expression as a signed quotient of products."""
    match e:
        case Call("negative", (x,)):
            inner = as_product(x)
            return Product(-inner.sign, inner.above, inner.below)
        case Call("multiply", (x, y)):
            left, right = as_product(x), as_product(y)
            return Product(left.sign * right.sign, _merged(left.above + right.above), _merged(left.below + right.below))
        case Call("divide", (x, y)):
            left, right = as_product(x), as_product(y)
            return Product(left.sign * right.sign, _merged(left.above + right.below), _merged(left.below + right.above))
        case Call("reciprocal", (x,)):
            inner = as_product(x)
            return Product(inner.sign, inner.below, inner.above)
        case Call("square", (x,)):
            return Product(1, [(x, 2)], [])
        case Call("power", (x, Number(n))) if isinstance(n, int) and n > 0:
            return Product(1, [(x, n)], [])
        case Call("matmul", (x, y)):
            (left_sign, a), (right_sign, b) = _unsigned(x), _unsigned(y)
            return Product(left_sign * right_sign, [(Call("matmul", (a, b)), 1)], [])
        case Number(1):
            return Product(1, [], [])
        case Number(value) if value < 0:
            return Product(-1, [(Number(-value), 1)] if value != -1 else [], [])
    return Product(1, [(e, 1)], [])


def _unsigned(x: Expression) -> tuple[int, Expression]:
    return (-1, x.operands[0]) if isinstance(x, Call) and x.op == "negative" else (1, x)


def _merged(factors: list[tuple[Expression, int]]) -> list[tuple[Expression, int]]:
    merged: list[tuple[Expression, int]] = []
    for x, n in factors:
        k = next((k for k, (y, _) in enumerate(merged) if x == y and not isinstance(x, Number)), None)
        if k is None:
            merged.append((x, n))
        else:
            merged[k] = (x, merged[k][1] + n)
    return merged


def as_sum(e: Expression) -> list[tuple[int, Expression]]:
    """The expression as a signed sum, with the sum of its numbers as the last term."""
    match e:
        case Call("add", (x, y)):
            terms = as_sum(x) + as_sum(y)
        case Call("subtract", (x, y)):
            terms = as_sum(x) + [(-sign, part) for sign, part in as_sum(y)]
        case _:
            return [(1, e)]
    numbers = [(sign, part.value) for sign, part in terms if isinstance(part, Number)]
    if len(numbers) < 2:
        return terms
    total = sum(sign * value for sign, value in numbers)
    rest = [(sign, part) for sign, part in terms if not isinstance(part, Number)]
    return rest + [(1, Number(total))] * bool(total) or [(1, Number(0))]
