"""Terms: the expressions of a backward pass, with shapes.

A sum is one term with all its terms ("plus"), a product one term with all its factors and their exponents ("times"), so
that x - x and x / x are found without looking for them. Within a session equal terms are one object.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from fractions import Fraction
from typing import Any

Exponent = Fraction
ONE = Fraction(1)


class Session:
    """The terms of one derivation. Within the block, equal terms are one object, numbered as they are made."""

    def __init__(self) -> None:
        self.table: dict[Any, Term] = {}
        self._tokens: list[Token[Session]] = []

    def __enter__(self) -> Session:
        self._tokens.append(_session.set(self))
        return self

    def __exit__(self, *error: object) -> None:
        _session.reset(self._tokens.pop())


class Term:
    """An expression.

    Args:
        op: "name", "number", "size", "plus", "times", or what is computed: "sum", "exp", "matmul".
        args: the operands.
        params: what else decides the result: axes, an index; of "times" the coefficient and the exponents.
        shape: of the result.
    """

    __slots__ = ("args", "cost", "op", "params", "serial", "shape")

    op: str
    args: tuple[Term, ...]
    params: tuple[Any, ...]
    shape: tuple[int, ...]
    serial: int
    cost: float

    def __new__(
        cls, op: str, args: tuple[Term, ...] = (), params: tuple[Any, ...] = (), shape: tuple[int, ...] = ()
    ) -> Term:
        """The term with these parts, which exists once."""
        key = (op, args, tuple((type(p).__name__, hashable(p)) for p in params), shape)
        table = _session.get().table
        term = table.get(key)
        if term is None:
            term = super().__new__(cls)
            term.op, term.args, term.params, term.shape = op, args, params, shape
            term.serial = len(table)
            term.cost = _cost(term)
            table[key] = term
        return term

    def __repr__(self) -> str:
        inside = ", ".join([*map(repr, self.args), *map(str, self.params)])
        return str(self.params[0]) if self.op in ("name", "number", "size") else f"{self.op}({inside})"

    @property
    def is_zero(self) -> bool:
        """Whether it is the number 0, perhaps spread over a shape."""
        return self.op == "number" and self.params[0] == 0

    def factors(self) -> tuple[Any, dict[Term, Exponent]]:
        """The term as a product: its coefficient, and the factors with their exponents."""
        if self.op == "times":
            return self.params[0], dict(zip(self.args, self.params[1], strict=True))
        if self.op == "number":
            return self.params[0], {}
        return ONE, {self: ONE}


_session: ContextVar[Session] = ContextVar("minigrad_derive_session")


def hashable(x: Any) -> Any:
    """A parameter as a key: slices have no hash in all versions of Python, and terms are themselves."""
    if isinstance(x, slice):
        return ("slice", hashable(x.start), hashable(x.stop), hashable(x.step))
    if isinstance(x, (tuple, list)):
        return tuple(hashable(part) for part in x)
    return x


def _cost(t: Term) -> float:
    """How long a term is to read: names, numbers and operations."""
    if t.op in ("name", "size"):
        return 2.0
    if t.op == "number":
        return 1.0
    inside = sum(x.cost for x in t.args)
    if t.op == "times":
        coefficient, exponents = t.params
        extra = sum(e.denominator > 1 or abs(e) != 1 for e in exponents)
        return inside + len(t.args) - 1 + (abs(coefficient) != 1) + 0.5 * (coefficient < 0) + 0.7 * extra
    if t.op == "plus":
        return inside + len(t.args) - 0.5
    return inside + 2.0


def mapped(t: Term, change: Callable[[Term, tuple[Term, ...]], Term], seen: dict[Term, Term] | None = None) -> Term:
    """The term that `change` makes of every part and its changed operands, innermost first."""
    seen = {} if seen is None else seen
    if t not in seen:
        seen[t] = change(t, tuple(mapped(x, change, seen) for x in t.args))
    return seen[t]


def names_in(t: Term, seen: dict[Term, None] | None = None) -> list[str]:
    """The names in a term, in the order in which they occur."""
    seen = {} if seen is None else seen
    if t not in seen:
        seen[t] = None
        for x in t.args:
            names_in(x, seen)
    return [str(x.params[0]) for x in seen if x.op == "name"]


def name(text: str, shape: tuple[int, ...]) -> Term:
    """A value of the forward pass or a gradient, by its name."""
    return Term("name", (), (text,), shape)
