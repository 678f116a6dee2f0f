"""The user's functions that a step may run: their syntax trees, and what the names in them mean.

Meanings are looked up when a step is recorded: in closures, globals, attributes of objects. A name has no known meaning
if any of these functions assigns it, or may assign any name. Guards test the meanings before each later call.
"""

from __future__ import annotations

import ast
import functools
import linecache
from collections.abc import Iterable
from types import CodeType, FrameType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

from minigrad.compiler.refusal import OWN, line_at
from minigrad.reach import LIBRARIES, MISSING, STANDARD, Reach, own_attributes, package_of, variable
from minigrad.util.bytecode import all_instructions, position, stored_names

Site = tuple[str, int, int]  # file, line and column where a call ends
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
NAMES = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_ATTR", "LOAD_METHOD", "LOAD_DEREF", "STORE_ATTR", "LOAD_FAST")
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
NAMED: dict[type[ast.AST], str] = {ast.Name: "id", ast.arg: "arg"}  # nodes that bind a name, and its attribute
NAMED |= dict.fromkeys((ast.FunctionDef, ast.ClassDef, ast.ExceptHandler), "name")
REPR_FILE = getattr(__import__("reprlib"), "__file__", "")  # its wrapper is around the __repr__ of dataclasses


# Source


def site_of(frame: FrameType) -> Site | None:
    """Where the call that a frame runs ends in the source."""
    place = position(frame.f_code, frame.f_lasti)
    return None if place is None else (frame.f_code.co_filename, place[1], place[3])


def at_name(functions: Iterable[FunctionType], *names: str) -> str:
    """ ", at file:line" and the first line in which one of these functions uses one of these names, else nothing.

    Names that come first are looked for first.
    """
    for name in names:
        for function in functions:
            for code, op in all_instructions(function.__code__):
                if op.argval == name and op.opname.startswith(NAMES) and op.positions and op.positions.lineno:
                    return f", at {line_at(code.co_filename, op.positions.lineno)}"
    return ""


def is_in_branch(frame: FrameType | None, outermost: CodeType | None) -> bool:
    """Whether a user's frame runs a statement inside an `if`, or called the given one from there.

    Args:
        frame: the present one.
        outermost: the code that called the step; frames above it do not count.
    """
    while frame is not None and frame.f_code is not outermost:
        if not frame.f_code.co_filename.startswith(OWN) and _is_conditional(node_of(frame.f_code), frame.f_lineno):
            return True
        frame = frame.f_back
    return False


def _is_conditional(function: Any, line: int) -> bool:
    """Whether a line of a function is in the body of an `if`."""
    branches = [x for x in ast.walk(function) if isinstance(x, ast.If)] if function is not None else []
    parts = [part for x in branches for part in (*x.body, *x.orelse)]
    return any(part.lineno <= line <= (part.end_lineno or 0) for part in parts)


@functools.lru_cache(maxsize=64)
def functions_of(name: str, text: str) -> dict[tuple[str, int], list[Any]]:
    """The functions in a file with this text, by name and first line; each node knows its parent.

    The result is empty if it cannot be parsed.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, SystemError):  # SystemError: a bug in Python (issue 106905)
        return {}
    functions: dict[tuple[str, int], list[Any]] = {}
    node: Any
    for node in ast.walk(tree):
        child: Any
        for child in ast.iter_child_nodes(node):
            child.parent = node
        if isinstance(node, Function):
            functions.setdefault(_key(node), []).append(node)
    return functions


def _key(node: Function) -> tuple[str, int]:
    """Name and first line, as in a code object."""
    if isinstance(node, ast.Lambda):
        return "<lambda>", node.lineno
    return node.name, min(node.lineno, *(x.lineno for x in node.decorator_list), node.lineno)


def node_of(code: CodeType) -> Any:
    """The syntax tree of a function, None if its source cannot be read, or has changed since."""
    text = "".join(linecache.getlines(code.co_filename))
    return _node_of(code.co_filename, text, code) if text else None


@functools.lru_cache(maxsize=1024)
def _node_of(name: str, text: str, code: CodeType) -> Any:
    nodes = functions_of(name, text).get((code.co_name, code.co_firstlineno), [])
    nodes = [x for x in nodes if len(nodes) == 1 or _contains(x, code)]
    return nodes[0] if len(nodes) == 1 and _is_current(nodes[0], code) else None


def _contains(node: Any, code: CodeType) -> bool:
    """Whether all instructions of a code object are inside a node: it is one of several lambdas in a line."""
    body: Any = node.body if isinstance(node.body, ast.AST) else node
    first, last = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
    places = [p for p in code.co_positions() if None not in p and p[2:] != (0, 0)]
    return all(first <= (a, c) and (b, d) <= last for a, b, c, d in places)


def _is_current(node: ast.AST, code: CodeType) -> bool:
    """Whether a code object can have come from a node: the file may have changed since."""
    nodes = [*ast.walk(node)]
    parameters = {x.arg for x in nodes if isinstance(x, ast.arg)}
    named = [x for x in nodes if isinstance(x, (ast.Name, ast.Attribute, ast.alias, ast.ImportFrom))]
    texts = [text for x in named for _, text in ast.iter_fields(x) if isinstance(text, str)]
    names = {"__annotations__", *texts, *(text.split(".")[0] for text in texts)}
    used = {name for name in code.co_names if not name.startswith("__minigrad_")}  # float, while a step is recorded
    return names >= used and parameters.issuperset(code.co_varnames[: code.co_argcount])


def name_of(node: ast.AST) -> str:
    """The name of a variable or an attribute, else \"\"."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def parent_of(node: Any) -> Any:
    """The node that contains a node of `functions_of`."""
    return node.parent


