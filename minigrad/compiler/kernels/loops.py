"""Loops as data: statements, transforms of them, and their text as Python.

`lowering` turns a kernel into loops over rows and, within a row, over columns (index `j`). The transforms decide how
these loops run: several rows at once, columns unrolled, or a range of the rows in each thread. Statements are frozen
dataclasses of names, array elements and expressions; an expression is text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby
from typing import Any, TypeAlias

IDENTIFIER = re.compile(r"\b[A-Za-z_]\w*")
COLUMN = "j"


@dataclass(frozen=True, slots=True)
class Element:
    """An element of an array; with fewer indices than axes, a part of it."""

    array: str
    index: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.array}[{', '.join(self.index)}]"


@dataclass(frozen=True, slots=True)
class Let:
    """name = value, an expression or an element that is loaded"""

    name: str
    value: str | Element

    def __str__(self) -> str:
        return f"{self.name} = {self.value}"


@dataclass(frozen=True, slots=True)
class Store:
    """target = value, where the target is an element, or the variable that replaces it"""

    target: Element | str
    value: str

    def __str__(self) -> str:
        return f"{self.target} = {self.value}"


@dataclass(frozen=True, slots=True)
class Accumulate:
    """target = step(target, value), where the step is an expression of {0} and {1}"""

    target: Element | str
    step: str
    value: str

    def __str__(self) -> str:
        return f"{self.target} = {self.step.format(self.target, self.value)}"


@dataclass(frozen=True, slots=True)
class Loop:
    """for index in range(bounds): body"""

    index: str
    bounds: str
    body: tuple[Statement, ...]

    def __str__(self) -> str:
        return f"for {self.index} in range({self.bounds}):"


@dataclass(frozen=True, slots=True)
class If:
    """if condition: body"""

    condition: str
    body: tuple[Statement, ...]

    def __str__(self) -> str:
        return f"if {self.condition}:"


Statement: TypeAlias = Let | Store | Accumulate | Loop | If


def python(statements: Iterable[Statement], indent: str = "") -> list[str]:
    """The statements as lines of Python."""
    lines = []
    for s in statements:
        lines.append(f"{indent}{s}")
        if isinstance(s, (Loop, If)):
            lines += python(s.body, f"{indent}    ") or [f"{indent}    pass"]
    return lines


def nested(axes: Sequence[int], body: Iterable[Statement]) -> list[Statement]:
    """Loops over whole axes around a body, the first outermost: `for i0 in range(n0)`, ..."""
    statements = list(body)
    for axis in reversed(axes):
        statements = [Loop(f"i{axis}", f"n{axis}", tuple(statements))]
    return statements


def renamed(x: Any, names: Mapping[str, str]) -> Any:
    """A statement or a text with other names, or with expressions instead of names."""
    if isinstance(x, str):
        return IDENTIFIER.sub(lambda match: names.get(match[0], match[0]), x)
    if isinstance(x, tuple):
        return tuple(renamed(part, names) for part in x)
    return replace(x, **{f.name: renamed(getattr(x, f.name), names) for f in fields(x)})


def with_elements(statement: Any, change: Callable[[Element], Element | str]) -> Any:
    """A statement with each of its elements changed."""
    values = {f.name: getattr(statement, f.name) for f in fields(statement)}
    return replace(statement, **{name: change(x) for name, x in values.items() if isinstance(x, Element)})


def mentions(x: object, names: Collection[str]) -> bool:
    """Whether one of the names occurs in a statement, an element or an expression."""
    return not set(IDENTIFIER.findall(str(x))).isdisjoint(names)


# Transforms of a row: what happens for one index of the axes but the last, with loops over its columns


def hoist_pointers(row: Sequence[Statement], number: int) -> list[Statement]:
    """Index arrays by the row before the loops over columns, which then see arrays of one axis."""
    pointers: dict[str, str] = {}

    def without_row(element: Element) -> Element:
        *lead, last = element.index
        if not lead or last != COLUMN:
            return element
        part = str(Element(element.array, tuple(lead)))
        return Element(pointers.setdefault(part, f"p{len(pointers)}_{number}"), (COLUMN,))

    statements = [
        replace(s, body=tuple(with_elements(x, without_row) for x in s.body)) if isinstance(s, Loop) else s for s in row
    ]
    return [*(Let(pointer, part) for part, pointer in pointers.items()), *statements]


def unroll_columns(row: Sequence[Statement], columns: int, buffers: Collection[str]) -> list[Statement]:
    """Write the loops over columns out, for flat arrays. The buffers, which hold one row, become variables."""
    statements: list[Statement] = []
    for s in row:
        if not isinstance(s, Loop):
            statements.append(s)
            continue
        for k in range(columns):

            def at_column(element: Element, k: int = k) -> Element | str:
                if element.array in buffers:
                    return f"{element.array}_{k}"
                *lead, _ = element.index  # an unsigned index is known to count from the beginning
                return Element(element.array, (f"np.uint64({lead[0]} * {columns} + {k})" if lead else str(k),))

            statements += [with_elements(x, at_column) for x in s.body]
    return statements


def unroll_rows(row: Sequence[Statement], index: str, count: int) -> list[Statement]:
    """Work on the rows `count * k`, `count * k + 1`, ... at once, with one loop over columns for all of them.

    Names of a row end in its number. What is the same in all rows is computed once.
    """
    own = {s.name for s in row if isinstance(s, Let)}
    names = [{index: f"{count} * k + {r}", **{name: f"{name}_{r}" for name in own}} for r in range(count)]
    statements: list[Statement] = []
    for _, group in groupby(row, lambda s: isinstance(s, Loop)):
        segment = list(group)
        if isinstance(segment[0], Loop):
            statements += [_jammed(loop, {index, *own}, names) for loop in segment if isinstance(loop, Loop)]
        else:
            statements += [renamed(s, names_of_row) for names_of_row in names for s in segment]
    return statements


def _jammed(loop: Loop, varying: set[str], names: list[dict[str, str]]) -> Loop:
    """One loop over columns for several rows. `varying` names differ from row to row.

    An element that all rows add to is loaded and stored once.
    """
    for s in loop.body:
        if isinstance(s, Let) and mentions(s.value, varying):
            varying.add(s.name)
    targets = [s.target for s in loop.body if isinstance(s, Accumulate) and not mentions(s.target, varying)]
    sums = {element: f"sum_{element.array}" for element in targets if isinstance(element, Element)}
    body: list[Statement] = [Let(name, element) for element, name in sums.items()]
    for r, names_of_row in enumerate(names):
        suffixed = {**{name: f"{name}_{r}" for name in varying}, **names_of_row}
        for s in loop.body:
            if isinstance(s, Accumulate):
                target = sums.get(s.target, s.target) if isinstance(s.target, Element) else s.target
                body.append(renamed(replace(s, target=target), suffixed))
            elif not isinstance(s, Let) or s.name in varying:
                body.append(renamed(s, suffixed))
            elif r == 0:
                body.append(s)
    return replace(loop, body=(*body, *(Store(element, name) for element, name in sums.items())))


# A transform of a loop nest


def chunk(nest: Sequence[Statement], sums: Mapping[str, str | None]) -> list[Statement]:
    """Let each thread, which runs the nest on a range of rows, add up in a place of its own.

    Args:
        nest: the statements of a loop nest.
        sums: by name of a sum the array that it is added up in, None for a single number. That of `v` becomes
            `qv[part]`, and the number goes to `qv[part, 0]`.
    """
    arrays = {array: f"c{name}" for name, array in sums.items() if array}
    numbers = [name for name, array in sums.items() if not array]
    statements = [s for s in nest if not (isinstance(s, Store) and s.value in numbers)]
    return [
        *(Let(f"c{name}", f"q{name}[part]") for name, array in sums.items() if array),
        *renamed(tuple(statements), arrays),
        *(Store(Element(f"q{name}", ("part", "0")), name) for name in numbers),
    ]
