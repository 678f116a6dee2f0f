"""The functions of the user's that a step may run: their source, and what the names in them mean.

Meanings are looked up when a step is recorded: in closures, globals, attributes of objects. A name has no known meaning
if any of these functions assigns it, or may assign any name. Guards test the meanings before each later call.
"""

from __future__ import annotations

import ast
from types import FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

from minigrad.compiler.follow.function_source import node_of
from minigrad.reach import LIBRARIES, MISSING, STANDARD, Reach, own_attributes, package_of, variable
from minigrad.util.bytecode import stored_names

UNKNOWN: Any = type("Unknown", (), {"__repr__": lambda self: "UNKNOWN"})()
NUMERIC_PACKAGES = frozenset({"minigrad", "numpy"})
ASSIGNING = frozenset({"setattr", "delattr", "vars", "__dict__", "globals", "locals", "exec", "eval", "__setattr__"})
OPERATORS = frozenset({"__getitem__", "__setitem__", "__contains__", "__iter__", "__next__", "__bool__", "__len__"})
OPERATORS |= {f"__{name}__" for name in ("eq", "ne", "lt", "le", "gt", "ge", "neg", "pos", "abs", "invert", "round")}
OPERATORS |= {
    f"__{side}{name}__"
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "divmod")
    for side in ("", "r", "i")
}
# Methods that Python calls when attributes are read or set, or numbers become keys: their operands are not followed.
HARD = frozenset({"__getattr__", "__getattribute__", "__setattr__", "__delattr__", "__set__", "__get__", "__hash__"})
HARD |= {"__missing__", "__set_name__", "__instancecheck__", "__array_ufunc__", "__array_function__"}
REPR_FILE = getattr(__import__("reprlib"), "__file__", "")  # its wrapper is around the __repr__ of dataclasses


class Body:
    """A function of the user's.

    Args:
        function: the function itself.
        receiver: the object that it is a method of, if that is known.
        is_generated: whether the module dataclasses has generated it.

    Attributes:
        node: its syntax tree, None if the source cannot be read.
        nodes: all nodes of its body.
        local: names of its variables, including those of functions inside it.
        parameters: names of positional parameters; `rest`: those of *args and **options; `everything`: of all.
        first: the name of the parameter that is the receiver, if it is never assigned.
    """

    def __init__(self, function: FunctionType, receiver: Any = UNKNOWN, is_generated: bool = False) -> None:
        self.function, self.receiver, self.is_generated = function, receiver, is_generated
        code = function.__code__
        self.name, self.node = code.co_name, None if is_generated else node_of(code)
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
    """All functions that a step may run.

    Args:
        reach: what the step reaches.
        step: the step, a plain function.
        receiver: the object that it is a method of.

    Attributes:
        named: functions by the names under which they may be called.
        descriptors: names of attributes that run code when they are read or set.
        assigned: names that some function assigns. `may_assign`: whether some function computes such names.
        opaque: the path of code that is kept somewhere and cannot be followed, if there is any.
        values: the objects kept under a name.
    """

    def __init__(self, reach: Reach, step: FunctionType, receiver: Any) -> None:
        generated = _of_dataclasses(reach)
        others = [f for f in reach.functions if f.__code__ is not step.__code__]
        self.step = Body(step, receiver)
        self.bodies = [Body(f, is_generated=f in generated) for f in others]
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
        self.assigned = frozenset[str]().union(*map(stored_names, codes))
        self.may_assign = bool(ASSIGNING & reach.words)
        self.opaque = ""
        self.values: dict[str, list[Any]] = {}
        for ref, x in reach.refs:
            if isinstance(ref.key, str):
                self.values.setdefault(ref.key, []).append(x)
        hard = sorted(HARD & self.named.keys())
        self.hard = next((b for name in hard for b in self.named[name] if not b.is_generated), None)
        self.operators = [b for n in OPERATORS & self.named.keys() for b in self.named[n] if not b.is_generated]

    def known(self) -> list[Body]:
        """All functions that were looked at."""
        return [*self._of.values()]

    def of(self, x: Any) -> Body | None:
        """The body of a plain function or a method of the user's, None for other objects."""
        function, receiver = (x.__func__, x.__self__) if isinstance(x, MethodType) else (x, UNKNOWN)
        if type(function) is not FunctionType or package_of(function) in LIBRARIES | STANDARD:
            return None
        key = id(function), id(receiver)
        if key not in self._of:
            known = next((b for b in self.bodies if b.function is function), None)
            if known is None or receiver is not UNKNOWN:
                known = Body(function, receiver, known is not None and known.is_generated)
            self._of[key] = known
        return self._of[key]

    # Meanings of names

    def meaning(self, x: ast.AST, body: Body) -> Any:
        """The object that an expression names, UNKNOWN if it cannot be determined."""
        if isinstance(x, ast.Name):
            return self._variable(x.id, body)
        if not isinstance(x, ast.Attribute) or x.attr in self.descriptors:
            return UNKNOWN
        holder = self.meaning(x.value, body)
        if holder is UNKNOWN or (x.attr in self.assigned and not isinstance(holder, ModuleType)):
            return UNKNOWN
        if isinstance(holder, ModuleType):  # minigrad and NumPy load some attributes lazily
            is_library = package_of(holder) in NUMERIC_PACKAGES
            return getattr(holder, x.attr, UNKNOWN) if is_library else vars(holder).get(x.attr, UNKNOWN)
        return UNKNOWN if isinstance(holder, type) or self.may_assign else attribute_of(holder, x.attr)

    def _variable(self, name: str, body: Body) -> Any:
        if name in body.local:
            return body.receiver if name == body.first else UNKNOWN
        value = MISSING if name in self.assigned else variable(body.function, name)
        return UNKNOWN if value is MISSING else value


def attribute_of(x: Any, name: str) -> Any:
    """An attribute of an object, with methods bound; UNKNOWN if code of the user's decides what it is."""
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


def _of_dataclasses(reach: Reach) -> set[FunctionType]:
    """Methods that the module dataclasses has generated: they assign, compare and show attributes."""
    kinds = [kind for _, kind in reach.classes if "__dataclass_params__" in vars(kind)]
    methods = [x for kind in kinds for name, x in vars(kind).items() if name.startswith("__")]
    methods += [inner for x in methods if (inner := getattr(x, "__wrapped__", None)) is not None]  # of __repr__
    return {x for x in methods if isinstance(x, FunctionType) and x.__code__.co_filename in ("<string>", REPR_FILE)}


def _is_descriptor(x: Any) -> bool:
    """Whether an attribute of a class runs code when it is read or set, such as a property."""
    if isinstance(x, (FunctionType, MemberDescriptorType, staticmethod, classmethod)):
        return False
    return hasattr(type(x), "__get__")