def is_called(node: ast.AST) -> bool:
    """Whether a name is called, or an argument of isinstance."""
    parent = parent_of(node)
    return isinstance(parent, ast.Call) and (parent.func is node or name_of(parent.func) == "isinstance")


def shown(node: ast.AST) -> str:
    """The source of an expression, shortened for a message."""
    text = ast.unparse(node)
    return text if len(text) <= 50 else text[:47] + "..."


# Meanings


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
        binding = [x for x in self.nodes if type(x) in NAMED and not isinstance(getattr(x, "ctx", None), ast.Load)]
        stores = {getattr(x, NAMED[type(x)]) for x in binding}
        stores |= {(x.asname or x.name).split(".")[0] for x in self.nodes if isinstance(x, ast.alias)}
        outer = {n for x in self.nodes if isinstance(x, (ast.Global, ast.Nonlocal)) for n in x.names}
        self.first = self.parameters[0] if self.parameters and self.parameters[0] not in stores else ""
        self.local = (stores | set(self.everything)) - (outer & (set(code.co_freevars) | set(function.__globals__)))


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
        known: functions that were looked at, by the ids of function and receiver.
    """

    def __init__(self, reach: Reach, step: FunctionType, receiver: Any) -> None:
        generated = _of_dataclasses(reach)
        others = [f for f in reach.functions if f.__code__ is not step.__code__]
        self.step = Body(step, receiver)
        self.bodies = [Body(f, is_generated=f in generated) for f in others]
        self.named: dict[str, list[Body]] = {}
        self.known: dict[tuple[int, int], Body] = {}
        self.values: dict[str, list[Any]] = {}
        for ref, x in reach.refs:
            if isinstance(ref.key, str):
                self.values.setdefault(ref.key, []).append(x)
        by_id = {id(b.function): b for b in self.bodies}
        names = [(name, b) for b in self.bodies for name in (b.name, b.function.__name__)]
        names += [(name, by_id[id(x)]) for name, kept in self.values.items() for x in kept if id(x) in by_id]
        for name, body in names:
            if body not in self.named.setdefault(name, []):
                self.named[name].append(body)
        self.descriptors = frozenset(n for _, kind in reach.classes for n, x in vars(kind).items() if _is_descriptor(x))
        codes = [step.__code__, *(f.__code__ for f in others)]
        self.assigned = frozenset[str]().union(*map(stored_names, codes))
        self.may_assign = bool(ASSIGNING & reach.words)
        self.opaque = ""
        hard = sorted(HARD & self.named.keys())
        self.hard = next((b for name in hard for b in self.named[name] if not b.is_generated), None)
        self.operators = [b for n in OPERATORS & self.named.keys() for b in self.named[n] if not b.is_generated]

    def of(self, x: Any) -> Body | None:
        """The body of a plain function or a method of the user's, None for other objects."""
        function, receiver = (x.__func__, x.__self__) if isinstance(x, MethodType) else (x, UNKNOWN)
        if type(function) is not FunctionType or package_of(function) in LIBRARIES | STANDARD:
            return None
        key = id(function), id(receiver)
        if key not in self.known:
            body = next((b for b in self.bodies if b.function is function), None)
            if body is None or receiver is not UNKNOWN:
                body = Body(function, receiver, body is not None and body.is_generated)
            self.known[key] = body
        return self.known[key]

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
