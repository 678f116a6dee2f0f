"""Which numbers that a step takes out of arrays can be traced: `loss.item()`, `float(loss)`.

While a step is recorded, a traced number can stand for such a number as long as Python computes with it, keeps it or
returns it. C code can tell it from a float: json.dumps raises a TypeError, which the user may have caught. So a number
is traced only if all that runs after it was taken is known: the source of the step from there to its end, and that of
all functions of the user's that are called there, must consist of the statements, operators and calls that are listed
in allowed.py. Who holds the number does not matter then, as nobody comes to look at it. Code of minigrad's and NumPy's
takes a traced number for a number, or asks for its value, which is noticed. Everything else says no, and asking for a
number makes the step run eagerly; the message says what stood in the way.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from types import FrameType, FunctionType, ModuleType
from typing import Any, NamedTuple

from minigrad.compiler.follow.allowed import Allowed
from minigrad.compiler.follow.calls import hidden, is_foreign, is_source
from minigrad.compiler.follow.known import TAKING
from minigrad.compiler.follow.syntax import Place, end_of_call
from minigrad.compiler.follow.taint import Taint
from minigrad.compiler.follow.world import UNKNOWN, Body, World, root_of
from minigrad.compiler.refusal import MINIGRAD
from minigrad.reach import Reach
from minigrad.reach.names import words

WANTED = TAKING | {"item"}


class Followed(NamedTuple):
    """Call sites whose numbers can be traced.

    Attributes:
        sites: where these calls end.
        why: for other calls that take a number, what stands in the way.
        hides: functions, and names in them that mean something else while the step is recorded.
    """

    sites: frozenset[Place]
    why: dict[Place, str]
    hides: list[tuple[FunctionType, dict[str, str]]]

    def has(self, frame: FrameType) -> bool:
        """Whether the call that runs in a frame is one of the sites."""
        return end_of_call(frame) in self.sites

    def reason(self, frame: FrameType | None) -> str:
        """What stands in the way of tracing the number that is taken in a frame."""
        return "" if frame is None else self.why.get(end_of_call(frame), "")  # type: ignore[arg-type]


NOTHING = Followed(frozenset(), {}, [])


def follow(reach: Reach, step: Any) -> Followed:
    """The call sites of the step, and of functions that it calls, whose numbers can be traced.

    Args:
        reach: what the step reaches.
        step: what was compiled.
    """
    receiver = getattr(step, "__self__", UNKNOWN)
    function = _decorated(getattr(step, "__func__", step))
    if type(function) is not FunctionType or function.__code__.co_filename.startswith(MINIGRAD):
        return NOTHING
    if not any(WANTED & words(f.__code__) for f in (function, *reach.functions)):
        return NOTHING
    world = World(reach, function, receiver)
    world.strange = _strange(world, reach)
    allowed = Allowed(world, Taint(world))
    return _Sites(world, allowed).found()


def _strange(world: World, reach: Reach) -> str:
    """A function that is not followed, in a container or an attribute: what is taken from there may be called."""
    scopes = {id(f.__globals__) for f in reach.functions} | {id(world.step.function.__globals__)}
    for ref, x in reach.refs:
        is_module = isinstance(ref.owner, ModuleType) or id(ref.holder) in scopes or ref.kind in ("cell", "class")
        if not is_module and root_of(ref.owner) != "minigrad" and is_foreign(x, world):
            return ref.path or str(ref.key)
    return ""


def _decorated(step: Any) -> Any:
    """The user's function inside of @mg.no_grad() and its like."""
    while type(step) is FunctionType and step.__code__.co_filename.startswith(MINIGRAD):
        inner = getattr(step, "__wrapped__", None)
        if type(inner) is not FunctionType:
            break
        step = inner
    return step


class _Sites:
    """Goes through all calls that take numbers out of arrays."""

    def __init__(self, world: World, allowed: Allowed) -> None:
        self.world, self.allowed = world, allowed
        self.sites: set[Place] = set()
        self.why: dict[Place, str] = {}
        self.hides: list[tuple[FunctionType, dict[str, str]]] = []

    def found(self) -> Followed:
        """The sites, and why others are none."""
        step = self.world.step
        if step.node is None:
            return NOTHING
        whole = self.allowed.reason(step.nodes, step)
        for body in [step, *self.world.bodies]:
            names = hidden(body, self.world)
            is_used = False
            calls: list[Any] = [x for x in body.nodes if is_source(x)]
            for call in calls:
                why = self._why(call, body, whole, names)
                place = body.function.__code__.co_filename, call.end_lineno or 0, call.end_col_offset or 0
                if why:
                    self.why[place] = why
                else:
                    self.sites.add(place)
                    is_used = True
            if names and (is_used or not whole):
                self.hides.append((body.function, names))
        return Followed(frozenset(self.sites), self.why, self.hides if self.sites else [])

    def _why(self, call: Any, body: Body, whole: str, names: dict[str, str]) -> str:
        """What stands in the way of tracing the number that a call takes. Of other functions than the step, all does
        that runs in the step, as nothing tells from where they are called."""
        if isinstance(call.func, ast.Name) and call.func.id not in names:
            return f"the name `{call.func.id}` is used for more than calls here, or is not that of the builtin"
        if body is not self.world.step or self._is_inside(call, body):
            return whole
        if not whole:
            return ""
        return self.allowed.reason(list(after(call, body.node)), body)

    def _is_inside(self, node: Any, body: Body) -> bool:
        """Whether a call stands in a function that is written inside of the step."""
        while node is not body.node:
            node = node.parent
            if isinstance(node, (ast.FunctionDef, ast.Lambda)) and node is not body.node:
                return True
        return False


def after(node: Any, function: Any) -> Iterator[ast.AST]:
    """All that runs in a function once an expression is reached: its statement, those that follow, in a loop all."""
    for top in _after(node, function):
        yield from ast.walk(top)


def _after(node: Any, function: Any) -> Iterator[ast.AST]:
    while not isinstance(node, ast.stmt) and node.parent is not function:
        node = node.parent
    yield node
    while node is not function:
        above = node.parent
        for field, value in ast.iter_fields(above):
            if field in ("body", "handlers", "orelse", "finalbody") and isinstance(value, list):
                yield from value[next((k for k, x in enumerate(value) if x is node), len(value)) + 1 :]
        if isinstance(above, (ast.For, ast.While, ast.AsyncFor)):
            yield above
        elif isinstance(above, ast.With):
            yield from above.items
        elif isinstance(above, (ast.Try, ast.TryStar)):
            yield from (*above.handlers, *above.orelse, *above.finalbody)
        node = above
