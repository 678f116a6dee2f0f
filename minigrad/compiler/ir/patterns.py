"""Patterns of ops, as the equations of `rewriter.py` have them on their left side: X + -Y, (P * Q) * S, X**2.

    X, Y        a value
    P, Q, S     a value or a literal
    C           a literal
    K           a literal or a constant array, as the number that it is

A number in a pattern matches that literal, and arrays that are constant with that number. Operands of commutative ops
match in either order. A variable that occurs twice stands for the same value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

from minigrad.compiler.ir.predicates import Operand, number
from minigrad.compiler.ir.program import COMMUTATIVE, Value

LITERAL = "literal"  # for an operand that is a literal, instead of the name of an op


def _binary(name: str) -> Any:
    """The two methods of a binary operator."""
    return lambda x, y: x._build(name, (x, y), {}), lambda x, y: x._build(name, (y, x), {})


class Operators:
    """Operators that build something from operands: a pattern, or ops of a program."""

    __slots__ = ()

    __add__, __radd__ = _binary("add")
    __sub__, __rsub__ = _binary("subtract")
    __mul__, __rmul__ = _binary("multiply")
    __truediv__, __rtruediv__ = _binary("divide")
    __pow__, __rpow__ = _binary("power")

    def __neg__(self) -> Any:
        return self._build("negative", (self,), {})

    def apply(self, name: str, *others: Any, **params: Any) -> Any:
        """The op `name` on this operand and others."""
        return self._build(name, (self, *others), params)

    def _build(self, name: str, ins: tuple[Any, ...], params: dict[str, Any]) -> Any:
        raise NotImplementedError


class Pattern(Operators):
    """An op on operands that match other patterns, or are numbers."""

    def __init__(self, name: str, ins: tuple[Any, ...]) -> None:
        self.name, self.ins = name, ins

    def _build(self, name: str, ins: tuple[Any, ...], params: dict[str, Any]) -> Pattern:
        return Pattern(name, ins)

    def orders(self) -> Iterator[Pattern]:
        """The pattern with the operands of commutative ops in each order."""
        is_symmetric = self.name in COMMUTATIVE and self.ins[0] is not self.ins[1]
        for ins in (self.ins, self.ins[::-1]) if is_symmetric else (self.ins,):
            for operands in product(*(p.orders() if isinstance(p, Pattern) else (p,) for p in ins)):
                yield Pattern(self.name, operands)

    def accepts(self, name: str) -> bool:
        """Whether an operand that this op computes may match."""
        return name == self.name

    def accepts_operands(self, names: tuple[str, ...]) -> bool:
        """Whether operands that these ops compute may match those of the pattern."""
        return len(names) == len(self.ins) and all(
            p.accepts(name) if isinstance(p, Pattern) else name in (LITERAL, "full")
            for p, name in zip(self.ins, names, strict=True)
        )

    def binds(self, x: Operand, bound: dict[str, Any]) -> bool:
        """Whether an operand matches. Enters what the variables stand for."""
        return type(x) is Value and x.op.name == self.name and self.binds_operands(x.op.ins, bound)

    def binds_operands(self, ins: tuple[Operand, ...], bound: dict[str, Any]) -> bool:
        """Whether the operands of an op with the pattern's name match. Enters what the variables stand for."""
        for p, x in zip(self.ins, ins, strict=True):
            if not (p.binds(x, bound) if isinstance(p, Pattern) else number(x) == p):
                return False
        return True


class Variable(Pattern):
    """A pattern that matches every operand of some kind, and stands for it in the functions of a rule."""

    def __init__(self, name: str, accepts: Callable[[str], bool], read: Callable[[Operand], Any]) -> None:
        super().__init__(name, ())
        self._accepts, self._read = accepts, read

    def orders(self) -> Iterator[Pattern]:
        """The variable itself."""
        yield self

    def accepts(self, name: str) -> bool:
        """Whether an operand that this op computes may match."""
        return self._accepts(name)

    def binds(self, x: Operand, bound: dict[str, Any]) -> bool:
        """Whether the variable may stand for x, as it does everywhere in the pattern."""
        return self._accepts(x.op.name if type(x) is Value else LITERAL) and (
            bound.setdefault(self.name, value := self._read(x)) is value
        )


def _value(letter: str) -> Variable:
    return Variable(letter, lambda name: name != LITERAL, lambda x: x)


def _any(letter: str) -> Variable:
    return Variable(letter, lambda name: True, lambda x: x)


X, Y = _value("x"), _value("y")  # values
P, Q, S = _any("p"), _any("q"), _any("s")  # values or literals
C = Variable("c", lambda name: name == LITERAL, lambda x: x)  # literals
K = Variable("k", lambda name: name in (LITERAL, "full"), number)  # literals and constant arrays, as numbers
