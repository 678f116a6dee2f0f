"""The functions of the user's that a step may run: their source, and what the names in them mean.

What a name means is looked up when a step is recorded: in closures, globals, attributes of objects. It is unknown if
any of these functions assigns that name, or may assign any. Guards compare it before each later call.
"""

from __future__ import annotations

import ast
import builtins
import dis
import functools
from types import BuiltinFunctionType, CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

from minigrad.compiler.follow.known import HARD, NUMERIC, OPERATORS
from minigrad.compiler.follow.syntax import node_of
from minigrad.reach import Reach, own_attributes
from minigrad.reach.names import LIBRARIES, STANDARD

UNKNOWN: Any = type("Unknown", (), {"__repr__": lambda self: "UNKNOWN"})()
ASSIGNING = frozenset({"setattr", "delattr", "vars", "__dict__", "globals", "locals", "exec", "eval", "__setattr__"})
STORES = frozenset({"STORE_ATTR", "STORE_GLOBAL", "STORE_DEREF", "STORE_NAME", "DELETE_ATTR", "DELETE_GLOBAL"})


class Body:
    """A function of the user's.

    Args:
        function: it.
        receiver: the object that it is a method of, if that is known.
        is_made: whether it was written by the module dataclasses.

    Attributes:
        node: its syntax tree, None if the source cannot be read.
        local: names of its variables, those of functions inside it included.
        parameters: names of what it is called with, in order; `rest` those of *args and **options; `everything` all.
        first: the parameter that is the receiver, if it is not assigned.
    """

    def __init__(self, function: FunctionType, receiver: Any = UNKNOWN, is_made: bool = False) -> None:
        self.function, self.receiver, self.is_made = function, receiver, is_made
        code = function.__code__
        self.name, self.node = code.co_name, None if is_made else node_of(code)
        self.nodes: list[ast.AST] = []
        self.local: set[str] = set()
        self.parameters: list[str] = []
        self.rest: list[str] = []
        self.everything: list[str] = []
        self.first = ""
        if self.node is None:
            return
        body = self.node.body if isinstance(self.node.body, list) else [self.node.body]
        self.nodes = [x for part in body for x in ast.walk(part)]
        arguments = self.node.args
        self.parameters = [x.arg for x in (*arguments.posonlyargs, *arguments.args)]
        self.rest = [x.arg for x in (arguments.vararg, arguments.kwarg) if x is not None]
        self.everything = [*self.parameters, *(x.arg for x in arguments.kwonlyargs), *self.rest]
        stores = {x.id for x in self.nodes if isinstance(x, ast.Name) and not isinstance(x.ctx, ast.Load)}
        stores |= {x.arg for x in self.nodes if isinstance(x, ast.arg)}
        stores |= {x.name for x in self.nodes if isinstance(x, (ast.FunctionDef, ast.ClassDef))}
        stores |= {x.name for x in self.nodes if isinstance(x, ast.ExceptHandler) and x.name}
        stores |= {(x.asname or x.name).split(".")[0] for x in self.nodes if isinstance(x, ast.alias)}
        outer = {n for x in self.nodes if isinstance(x, (ast.Global, ast.Nonlocal)) for n in x.names}
        self.first = self.parameters[0] if self.parameters and self.parameters[0] not in stores else ""
        self.local = (stores | set(self.everything)) - (outer & (set(code.co_freevars) | set(function.__globals__)))

    @property
    def is_bound(self) -> bool:
        """Whether its first argument is known."""
        return self.receiver is not UNKNOWN


