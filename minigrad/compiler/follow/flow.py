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
import builtins
import math
from collections.abc import Iterator
from types import BuiltinFunctionType, FrameType, FunctionType, ModuleType
from typing import Any, NamedTuple

from minigrad.compiler.follow.allowed import Allowed
from minigrad.compiler.follow.taint import OF_MATH, TAKING, Taint, is_opaque, is_source
from minigrad.compiler.follow.user_functions import UNKNOWN, Body, Site, World, is_called, parent_of, site_of
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
    return _sites(world, Allowed(world, Taint(world)))


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


def _sites(world: World, allowed: Allowed) -> Followed:
    """The calls that take numbers out of arrays which can be traced, and what prevents it at others."""
    step = world.step
    if step.node is None:
        return NOTHING
    anywhere = allowed.reason(step.nodes, step)
    sites, why_not, renames = set[Site](), dict[Site, str](), list[tuple[FunctionType, dict[str, str]]]()
    for body in [step, *world.bodies]:
        names = replaceable_names(body, world)
        code, before = body.function.__code__, len(sites)
        calls: list[Any] = [x for x in body.nodes if is_source(x)]
        for call in calls:
            site = code.co_filename, call.end_lineno or 0, call.end_col_offset or 0
            if isinstance(call.func, ast.Name) and call.func.id not in names:
                why = f"the name `{call.func.id}` is used for more than calls here, or is not the builtin"
            elif not anywhere or body is not step or _is_inside(call, body):  # it is not known from where it is called
                why = anywhere
            else:
                why = allowed.reason([x for top in _after(call, body.node) for x in ast.walk(top)], body)
            if why:
                why_not[site] = why
            else:
                sites.add(site)
        if names and (len(sites) > before or not anywhere):
            renames.append((body.function, names))
    return Followed(frozenset(sites), why_not, renames if sites else [])


def _is_inside(node: Any, body: Body) -> bool:
    """Whether a call is in a function that is written inside the step."""
    while node is not body.node and not isinstance(node, (ast.FunctionDef, ast.Lambda)):
        node = node.parent
    return node is not body.node


def replaceable_names(body: Body, world: World) -> dict[str, str]:
    """Names in a function that mean float, int, math or functions of math and are only called, with their meanings.

    While the function is recorded, its code uses other names for them. Annotations do not count.
    """
    names = [x for x in body.nodes if isinstance(x, ast.Name)]
    attributes = {x.attr for x in body.nodes if isinstance(x, ast.Attribute)}
    skipped = {id(y) for x in body.nodes for y in _annotations(x)}
    meanings = {}
    for name in {x.id for x in names} - attributes - body.local - set(body.function.__code__.co_freevars):
        uses = [x for x in names if x.id == name and id(x) not in skipped]
        x = world.meaning(ast.Name(name, ast.Load()), body)
        if x is math and all(_is_attribute_called(use) for use in uses):
            meanings[name] = "math"
        elif name in TAKING and x is getattr(builtins, name) and all(map(is_called, uses)):
            meanings[name] = name
        elif isinstance(x, BuiltinFunctionType) and x in OF_MATH and all(map(is_called, uses)):
            meanings[name] = x.__name__
    return meanings


def _annotations(node: ast.AST) -> Iterator[ast.AST]:
    """The names in the annotation of a local variable, which is never evaluated."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield from ast.walk(node.annotation)


def _is_attribute_called(node: ast.AST) -> bool:
    """Whether a name is used as in math.sqrt(x) or math.pi."""
    parent = parent_of(node)
    if not isinstance(parent, ast.Attribute) or not isinstance(parent.ctx, ast.Load):
        return False
    call = parent_of(parent)
    is_function = callable(getattr(math, parent.attr, None))
    return not is_function or (isinstance(call, ast.Call) and call.func is parent)


def _after(node: Any, function: Any) -> Iterator[ast.AST]:
    """What may run once an expression is reached: its statement, those that follow, and in a loop all."""
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
