"""What calls in the user's source call, and which expressions may be numbers out of arrays, or contain such numbers.

Some callees neither look at a number that they get nor pass it to code that might: their names are listed here. Local
variables are tracked per function; attributes and variables of outer functions by their names everywhere.
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
from minigrad.compiler.follow.user_functions import NUMERIC_PACKAGES, UNKNOWN, Body, World, name_of
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
ACCEPTING = FILLING | PLAIN | METHODS  # those of arrays accept numbers, and those of numbers are noticed
KNOWN_METHODS = ACCEPTING | RUNNING | TEXT
COMPUTING = frozenset({"itertools", "collections", "re", "string", "typing", "time", "random", "warnings"})
# Functions of math that programs compute again from the number in each call.
DECIDING = frozenset({math.isnan, math.isinf, math.isfinite})
THROUGH = frozenset({
    *(math.sqrt, math.exp, math.log, math.log2, math.log10, math.log1p, math.expm1, math.sin, math.cos, math.tan),
    *(math.tanh, math.sinh, math.cosh, math.atan, math.asin, math.acos, math.erf, math.fabs, math.degrees),
    *(math.radians, math.exp2),
})  # fmt: skip
OF_MATH = DECIDING | THROUGH

Key = tuple[Any, str]  # (body, variable), ("attr", attribute), ("outer", variable) or (body, "return")


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


class Taint:
    """The names that may be bound to a number out of an array, or to something that contains one."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.names: set[Key] = set()
        self.origins: dict[Key, set[Key]] = {}  # the origins of a variable: h = logs["loss"]
        self._callees: dict[tuple[int, int], Callee] = {}
        for operator in world.operators:
            self.names |= {(operator, name) for name in operator.parameters}
        bodies = [world.step, *world.bodies]
        while True:
            before = len(self.names)
            for body in bodies:
                for node in body.nodes:
                    self._spread(node, body)
                if isinstance(body.node, ast.Lambda) and self.has(body.node.body, body):
                    self.names.add((body, "return"))
            bodies += [b for b in world.known.values() if b not in bodies]
            if len(self.names) == before:
                break

    def callee(self, call: ast.Call, body: Body) -> Callee:
        """Determine what a call calls."""
        key = id(call), id(body)
        if key not in self._callees:
            self._callees[key] = callee(call, body, self.world)
        return self._callees[key]

    def key(self, x: ast.AST, body: Body) -> Key | None:
        """The key of a variable or attribute, or of the container of which x is an item."""
        if isinstance(x, ast.Name):
            return (body, x.id) if x.id in body.local else ("outer", x.id)
        if isinstance(x, ast.Attribute):
            return "attr", x.attr
        if isinstance(x, (ast.Subscript, ast.Starred)):
            return self.key(x.value, body)
        if isinstance(x, ast.Call) and isinstance(x.func, ast.Attribute):  # d.setdefault("loss", []).append(v)
            return self.key(x.func.value, body)
        return None

    def has(self, x: ast.AST | None, body: Body) -> bool:
        """Whether an expression may be a number out of an array, or contain one."""
        match x:
            case None | ast.Constant() | ast.Compare() | ast.JoinedStr():  # converting to text and deciding are noticed
                return False
            case ast.Name():
                return self.key(x, body) in self.names
            case ast.Attribute():
                return ("attr", x.attr) in self.names or self.has(x.value, body)
            case ast.Subscript():
                return self.has(x.value, body)
            case ast.IfExp():
                return self.has(x.body, body) or self.has(x.orelse, body)
            case ast.UnaryOp(op=ast.Not()):
                return False
            case ast.Lambda():
                return self.has(x.body, body)
            case ast.ListComp() | ast.GeneratorExp() | ast.SetComp():
                return self.has(x.elt, body)
            case ast.DictComp():
                return self.has(x.value, body) or self.has(x.key, body)
            case ast.Call():
                return self._call_has(x, body)
        return any(self.has(y, body) for y in ast.iter_child_nodes(x))

    def _call_has(self, call: ast.Call, body: Body) -> bool:
        called = self.callee(call, body)
        if called.kind == "source":
            return True
        if called.kind in ("ufunc", "error") or (called.kind == "builtin" and called.name in PLAIN_RESULT):
            return False
        if called.kind == "user":
            return (called.body, "return") in self.names
        if any((b, "return") in self.names for b in self.candidates(called)):
            return True
        is_tainted = isinstance(call.func, ast.Name) and self.key(call.func, body) in self.names
        return is_tainted or any(self.has(y, body) for y in (*arguments(call), getattr(call.func, "value", None)))

    def candidates(self, called: Callee) -> list[Body]:
        """The user's functions that a call of something unknown may run: by its name, or as the call of an object."""
        if called.kind not in ("unknown", "object") or self._is_of_container(called.name):
            return []
        names = {called.name, "forward", "__call__"}
        return [b for name in names for b in self.world.named.get(name, ())]

    def _is_of_container(self, name: str) -> bool:
        """Whether only lists, dicts and the like have a method of this name, and no object is kept under it."""
        return name in FILLING and name not in self.world.named and name not in self.world.values

    # Spreading

    def _spread(self, node: ast.AST, body: Body) -> None:
        match node:
            case ast.Assign():
                for target in node.targets:
                    self._assign(target, node.value, body)
            case ast.AugAssign():  # a list may get more items
                self._assign(node.target, node.value, body, inside=True)
            case ast.AnnAssign() | ast.NamedExpr() if node.value is not None:
                self._assign(node.target, node.value, body)
            case ast.For() | ast.comprehension():
                self._iterate(node.target, node.iter, body)
            case ast.Return() | ast.Yield() | ast.YieldFrom():
                if self.has(node.value, body):
                    self.names.add(self._returned(node, body))
            case ast.withitem() if node.optional_vars is not None:
                self._assign(node.optional_vars, node.context_expr, body)
            case ast.Call():
                self._pass(node, body)

    def _returned(self, node: Any, body: Body) -> Key:
        """The key of what a function returns; for a function inside another one, that of its name."""
        while node.parent is not body.node:
            node = node.parent
            if isinstance(node, ast.FunctionDef):
                return body, node.name
        return body, "return"

    def _mark(self, target: ast.AST, body: Body, inside: bool = False) -> None:
        """Taint a variable or attribute; with `inside` also its origins, as the object is changed: h = s.losses."""
        todo, met = [self.key(target, body)], set[Any]()
        while todo:
            key = todo.pop()
            if key is not None and key not in met:
                met.add(key)
                self.names.add(key)
                todo += self.origins.get(key, ()) if inside else ()

    def _assign(self, target: ast.AST, value: ast.AST, body: Body, inside: bool = False) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            pairs: Any = [(t, value) for t in target.elts]
            if isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts):
                pairs = zip(target.elts, value.elts, strict=True)
            for part, x in pairs:
                self._assign(part, x, body)
            return
        key, origin = self.key(target, body), self.key(value, body)
        if isinstance(target, ast.Name) and key is not None and origin not in (None, key):
            self.origins.setdefault(key, set()).add(origin)
        if self.has(value, body):
            self._mark(target, body, inside or isinstance(target, ast.Subscript))

    def _iterate(self, target: ast.AST, source: ast.AST, body: Body) -> None:
        """Taint the target of `for target in source`. Keys and counters are not numbers out of arrays."""
        if type(self.world.meaning(source, body)) is dict:  # iteration gives its keys
            return
        pair = target.elts if isinstance(target, (ast.Tuple, ast.List)) else []
        if isinstance(source, ast.Call):
            called = self.callee(source, body)
            if called.kind == "builtin" and called.name == "enumerate" and len(pair) == 2 and source.args:
                self._iterate(pair[1], source.args[0], body)
                return
            is_zip = called.kind == "builtin" and called.name == "zip"
            if is_zip and len(pair) == len(source.args) and not any(isinstance(x, ast.Starred) for x in source.args):
                for part, x in zip(pair, source.args, strict=True):
                    self._iterate(part, x, body)
                return
            is_items = called.kind == "unknown" and called.name == "items" and not source.args
            if is_items and len(pair) == 2 and isinstance(source.func, ast.Attribute):
                self._iterate(pair[1], source.func.value, body)
                return
        self._assign(target, source, body)

    def _pass(self, call: ast.Call, body: Body) -> None:
        """Taint what a call fills, or the parameters of a function of the user's."""
        called, is_tainted = self.callee(call, body), any(self.has(x, body) for x in arguments(call))
        if is_tainted and isinstance(call.func, ast.Attribute) and call.func.attr in FILLING:
            self._mark(call.func.value, body, inside=True)
        if is_tainted:
            self.names |= {(b, name) for b in self.candidates(called) for name in b.everything}
        for name, x in bound(call, called.body) if called.body is not None else ():
            if self.has(x, body):
                self.names.add((called.body, name))
            if (key := self.key(x, body)) is not None:
                self.origins.setdefault((called.body, name), set()).add(key)


def arguments(call: ast.Call) -> list[Any]:
    """All arguments of a call."""
    return [*call.args, *(k.value for k in call.keywords)]


def bound(call: ast.Call, body: Body) -> Iterator[tuple[str, ast.AST]]:
    """Pairs of a parameter and the argument that it gets. Any parameter may get a starred argument."""
    names = body.parameters[1:] if body.receiver is not UNKNOWN else body.parameters
    for k, x in enumerate(call.args):
        if any(isinstance(y, ast.Starred) for y in call.args[: k + 1]):
            parameters = body.everything
        else:
            parameters = [names[k]] if k < len(names) else body.rest
        yield from ((name, x) for name in parameters)
    for keyword in call.keywords:
        parameters = [keyword.arg] if keyword.arg in body.everything else body.rest if keyword.arg else body.everything
        yield from ((str(name), keyword.value) for name in parameters)
