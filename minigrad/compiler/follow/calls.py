"""The callees of calls in the user's source, as far as they are known before the step runs.

Some neither look at a number that they get nor pass it to code that might: their names are listed here.
"""

from __future__ import annotations

import ast
import builtins
import math
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from minigrad import nn, optim
from minigrad.compiler.follow.function_source import is_called, name_of, parent_of
from minigrad.compiler.follow.world import NUMERIC_PACKAGES, UNKNOWN, Body, World
from minigrad.reach import STANDARD, package_of
from minigrad.reach.contents import HEAP_TYPE
from minigrad.tensor.tensor import Tensor

TAKING = frozenset({"float", "int"})
# Builtins that compute with numbers by their methods or pass them on, or ask for their value, which is noticed.
KNOWN = TAKING | {"max", "min", "sum", "abs", "list", "tuple", "len", "enumerate", "zip", "isinstance", "print"}
KNOWN |= {"round", "bool", "reversed", "str", "repr", "divmod", "any", "all"}
PLAIN_RESULT = frozenset({"len", "isinstance", "bool", "str", "repr", "range", "any", "all", "hasattr", "print"})
PLAIN_RESULT |= {"type"}
# Builtins that may be called with anything except numbers out of arrays.
OTHERS = frozenset({"range", "sorted", "set", "dict", "frozenset", "iter", "next", "hasattr", "type", "issubclass"})
OTHERS |= {"callable", "super", "slice", "pow", "getattr", "id", "format", "complex", "bytes"}
FILLING = frozenset({"append", "appendleft", "update", "setdefault", "extend", "insert"})  # store their arguments
PLAIN = frozenset({"get", "items", "values", "keys", "pop", "popleft", "popitem", "clear", "copy"})
_KINDS = (np.ndarray, Tensor, np.random.Generator, np.ufunc)
METHODS = frozenset(name for kind in _KINDS for name in dir(kind) if name[0] != "_")
METHODS -= {"backward", "dump", "dumps", "tofile"}
RUNNING = frozenset(name for kind in (nn.Module, optim.Optimizer) for name in dir(kind) if name[0] != "_")
RUNNING |= {"backward", "step", "zero_grad", "get_last_lr", "forward"}  # minigrad's methods that run hooks
TEXT = frozenset(name for name in dir(str) if name[0] != "_") - {"format", "format_map"}
COMPUTING = frozenset({"itertools", "collections", "re", "string", "typing", "time", "random", "warnings"})
# Functions of math that programs compute again from the number in each call.
DECIDING = frozenset({math.isnan, math.isinf, math.isfinite})
THROUGH = frozenset({
    *(math.sqrt, math.exp, math.log, math.log2, math.log10, math.log1p, math.expm1, math.sin, math.cos, math.tan),
    *(math.tanh, math.sinh, math.cosh, math.atan, math.asin, math.acos, math.erf, math.fabs, math.degrees),
    *(math.radians, math.exp2),
})  # fmt: skip
OF_MATH = DECIDING | THROUGH


class Callee(NamedTuple):
    """What a call calls.

    Attributes:
        kind: "source" (takes a number out of an array), "user", "builtin", "math", "ufunc", "library" (NumPy or
            minigrad), "object" (a callable of minigrad's or of a user's class), "error" (a class of exceptions),
            "class" (a user's), "computing" (a module of Python's that only computes), "foreign" (any other code) or
            "unknown".
        name: of the function, the method or the builtin.
        body: of a function of the user's.
    """

    kind: str
    name: str = ""
    body: Body | None = None


def callee(call: ast.Call, body: Body, world: World) -> Callee:
    """Determine what a call calls."""
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
    """The kind of callee of an object that is not a function of the user's."""
    if isinstance(x, np.ufunc):
        return "ufunc"
    if isinstance(x, MethodType):
        return "library" if package_of(x.__func__) in NUMERIC_PACKAGES else "foreign"
    if isinstance(x, type) and issubclass(x, BaseException):
        return "error"
    if isinstance(x, (FunctionType, BuiltinFunctionType, type)):
        if isinstance(x, BuiltinFunctionType) and x in OF_MATH:
            return "math"
        if isinstance(x, BuiltinFunctionType) and not isinstance(x.__self__, (ModuleType, type(None))):
            return "foreign"
        root = package_of(x)
        if root in NUMERIC_PACKAGES:
            return "library"
        if type(x) is type and x.__flags__ & HEAP_TYPE and root not in STANDARD:
            return "class"
        return "computing" if root.lstrip("_") in COMPUTING or root == "math" else "foreign"
    calls = (vars(base).get("__call__") for base in type(x).__mro__)
    is_known = package_of(x) in NUMERIC_PACKAGES or any(isinstance(call, FunctionType) for call in calls)
    return "object" if is_known else "foreign"


def is_opaque(x: Any, world: World) -> bool:
    """Whether an object is a function that is neither the user's nor known. Classes are judged by their instances."""
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
