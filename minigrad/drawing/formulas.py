"""Lines of the tape as formulas: "(x − μ) / √(σ² + const)"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from minigrad.node import Node
from minigrad.wengert import brief, kept, static

WIDTH = 30  # characters; an operand that would make a formula longer is written as …
ELLIPSIS = "…"

# How tightly a formula holds together: an operand that holds less tightly gets parentheses.
SUM, SIGN, PRODUCT, POWER, ATOM = range(1, 6)

# Of two operands: the symbol, how tightly it binds, and whether x ∘ (y ∘ z) may be written without parentheses.
INFIX = {
    "add": ("+", SUM, True),
    "subtract": ("−", SUM, False),
    "multiply": ("·", PRODUCT, False),
    "divide": ("/", PRODUCT, False),
    "matmul": ("@", PRODUCT, False),
}
SUPERSCRIPTS = str.maketrans("-0123456789.", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹·")


class Formula(NamedTuple):
    """A text, and how tightly it holds together."""

    text: str
    strength: int = ATOM

    def within(self, strength: int) -> str:
        """The text as part of something that holds together so tightly."""
        return self.text if self.strength >= strength else f"({self.text})"


def formulas(lines: Sequence[Node], names: Mapping[Node, str], arrays: Mapping[int, str]) -> dict[Node, str]:
    """For each line, how its value is computed.

    An operand is written by its name. One without a name is written as a formula in its turn, if it is of the same
    scope and fits into `WIDTH`, else as an ellipsis: the edge of the picture says what it is. Lines are taken in the
    order of the tape, so the formulas of operands are there already.

    Args:
        lines: of a tape, in order.
        names: of lines that have one.
        arrays: names of constant arrays, by id.
    """
    made: dict[Node, Formula] = {}
    for line in lines:
        if line.is_leaf:
            made[line] = Formula(names[line])
            continue
        operands = [
            _constant(value, arrays) if parent is None else _operand(line, parent, names, made)
            for parent, value in zip(line.parents, _values(line), strict=True)
        ]
        made[line] = _fitted(line, operands, [parent is not None and parent not in names for parent in line.parents])
    return {line: formula.text for line, formula in made.items()}


def _operand(line: Node, parent: Node, names: Mapping[Node, str], made: Mapping[Node, Formula]) -> Formula:
    if parent in names:
        return Formula(names[parent])
    return made[parent] if parent.scope == line.scope else Formula(ELLIPSIS)


def _values(line: Node) -> list[Any]:
    return [None] * len(line.parents) if line.primitive.kind == "select" else kept(line)


def _fitted(line: Node, operands: list[Formula], may_shorten: list[bool]) -> Formula:
    """The formula with the longest unnamed operands shortened until it fits."""
    while len((made := _formula(line, operands)).text) > WIDTH:
        lengths = [len(x.text) if short else 0 for x, short in zip(operands, may_shorten, strict=True)]
        longest = max(range(len(lengths)), key=lengths.__getitem__, default=0)
        if not lengths or lengths[longest] <= len(ELLIPSIS):
            return _shortest(line, made)
        operands = [Formula(ELLIPSIS) if k == longest else x for k, x in enumerate(operands)]
    return made


def _shortest(line: Node, made: Formula) -> Formula:
    """What is left when no operand can be shortened: the formula cut off."""
    if line.primitive.name in INFIX:
        return made
    return Formula(
        f"{ELLIPSIS}[{ELLIPSIS}]" if line.primitive.name == "getitem" else f"{line.primitive.name}({ELLIPSIS})"
    )


def _constant(value: Any, arrays: Mapping[int, str]) -> Formula:
    """A number that was kept, the name of an array that was, or "const"."""
    if value is None:
        return Formula("const")
    if getattr(value, "shape", ()) == ():
        text = f"{value if isinstance(value, int) else float(value):.4g}".replace("-", "−")
        return Formula(text, SIGN if text.startswith("−") else ATOM)
    return Formula(arrays.get(id(value), "const"))


def _formula(line: Node, operands: list[Formula]) -> Formula:
    primitive = line.primitive
    name = primitive.name
    if name == "multiply" and line.parents[0] is line.parents[1]:
        name = "square"
    if name in INFIX and len(operands) == 2:
        symbol, strength, associative = INFIX[name]
        left, right = operands
        return Formula(
            f"{left.within(strength)} {symbol} {right.within(strength if associative else strength + 1)}", strength
        )
    if name in PREFIXED:
        return PREFIXED[name](operands[0])
    if name == "power" and (exponent := _superscript(operands[1].text)):
        return Formula(f"{operands[0].within(ATOM)}{exponent}", POWER)
    if primitive.kind == "select":
        parent = line.parents[0]
        assert parent is not None
        return Formula(f"{parent.primitive.name}.{parent.primitive.outputs[line.params[0]]}")
    if name == "getitem":
        index = brief(line.params[0])
        inside = index[1:-1].rstrip(",") if isinstance(line.params[0], tuple) else index
        return Formula(f"{operands[0].within(ATOM)}[{inside}]")
    return Formula(f"{name}({', '.join([x.text for x in operands] + _static(line))})")


def _static(line: Node) -> list[str]:
    """The static parameters that were given, axis=0 for axis=(0,)."""
    return [re.sub(r"^axis=\((\d+),\)$", r"axis=\1", text) for text in static(line)]


def _superscript(exponent: str) -> str:
    plain = exponent.replace("−", "-")
    return plain.translate(SUPERSCRIPTS) if plain.lstrip("-").isdigit() else ""


PREFIXED = {
    "negative": lambda x: Formula(f"−{x.within(PRODUCT)}", SIGN),
    "square": lambda x: Formula(f"{x.within(ATOM)}²", POWER),
    "sqrt": lambda x: Formula(f"√{x.within(ATOM)}", POWER),
    "reciprocal": lambda x: Formula(f"1 / {x.within(POWER)}", PRODUCT),
    "abs": lambda x: Formula(f"|{x.text}|"),
    "matrix_transpose": lambda x: Formula(f"{x.within(ATOM)}ᵀ", POWER),
}
