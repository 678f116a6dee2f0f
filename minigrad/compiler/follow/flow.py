"""Which numbers that a step takes out of arrays can be traced: `loss.item()`, `float(loss)`.

While a step is recorded, a traced number can replace such a number as long as Python computes with it, stores it or
returns it. C code can tell it from a float: json.dumps raises a TypeError, which the user may have caught. So a number
is traced only if everything that runs afterwards is known: the source of the step from there to its end, and of all
functions of the user's that are called there, must consist of the statements, operators and calls listed in allowed.py.
Then it does not matter who holds the number, as no code looks at it. Code of minigrad and NumPy accepts a traced number
as a number, or asks for its value, which is noticed. In all other cases the step runs eagerly once it asks for the
number, and the message says what prevented tracing it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from types import FrameType, FunctionType, ModuleType
from typing import Any, NamedTuple

from minigrad.compiler.follow.allowed import Allowed
from minigrad.compiler.follow.calls import TAKING, is_opaque, is_source, replaceable_names
from minigrad.compiler.follow.function_source import Site, site_of
from minigrad.compiler.follow.taint import Taint
from minigrad.compiler.follow.world import UNKNOWN, Body, World
from minigrad.compiler.refusal import MINIGRAD
from minigrad.reach import Reach, package_of, words

SOURCES = TAKING | {"item"}


class Followed(NamedTuple):
    """Call sites whose numbers can be traced.

    Attributes:
        sites: where these calls end.
        why: for other calls that take a number, what prevents tracing it.
        renames: functions, and names in them that mean something else while the step is recorded.
    """

    sites: frozenset[Site]
    why: dict[Site, str]
    renames: list[tuple[FunctionType, dict[str, str]]]

    def has(self, frame: FrameType) -> bool:
        """Whether the call that runs in a frame is one of the sites."""
        return site_of(frame) in self.sites

    def reason(self, frame: FrameType | None) -> str:
        """What prevents tracing the number that is taken in a frame, "" if nothing does."""
        site = None if frame is None else site_of(frame)
        return "" if site is None else self.why.get(site, "")


NOTHING = Followed(frozenset(), {}, [])


def follow(reach: Reach, step: Any) -> Followed:
    """Find the call sites in the step, and in functions that it calls, whose numbers can be traced.

    Args:
        reach: what the step reaches.
        step: the function that was compiled.
    """
    receiver = getattr(step, "__self__", UNKNOWN)
    function = _decorated(getattr(step, "__func__", step))
    if type(function) is not FunctionType or function.__code__.co_filename.startswith(MINIGRAD):
        return NOTHING
    if not any(SOURCES & words(f.__code__) for f in (function, *reach.functions)):
        return NOTHING
    world = World(reach, function, receiver)
    world.opaque = _opaque_code(world, reach)
    allowed = Allowed(world, Taint(world))
    return _Sites(world, allowed).result()


def _opaque_code(world: World, reach: Reach) -> str:
    """The path of a function that cannot be followed, in a container or an attribute from which it may be called."""
    scopes = {id(f.__globals__) for f in reach.functions} | {id(world.step.function.__globals__)}
    for ref, x in reach.refs:
        is_module = isinstance(ref.owner, ModuleType) or id(ref.holder) in scopes or ref.kind in ("cell", "class")
        if not is_module and package_of(ref.owner) != "minigrad" and is_opaque(x, world):
            return ref.path or str(ref.key)
    return ""


def _decorated(step: Any) -> Any:
    """The user's function inside @mg.no_grad() and the like."""
    while type(step) is FunctionType and step.__code__.co_filename.startswith(MINIGRAD):
        inner = getattr(step, "__wrapped__", None)
        if type(inner) is not FunctionType:
            break
        step = inner
    return step


class _Sites:
    """The calls that take numbers out of arrays."""

    def __init__(self, world: World, allowed: Allowed) -> None:
        self.world, self.allowed = world, allowed
        self.sites: set[Site] = set()
        self.why: dict[Site, str] = {}
        self.renames: list[tuple[FunctionType, dict[str, str]]] = []

    def result(self) -> Followed:
        """The sites, and what prevents tracing at others."""
        step = self.world.step
        if step.node is None:
            return NOTHING
        anywhere = self.allowed.reason(step.nodes, step)
        for body in [step, *self.world.bodies]:
            names = replaceable_names(body, self.world)
            is_used = False
            calls: list[Any] = [x for x in body.nodes if is_source(x)]
            for call in calls:
                why = self._why(call, body, anywhere, names)
                site = body.function.__code__.co_filename, call.end_lineno or 0, call.end_col_offset or 0
                if why:
                    self.why[site] = why
                else:
                    self.sites.add(site)
                    is_used = True
            if names and (is_used or not anywhere):
                self.renames.append((body.function, names))
        return Followed(frozenset(self.sites), self.why, self.renames if self.sites else [])

    def _why(self, call: Any, body: Body, anywhere: str, names: dict[str, str]) -> str:
        """What prevents tracing the number that a call takes.

        In other functions than the step, that is whatever prevents it anywhere in the step: it is not known from where
        they are called.
        """
        if isinstance(call.func, ast.Name) and call.func.id not in names:
            return f"the name `{call.func.id}` is used for more than calls here, or is not the builtin"
        if body is not self.world.step or self._is_inside(call, body):
            return anywhere
        if not anywhere:
            return ""
        return self.allowed.reason(list(after(call, body.node)), body)

    def _is_inside(self, node: Any, body: Body) -> bool:
        """Whether a call is in a function that is written inside the step."""
        while node is not body.node:
            node = node.parent
            if isinstance(node, (ast.FunctionDef, ast.Lambda)) and node is not body.node:
                return True
        return False


def after(node: Any, function: Any) -> Iterator[ast.AST]:
    """All nodes that may run once an expression is reached: its statement, those that follow, and in a loop all."""
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