class World:
    """What a step may run.

    Args:
        reach: what the step reaches.
        step: the step, a plain function.
        receiver: the object that it is a method of.
    """

    def __init__(self, reach: Reach, step: FunctionType, receiver: Any) -> None:
        made = _of_dataclasses(reach)
        others = [f for f in reach.functions if f.__code__ is not step.__code__]
        self.step = Body(step, receiver)
        self.bodies = [Body(f, is_made=f in made) for f in others]
        self.named: dict[str, list[Body]] = {}
        self._of: dict[tuple[int, int], Body] = {}
        for body in self.bodies:
            for name in {body.name, body.function.__name__}:
                self.named.setdefault(name, []).append(body)
        bound = ((ref.key, x) for ref, x in reach.refs if isinstance(ref.key, str) and isinstance(x, FunctionType))
        by_code = {id(b.function): b for b in self.bodies}
        for name, x in bound:
            if id(x) in by_code and by_code[id(x)] not in self.named.setdefault(name, []):
                self.named[name].append(by_code[id(x)])
        self.descriptors = frozenset(n for _, kind in reach.classes for n, x in vars(kind).items() if _is_descriptor(x))
        codes = [step.__code__, *(f.__code__ for f in others)]
        self.assigned = frozenset[str]().union(*map(stores_of, codes))
        self.may_assign = bool(ASSIGNING & reach.words)
        self.strange = ""  # what is kept somewhere and is code that is not followed
        self.values: dict[str, list[Any]] = {}  # what stands in places of a name
        for ref, x in reach.refs:
            if isinstance(ref.key, str):
                self.values.setdefault(ref.key, []).append(x)
        hard = sorted(HARD & self.named.keys())
        self.hard = next((b for name in hard for b in self.named[name] if not b.is_made), None)
        self.operators = [b for n in OPERATORS & self.named.keys() for b in self.named[n] if not b.is_made]
        hooks = [x for row in reach.rows if row.kind == "hooks" and row.held for x in _parts(row.held)]
        self.has_strange_hooks = any(callable(x) and not isinstance(x, (FunctionType, MethodType)) for x in hooks)

    def known(self) -> list[Body]:
        """All functions that something was found out about."""
        return [*self._of.values()]

    def of(self, x: Any) -> Body | None:
        """The function that a plain function or a method is, if it is the user's."""
        function, receiver = (x.__func__, x.__self__) if isinstance(x, MethodType) else (x, UNKNOWN)
        if type(function) is not FunctionType or root_of(function) in LIBRARIES | STANDARD:
            return None
        key = id(function), id(receiver)
        if key not in self._of:
            known = next((b for b in self.bodies if b.function is function), None)
            if known is None or receiver is not UNKNOWN:
                known = Body(function, receiver, known is not None and known.is_made)
            self._of[key] = known
        return self._of[key]

    # What names mean

    def meaning(self, x: ast.AST, body: Body) -> Any:
        """The object that an expression names, UNKNOWN if that is not known."""
        if isinstance(x, ast.Name):
            return self._variable(x.id, body)
        if not isinstance(x, ast.Attribute) or x.attr in self.descriptors:
            return UNKNOWN
        holder = self.meaning(x.value, body)
        if holder is UNKNOWN or (x.attr in self.assigned and not isinstance(holder, ModuleType)):
            return UNKNOWN
        if isinstance(holder, ModuleType):  # the library's own load some parts when they are asked for
            is_library = root_of(holder) in NUMERIC
            return getattr(holder, x.attr, UNKNOWN) if is_library else vars(holder).get(x.attr, UNKNOWN)
        return UNKNOWN if isinstance(holder, type) or self.may_assign else attribute_of(holder, x.attr)

    def _variable(self, name: str, body: Body) -> Any:
        if name in body.local:
            return body.receiver if name == body.first else UNKNOWN
        function = body.function
        if name in self.assigned:
            return UNKNOWN
        if name in function.__code__.co_freevars:
            cell = (function.__closure__ or ())[function.__code__.co_freevars.index(name)]
            try:
                return cell.cell_contents
            except ValueError:  # not assigned yet
                return UNKNOWN
        return function.__globals__.get(name, getattr(builtins, name, UNKNOWN))


def attribute_of(x: Any, name: str) -> Any:
    """An attribute of an object, without asking the object; methods are bound. UNKNOWN if code runs to find it."""
    in_class = next((vars(base)[name] for base in type(x).__mro__ if name in vars(base)), UNKNOWN)
    own = own_attributes(x)
    if type(own) is dict and name in own and not hasattr(type(in_class), "__set__"):
        return own[name]
    if isinstance(in_class, FunctionType):
        return MethodType(in_class, x)
    if isinstance(in_class, staticmethod):
        return in_class.__func__
    if isinstance(in_class, classmethod):
        return MethodType(in_class.__func__, type(x))
    if isinstance(in_class, MemberDescriptorType):
        try:
            return in_class.__get__(x)
        except AttributeError:
            return UNKNOWN
    return UNKNOWN


def root_of(x: Any) -> str:
    """The name of the package that a module, a function, a class or an object belongs to."""
    if isinstance(x, ModuleType):
        name: Any = x.__name__
    elif isinstance(x, (FunctionType, BuiltinFunctionType, type)):
        name = x.__module__
    else:
        name = type(x).__module__
    return name.split(".")[0] if isinstance(name, str) else ""


@functools.lru_cache(maxsize=4096)
def stores_of(code: CodeType) -> frozenset[str]:
    """Names of attributes, globals and variables of outer functions that a function assigns."""
    inner = [stores_of(x) for x in code.co_consts if isinstance(x, CodeType)]
    free = set(code.co_freevars)
    own = {
        op.argval
        for op in dis.get_instructions(code)
        if op.opname in STORES and (op.opname != "STORE_DEREF" or op.argval in free)
    }
    return frozenset(own).union(*inner)


def _of_dataclasses(reach: Reach) -> set[FunctionType]:
    """Methods that the module dataclasses has written: they assign, compare and show attributes."""
    kinds = [kind for _, kind in reach.classes if "__dataclass_params__" in vars(kind)]
    found = [x for kind in kinds for name, x in vars(kind).items() if name.startswith("__")]
    found += [inner for x in found if (inner := getattr(x, "__wrapped__", None)) is not None]  # of __repr__
    return {x for x in found if isinstance(x, FunctionType) and x.__code__.co_filename in ("<string>", _REPR)}


_REPR = getattr(__import__("reprlib"), "__file__", "")  # whose wrapper is around the __repr__ of dataclasses


def _is_descriptor(x: Any) -> bool:
    """Whether an attribute of a class is code that runs when it is read or set: a property, or one of a user's own."""
    if isinstance(x, (FunctionType, MemberDescriptorType, staticmethod, classmethod)):
        return False
    return hasattr(type(x), "__get__")


def _parts(x: Any) -> list[Any]:
    """What a container of containers holds."""
    if isinstance(x, dict):
        x = tuple(x.values())
    if isinstance(x, (list, tuple, set, frozenset)):
        return [part for inner in x for part in _parts(inner)]
    return [x]
