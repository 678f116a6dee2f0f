"""What a call in the source of the user's calls, as far as that is known before it runs."""

from __future__ import annotations

import ast
import builtins
import math
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from minigrad.compiler.follow.known import COMPUTING, KNOWN, NUMERIC, OF_MATH, OTHERS, TAKING
from minigrad.compiler.follow.syntax import is_called, name_of
from minigrad.compiler.follow.world import UNKNOWN, Body, World, root_of
from minigrad.reach.names import HEAP_TYPE, STANDARD


class Callee(NamedTuple):
    """What is called.

    Attributes:
        kind: "source" (takes a number out of an array), "user", "builtin", "math", "ufunc", "library" (of NumPy or
            minigrad), "object" (of minigrad's or of a class of the user's, which is called), "error" (a class of
            exceptions), "class" (of the user's), "computing" (of a module of Python's that computes), "foreign" (any
            other code) or "unknown".
        body: that of a function of the user's.
        name: of the function, the method or the builtin.
    """

    kind: str
    name: str = ""
    body: Body | None = None


def callee(call: ast.Call, body: Body, world: World) -> Callee:
    """What a call calls."""
    func = call.func
    name = name_of(func)
    if is_source(call) and isinstance(func, ast.Attribute):
        return Callee("source", name)
    x = world.meaning(func, body)
    if x is UNKNOWN:
        return Callee("unknown", name)
    if isinstance(func, ast.Name) and x is getattr(builtins, name, UNKNOWN):
        if isinstance(x, type) and issubclass(x, BaseException):
            return Callee("error", name)
        return Callee("source" if is_source(call) else "builtin", name)
    inner = world.of(x)
    if inner is not None:
        return Callee("user", name, inner)
    return Callee(kind_of(x), name)


def kind_of(x: Any) -> str:
    """What is called, if it is no function of the user's."""
    if isinstance(x, np.ufunc):
        return "ufunc"
    if isinstance(x, MethodType):  # of minigrad's
        return "library" if root_of(x.__func__) in NUMERIC else "foreign"
    if isinstance(x, type) and issubclass(x, BaseException):
        return "error"
    if isinstance(x, (FunctionType, BuiltinFunctionType, type)):
        if isinstance(x, BuiltinFunctionType) and x in OF_MATH:
            return "math"
        if isinstance(x, BuiltinFunctionType) and not isinstance(x.__self__, (ModuleType, type(None))):
            return "foreign"
        if root_of(x) in NUMERIC:
            return "library"
        if type(x) is type and x.__flags__ & HEAP_TYPE and root_of(x) not in STANDARD:
            return "class"
        return "computing" if root_of(x).lstrip("_") in COMPUTING or root_of(x) == "math" else "foreign"
    kind = type(x)
    if root_of(x) in NUMERIC or any(isinstance(vars(b).get("__call__"), FunctionType) for b in kind.__mro__):
        return "object"
    return "foreign"


def is_foreign(x: Any, world: World) -> bool:
    """Whether an object is a function that is neither the user's nor known; classes are told by their objects."""
    if not callable(x) or isinstance(x, type) or x is UNKNOWN or world.of(x) is not None:
        return False
    if x is getattr(builtins, getattr(x, "__name__", ""), UNKNOWN):
        return x.__name__ not in KNOWN | OTHERS
    return kind_of(x) == "foreign"


def is_source(node: ast.AST) -> bool:
    """Whether an expression may take a number out of an array."""
    if not isinstance(node, ast.Call) or node.keywords:
        return False
    if isinstance(node.func, ast.Attribute):
        return node.func.attr == "item" and not node.args
    return isinstance(node.func, ast.Name) and node.func.id in TAKING and len(node.args) == 1


# Names that a recorded function sees others for


def hidden(body: Body, world: World) -> dict[str, str]:
    """Names in a function that stand for float, int, math and functions of math, and are only called: what they mean.

    The code of the function is changed to other names while it is recorded; annotations are no part of that.
    """
    names = [x for x in body.nodes if isinstance(x, ast.Name)]
    attributes = {x.attr for x in body.nodes if isinstance(x, ast.Attribute)}
    skipped = {id(y) for x in body.nodes for y in _annotations(x)}
    found = {}
    for name in {x.id for x in names} - attributes - body.local - set(body.function.__code__.co_freevars):
        uses = [x for x in names if x.id == name and id(x) not in skipped]
        x = world.meaning(ast.Name(name, ast.Load()), body)
        if x is math and all(_is_attribute_called(use) for use in uses):
            found[name] = "math"
        elif name in TAKING and x is getattr(builtins, name) and all(map(is_called, uses)):
            found[name] = name
        elif isinstance(x, BuiltinFunctionType) and x in OF_MATH and all(map(is_called, uses)):
            found[name] = x.__name__
    return found


def _annotations(node: ast.AST) -> Iterator[ast.AST]:
    """The names in the annotation of a local variable, which nobody evaluates."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield from ast.walk(node.annotation)


def _is_attribute_called(node: ast.AST) -> bool:
    """Whether a name stands in a call of its attribute: math.sqrt(x), or in math.pi."""
    parent: Any = node.parent  # type: ignore[attr-defined]
    if not isinstance(parent, ast.Attribute) or not isinstance(parent.ctx, ast.Load):
        return False
    call: Any = parent.parent  # type: ignore[attr-defined]
    is_function = callable(getattr(math, parent.attr, None))
    return not is_function or (isinstance(call, ast.Call) and call.func is parent)
