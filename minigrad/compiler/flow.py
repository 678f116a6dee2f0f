"""Where numbers go that a step takes out of arrays: `loss.item()`, `float(loss)`.

While a step is recorded, a traced number can stand for such a number as long as Python code computes with it, keeps it
or returns it. C code can tell it from a float: json.dumps raises a TypeError, which the user may have caught. So the
source of all functions that the step reaches is read, and variables and attributes that may hold such a number, or a
container with one in it, are followed, without a look at the order of statements or at whose attribute it is. If one is
given to code that is not known, no number of the step is traced, and asking for it makes the step run eagerly.

Nothing is taken to be safe because it usually is: a call site that was not read, or a use that is not listed here, says
no.
"""

from __future__ import annotations

import ast
import functools
import linecache
from collections.abc import Iterator, Sequence
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, NamedTuple

from minigrad.compiler.syntax import Function, Place, is_of, last_name, parameters, place_of, tree_of, variables
from minigrad.reach.names import COMPUTED

Key = tuple[Any, str]  # a variable: its function (None for a global) and name; an attribute: "." and name

TAKING = frozenset({"float", "int"})
# What computes with numbers by their own methods, or asks for their value, which is noticed.
KEEPING = frozenset({"max", "min", "sum", "abs", "list", "tuple", "dict", "sorted", "reversed", "zip", "enumerate"})
ASKING = frozenset({"print", "round", "str", "repr", "format", "bool", "len", "isinstance", "range", "hash", "divmod"})
FILLING = frozenset({"append", "appendleft", "extend", "extendleft", "insert", "add", "update", "setdefault"})
EMPTYING = frozenset({"get", "pop", "popleft", "popitem", "items", "values", "keys", "copy", "clear", "index", "count"})
METHODS = FILLING | EMPTYING | {"is_integer", "item"}
NUMERIC = frozenset({"minigrad", "numpy"})  # modules whose functions know tracers
IMPLICIT = frozenset({"forward"})  # methods that are called without being named
_ARITHMETIC = (
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift"),
    "divmod",
)
OPERATORS = frozenset(f"__{side}{name}__" for name in _ARITHMETIC for side in ("", "r", "i"))
OPERATORS |= {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__contains__", "__getitem__", "__missing__"}
WHOLE = COMPUTED | {"pickle", "copy"}  # with them an object is read without naming its attributes


class Followed(NamedTuple):
    """Call sites whose numbers can be followed, and why there are none."""

    sites: frozenset[Place]
    obstacle: str | None
    hides: frozenset[str]  # of float and int: those that are called, and used in no other way

    def has(self, frame: FrameType) -> bool:
        """Whether the call that runs in a frame is one of the sites."""
        return place_of(frame) in self.sites


NOTHING = Followed(frozenset(), None, frozenset())


class _Obstacle(Exception):
    """A use that cannot be followed."""


def follow(functions: Sequence[FunctionType], step: Any) -> Followed:
    """The call sites in these functions whose numbers can be followed.

    Args:
        functions: all that the step reaches but those of libraries.
        step: the step itself, whose result is looked at.
    """
    if not any(_takes(f.__code__) for f in functions):
        return NOTHING
    while not isinstance(step, FunctionType) and step is not None:
        step = getattr(step, "__func__", None) or getattr(step, "func", None) or vars(type(step)).get("__call__")
    return _followed(tuple((f.__code__, f is step, _numeric(f)) for f in functions))


def _takes(code: CodeType) -> bool:
    """Whether a function may take numbers out of arrays."""
    if not TAKING.isdisjoint(code.co_names) or "item" in code.co_names:
        return True
    return any(_takes(x) for x in code.co_consts if isinstance(x, CodeType))


def _numeric(function: FunctionType) -> frozenset[str]:
    """The global names of modules that know tracers, and of their functions."""
    found = set()
    for name in _names(function.__code__):
        x = function.__globals__.get(name)
        module = x.__name__ if isinstance(x, ModuleType) else getattr(x, "__module__", None)
        if isinstance(module, str) and module.split(".")[0] in NUMERIC and not isinstance(x, type):
            found.add(name)
    return frozenset(found)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for x in code.co_consts:
        if isinstance(x, CodeType):
            yield from _names(x)


@functools.lru_cache(maxsize=64)
def _followed(codes: tuple[tuple[CodeType, bool, frozenset[str]], ...]) -> Followed:
    try:
        flow = _Flow()
        for code, is_step, numeric in codes:
            flow.read(code, is_step, numeric)
        flow.run()
    except _Obstacle as obstacle:
        return Followed(frozenset(), str(obstacle), frozenset())
    return Followed(frozenset(flow.sites), None, flow.hidden())


class _Flow:
    """Names that hold numbers out of arrays, in some functions."""

    def __init__(self) -> None:
        self.nodes: list[tuple[str, Function]] = []  # with their files
        self.steps: set[Function] = set()
        self.numeric: set[str] = set()
        self.named: dict[str, list[Function]] = {}  # functions by their names
        self.names: set[Key] = set()  # that hold a number, or a container with one
        self.locals: dict[Function, set[str]] = {}
        self.returning: set[str] = set()  # names of functions that return one
        self.sites: set[Place] = set()
        self.uses_whole = False  # whether some code reads objects without naming their attributes
        self.called: set[str] = set()  # names of functions that are called in so many words

    def read(self, code: CodeType, is_step: bool, numeric: frozenset[str]) -> None:
        """Add a function."""
        self.numeric |= numeric
        self.uses_whole |= not WHOLE.isdisjoint(_names(code))
        text = "".join(linecache.getlines(code.co_filename))
        tree = tree_of(code.co_filename, text) if text else None
        found = [n for n in ast.walk(tree) if is_of(n, code)] if tree is not None else []
        if not found:
            raise _Obstacle(f"the source of {code.co_name} cannot be read")
        for node in found:
            assert isinstance(node, Function)
            if all(node is not other for _, other in self.nodes):
                self.nodes.append((code.co_filename, node))
                if is_step:
                    self.steps.add(node)

    def run(self) -> None:
        """Follow names until there are no more.

        Raises:
            _Obstacle: a number may get to where it cannot be followed.
        """
        inner = {child for _, node in self.nodes for child in ast.walk(node) if child is not node}
        self.nodes = [(file, node) for file, node in self.nodes if node not in inner]
        every = [(file, node) for file, top in self.nodes for node in ast.walk(top)]
        for _, node in every:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.named.setdefault(node.name, []).append(node)
            if isinstance(node, ast.Call) and (name := last_name(node.func)):
                self.called.add(name)
            if isinstance(node, Function):
                self.locals[node] = variables(node)
        for function in [f for name, found in self.named.items() if name in OPERATORS for f in found]:
            self._fill(function)
        while True:
            before = len(self.names), len(self.returning)
            for file, node in every:
                if isinstance(node, ast.Call) and self._is_source(node):
                    self.sites.add((file, node.end_lineno or 0, node.end_col_offset or 0))
                if isinstance(node, ast.expr) and self._holds(node):
                    try:
                        self._use(node)
                    except _Obstacle:
                        text = linecache.getline(file, node.lineno).strip()
                        raise _Obstacle(f"a number is used in a way that cannot be followed: {text}") from None
            if (len(self.names), len(self.returning)) == before:
                return

    def hidden(self) -> frozenset[str]:
        """Which of float and int are called and asked for by isinstance, and used in no other way."""
        other = set()
        for _, top in self.nodes:
            for node in ast.walk(top):
                if isinstance(node, ast.Name) and node.id in TAKING and not _is_called(node):
                    other.add(node.id)
                if isinstance(node, ast.arg) and node.arg in TAKING:
                    other.add(node.arg)
        return TAKING - other

    # Which expressions are such numbers

    def _is_source(self, node: ast.Call) -> bool:
        if isinstance(node.func, ast.Attribute) and node.func.attr == "item":
            return not node.args and not node.keywords
        return isinstance(node.func, ast.Name) and node.func.id in TAKING and len(node.args) == 1 and not node.keywords

    def _holds(self, node: ast.expr | None) -> bool:
        """Whether an expression may be a number out of an array, or a container with one."""
        if isinstance(node, ast.Name):
            return self._key(node) in self.names
        if isinstance(node, ast.Attribute):
            return (".", node.attr) in self.names
        if isinstance(node, ast.Call):
            return self._gives(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return False
        parts = PARTS.get(type(node), ())
        inside = [x for name in parts for x in _listed(getattr(node, name))]
        return any(map(self._holds, inside))

    def _gives(self, call: ast.Call) -> bool:
        """Whether the result of a call may be one."""
        func = call.func
        if self._is_source(call) or last_name(func) in self.returning:
            return True
        if isinstance(func, ast.Attribute) and func.attr in EMPTYING | FILLING:
            return self._holds(func.value)
        is_keeping = isinstance(func, ast.Name) and func.id in KEEPING and func.id not in self.named
        return is_keeping and any(map(self._holds, [*call.args, *(k.value for k in call.keywords)]))

    # Where they go

    def _use(self, node: ast.expr) -> None:
        """What the parent of such an expression does with it.

        Raises:
            _Obstacle: that is not known.
        """
        parent: Any = node.parent  # type: ignore[attr-defined]
        if isinstance(getattr(node, "ctx", None), (ast.Store, ast.Del)) or isinstance(parent, HARMLESS):
            return
        if isinstance(parent, ast.Return):
            self._return(parent)
        elif isinstance(parent, (ast.Call, ast.keyword, ast.Attribute)):
            self._use_in_call(node, parent)
        elif isinstance(parent, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr, ast.For, ast.comprehension)):
            if getattr(parent, "is_async", 0):
                raise _Obstacle
            for target in [parent.target] if hasattr(parent, "target") else parent.targets:
                self._put(target)
        elif not isinstance(parent, ast.Lambda) or parent not in self.steps:
            raise _Obstacle

    def _use_in_call(self, node: ast.expr, parent: Any) -> None:
        """A call of it, with it, or of one of its methods."""
        above = parent.parent
        if isinstance(parent, ast.Attribute):
            is_method = isinstance(above, ast.Call) and above.func is parent
            if not is_method or parent.attr not in METHODS or parent.attr in self.named:
                raise _Obstacle
        elif isinstance(parent, ast.keyword):
            if not isinstance(above, ast.Call):
                raise _Obstacle
            self._give(above)
        elif parent.func is not node:
            self._give(parent)
        elif last_name(node) not in self.returning:
            raise _Obstacle

    def _return(self, statement: ast.Return) -> None:
        function: Any = statement
        while not isinstance(function, Function):
            function = function.parent
        name = getattr(function, "name", "")
        is_usual = isinstance(function, ast.FunctionDef) and not function.decorator_list and name in self.called
        if function in self.steps or (is_usual and name not in IMPLICIT and not name.startswith("__")):
            if name in self.called:
                self.returning.add(name)
                self.names |= {(".", name), (self._scope(function, name), name)}
            return
        raise _Obstacle

    def _put(self, target: ast.expr) -> None:
        """Something holds a number from here on."""
        match target:
            case ast.Name():
                self.names.add(self._key(target))
            case ast.Attribute(attr=name):
                if name in self.named or "__setattr__" in self.named or name.startswith("__") or self.uses_whole:
                    raise _Obstacle
                self.names.add((".", name))
            case ast.Subscript(value=value):
                if "__setitem__" in self.named:
                    raise _Obstacle
                self._put(value)
            case ast.Tuple(elts=elts) | ast.List(elts=elts):
                for x in elts:
                    self._put(x)
            case ast.Starred(value=value):
                self._put(value)
            case _:
                raise _Obstacle

    def _give(self, call: ast.Call) -> None:
        """A call gets such a number."""
        func = call.func
        name = last_name(func)
        if self._is_source(call) or self._is_numeric(func):
            return
        if isinstance(func, ast.Name) and name in KEEPING | ASKING and name not in self.named:
            if any(k.arg in ("key", "default") for k in call.keywords):
                raise _Obstacle
            return
        if name in self.named:
            for function in self.named[name]:
                if not isinstance(function, ast.FunctionDef) or function.decorator_list:
                    raise _Obstacle
                self._fill(function)
        elif name not in FILLING or not isinstance(func, ast.Attribute):
            raise _Obstacle
        if isinstance(func, ast.Attribute) and name in FILLING:
            self._put(func.value)

    def _fill(self, function: Function) -> None:
        """A function gets such a number, whichever its parameter is."""
        self.names |= {(function, name) for name in parameters(function)} - {(function, "self")}

    def _is_numeric(self, func: ast.expr) -> bool:
        """Whether it is a function of a module that knows tracers."""
        while isinstance(func, ast.Attribute):
            func = func.value
        return isinstance(func, ast.Name) and func.id in self.numeric and self._key(func) == (None, func.id)

    def _key(self, node: ast.Name) -> Key:
        return self._scope(node, node.id), node.id

    def _scope(self, node: ast.AST, name: str) -> Function | None:
        """The function whose variable a name is, seen from a node inside; None for a global, or what stands outside."""
        while node is not None:
            node = getattr(node, "parent", None)  # type: ignore[assignment]
            if isinstance(node, Function) and name in self.locals.get(node, ()):
                return node
        return None


# The parts of an expression of which it may be one itself.
PARTS: dict[type, tuple[str, ...]] = {
    **dict.fromkeys((ast.Subscript, ast.Starred, ast.NamedExpr), ("value",)),
    **dict.fromkeys((ast.Tuple, ast.List, ast.Set), ("elts",)),
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.GeneratorExp), ("elt",)),
    **{ast.BinOp: ("left", "right"), ast.UnaryOp: ("operand",), ast.BoolOp: ("values",), ast.Dict: ("keys", "values")},
    **{ast.IfExp: ("body", "orelse"), ast.DictComp: ("key", "value")},
}
# What computes with it, decides by it, or asks for its value, which is noticed.
HARMLESS = (
    *(kind for kind in PARTS if kind is not ast.NamedExpr),
    *(ast.Expr, ast.Compare, ast.If, ast.While, ast.Assert, ast.FormattedValue, ast.Slice),
)


def _listed(part: Any) -> list[Any]:
    return part if isinstance(part, list) else [part]


def _is_called(node: ast.Name) -> bool:
    """Whether float or int is called, or asked for by isinstance."""
    parent: Any = node.parent  # type: ignore[attr-defined]
    if isinstance(parent, ast.Tuple):
        parent = parent.parent  # type: ignore[attr-defined]
        return isinstance(parent, ast.Call) and last_name(parent.func) == "isinstance"
    if isinstance(parent, ast.Call):
        return parent.func is node or last_name(parent.func) == "isinstance"
    return isinstance(parent, ast.arg) or (isinstance(parent, ast.AnnAssign) and parent.annotation is node)
