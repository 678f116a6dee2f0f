"""Which numbers that a step takes out of arrays can be traced: `loss.item()`, `float(loss)`.

While a step is recorded, a traced number can stand for such a number as long as Python computes with it, keeps it or
returns it. C code can tell it from a float: json.dumps raises a TypeError, which the user may have caught. So numbers
are traced in the step's own function only, and only if all that runs after the first of them is known: from the
statement that takes one to its end, the function must consist of the statements, operators and calls that are listed
here. Who holds the number does not matter then, as nobody comes to look at it. Everything else says no, and asking for
a number makes the step run eagerly.
"""

from __future__ import annotations

import ast
import functools
import linecache
from types import CodeType, FrameType, FunctionType, MemberDescriptorType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from minigrad.compiler.syntax import Place, end_of_call, is_of, tree_of
from minigrad.reach import Reach
from minigrad.reach.names import BUILTINS, words
from minigrad.tensor import Tensor

TAKING = frozenset({"float", "int"})
# Builtins that compute with numbers by their own methods or pass them on, and those that ask for their value, which is
# noticed.
KNOWN = TAKING | {"max", "min", "sum", "abs", "list", "tuple", "len", "enumerate", "zip", "isinstance", "print"}
FILLING = frozenset({"append", "update", "setdefault"})  # methods that keep what they get
PLAIN = frozenset({"get", "items", "values", "keys"})
METHODS = frozenset(name for kind in (np.ndarray, Tensor) for name in dir(kind) if name[0] != "_")
METHODS -= {"backward", "dump", "dumps", "tofile"}
RUNNING = frozenset({"backward", "step", "zero_grad"})  # methods of minigrad's, in which hooks and rules run
OPERATORS = frozenset({"__getattr__", "__getattribute__", "__setattr__", "__set__", "__get__", "__getitem__"})
OPERATORS |= {"__setitem__", "__contains__", "__iter__", "__next__", "__missing__", "__bool__", "__len__", "__hash__"}
OPERATORS |= {f"__{name}__" for name in ("eq", "ne", "lt", "le", "gt", "ge", "neg", "pos", "abs", "invert")}
OPERATORS |= {
    f"__{side}{name}__"
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor")
    for side in ("", "r", "i")
}
STATEMENTS = (ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.If, ast.For, ast.Pass, ast.With)
EXPRESSIONS = (
    *(ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare),
    *(ast.IfExp, ast.Tuple, ast.List, ast.Dict, ast.ListComp, ast.GeneratorExp, ast.DictComp, ast.JoinedStr),
    *(ast.FormattedValue, ast.Call),
)
PARTS = (
    ast.keyword,
    ast.comprehension,
    ast.withitem,
    ast.expr_context,
    ast.operator,
    ast.unaryop,
    ast.boolop,
    ast.cmpop,
)
Set = frozenset[str]
NUMERIC = frozenset({"minigrad", "numpy"})


class Followed(NamedTuple):
    """Call sites whose numbers can be traced, and which of float and int may be hidden to that end."""

    sites: frozenset[Place]
    hides: frozenset[str]

    def has(self, frame: FrameType) -> bool:
        """Whether the call that runs in a frame is one of the sites."""
        return end_of_call(frame) in self.sites


NOTHING = Followed(frozenset(), frozenset())


def follow(reach: Reach, step: Any) -> Followed:
    """The call sites of the step whose numbers can be traced.

    Args:
        reach: what the step reaches.
        step: what was compiled.
    """
    step = getattr(step, "__func__", step)
    if type(step) is not FunctionType or (TAKING | {"item"}).isdisjoint(words(step.__code__)):
        return NOTHING
    others = [f for f in reach.functions if f.__code__ is not step.__code__]
    names = frozenset(f.__name__ for f in others) | {f.__code__.co_name for f in others}
    names |= TAKING & step.__globals__.keys()  # of the user's own
    names |= {n for _, kind in reach.classes for n, x in vars(kind).items() if _is_descriptor(x)}
    methods = frozenset(ref.key for ref, x in reach.refs if isinstance(ref.key, str) and callable(x))
    used = TAKING & frozenset(name for f in others for name in f.__code__.co_names)
    has_hooks = any(row.kind == "hooks" and row.held for row in reach.rows)
    return _followed(step.__code__, names, methods, used, *_libraries(step), has_hooks)


def _is_descriptor(x: Any) -> bool:
    """Whether an attribute of a class is code that runs when it is read or set: a property, or one of a user's own."""
    return hasattr(type(x), "__get__") and type(x) is not FunctionType and not isinstance(x, MemberDescriptorType)


def _libraries(step: FunctionType) -> tuple[Set, Set]:
    """Names in the step that are modules or functions of minigrad and NumPy, and those that are other code."""
    code = step.__code__
    found = {name: step.__globals__.get(name) for name in words(code)}
    for name, cell in zip(code.co_freevars, step.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            found[name] = None
    code_of_others = (ModuleType, FunctionType, type(len), type)
    named = {name: x for name, x in found.items() if isinstance(x, code_of_others)}
    ours = frozenset(n for n, x in named.items() if _root(x) in NUMERIC and not isinstance(x, type))
    return ours - set(code.co_varnames), frozenset(named) - ours


def _root(x: Any) -> str:
    name = x.__name__ if isinstance(x, ModuleType) else getattr(x, "__module__", None)
    return name.split(".")[0] if isinstance(name, str) else ""


@functools.lru_cache(maxsize=256)
def _followed(
    code: CodeType, names: Set, methods: Set, used: Set, libraries: Set, foreign: Set, has_hooks: bool
) -> Followed:
    text = "".join(linecache.getlines(code.co_filename))
    tree = tree_of(code.co_filename, text) if text else None
    nodes = [node for node in ast.walk(tree) if is_of(node, code)] if tree is not None else []
    if len(nodes) != 1 or names & OPERATORS or not _is_current(nodes[0], code):
        return NOTHING
    end = _End(nodes[0], names, methods, libraries, foreign, has_hooks)
    places = {(code.co_filename, x.end_lineno or 0, x.end_col_offset or 0) for x in end.sources}
    return Followed(frozenset(places), end.hidden() - used if places else frozenset())


def _is_current(node: ast.AST, code: CodeType) -> bool:
    """Whether a code object may belong to a node: the file may have changed since."""
    names = {x.id for x in ast.walk(node) if isinstance(x, ast.Name)}
    names |= {x.attr for x in ast.walk(node) if isinstance(x, ast.Attribute)}
    return names >= set(code.co_names) - {"__annotations__"} and {*code.co_varnames[: code.co_argcount]} <= {
        *(x.arg for x in ast.walk(node) if isinstance(x, ast.arg))
    }


class _End:
    """The known end of a function: as many of its last statements as consist of nothing but what is listed.

    Attributes:
        sources: the calls in them that may take a number out of an array.
        stored: names of variables and attributes that may hold a number.
        is_kept: whether a number is put where code of others might find it.
    """

    def __init__(self, node: Any, names: Set, methods: Set, libraries: Set, foreign: Set, has_hooks: bool) -> None:
        self.node, self.names, self.methods = node, names, names | methods
        self.libraries, self.foreign = libraries, foreign
        self.has_hooks = self.is_kept = has_hooks
        self.variables = {x.id for x in ast.walk(node) if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)}
        self.variables |= {x.arg for x in ast.walk(node) if isinstance(x, ast.arg)}
        self.stored = set[str]()
        body: list[ast.AST] = node.body if isinstance(node.body, list) else [node.body]
        known: list[ast.AST] = []
        while body and isinstance(node, (ast.FunctionDef, ast.Lambda)):
            known = [x for part in body for x in ast.walk(part)]
            self.stored, self.is_kept = set(), self.has_hooks
            while self._spread(known):
                pass
            if all(map(self._allows, known)):
                break
            body, known = body[1:], []
        self.sources = [x for x in known if isinstance(x, ast.Call) and is_source(x)]

    def _spread(self, nodes: list[ast.AST]) -> bool:
        """Whether more names get a number, or something with one in it, than was known."""
        before = len(self.stored)
        for x in nodes:
            value: Any = getattr(x, "iter", None) or getattr(x, "value", None)
            targets: list[Any] = [*getattr(x, "targets", ()), getattr(x, "target", None)]
            if isinstance(x, ast.Call) and isinstance(x.func, ast.Attribute) and x.func.attr in FILLING:
                value, targets = ast.Tuple([*x.args, *(k.value for k in x.keywords)]), [x.func.value]
            if value is not None and any(targets) and self._is_tainted(value):
                self.is_kept |= not all(isinstance(y, ast.Name) for y in targets if y) or isinstance(x, ast.Call)
                self.stored |= {_name(y) for target in targets if target for y in ast.walk(target)} - {""}
        return len(self.stored) > before

    def hidden(self) -> frozenset[str]:
        """Which of float and int are called, and used in no other way."""
        other = {x.id for x in ast.walk(self.node) if isinstance(x, ast.Name) and x.id in TAKING and not _is_called(x)}
        other |= {x.attr for x in ast.walk(self.node) if isinstance(x, ast.Attribute)}
        return TAKING - other - self.variables - self.names

    def _allows(self, x: ast.AST) -> bool:
        if isinstance(x, ast.Call):
            return self._allows_call(x)
        if isinstance(x, ast.With):
            return all(isinstance(item.context_expr, ast.Call) and item.optional_vars is None for item in x.items)
        if isinstance(x, (ast.Name, ast.Attribute)) and isinstance(x.ctx, ast.Store):
            return _name(x) not in self.names and not _name(x).startswith("__")
        if isinstance(x, ast.Subscript) and isinstance(x.ctx, ast.Store):
            return isinstance(x.slice, ast.Constant) and isinstance(x.value, (ast.Name, ast.Attribute))
        if isinstance(x, (ast.Name, ast.Attribute)) and isinstance(x.ctx, ast.Load):
            return _name(x) not in self.names or self._is_only_called(x)
        if isinstance(x, ast.Compare):  # numbers are no objects that `is` could tell apart
            pairs = zip(x.ops, x.comparators, strict=True)
            return all(isinstance(y, ast.Constant) for op, y in pairs if isinstance(op, (ast.Is, ast.IsNot)))
        if isinstance(x, (ast.DictComp, ast.Dict)):
            keys = [x.key] if isinstance(x, ast.DictComp) else x.keys
            return all(key is not None and not self._is_tainted(key) for key in keys)
        return isinstance(x, (*STATEMENTS, *EXPRESSIONS, *PARTS))

    def _is_only_called(self, x: ast.AST) -> bool:
        """Whether it is the optimizer's `step` in a function that is called so, and the like."""
        call: Any = x.parent  # type: ignore[attr-defined]
        return isinstance(call, ast.Call) and call.func is x

    def _allows_call(self, call: ast.Call) -> bool:
        func, given = call.func, [*call.args, *(k.value for k in call.keywords)]
        is_given = any(map(self._is_tainted, given))
        if is_source(call):
            return func.id not in self.variables | self.names if isinstance(func, ast.Name) else not is_given
        if isinstance(func, ast.Name):
            if func.id in self.libraries:
                return not is_given
            is_builtin = func.id in KNOWN and func.id in BUILTINS and func.id not in self.variables | self.names
            return is_builtin and not call.keywords
        if not isinstance(func, ast.Attribute) or func.attr in self.methods:
            return False
        root = func.value
        while isinstance(root, ast.Attribute):
            root = root.value
        if isinstance(root, ast.Name) and root.id in self.libraries:
            return not is_given
        if func.attr in FILLING | PLAIN:
            return not any(isinstance(x, ast.Starred) for x in given)
        if func.attr in METHODS and not (isinstance(root, ast.Name) and root.id in self.foreign):
            return not is_given and not self._is_tainted(func.value)
        return func.attr in RUNNING and not given and not self.is_kept

    def _is_tainted(self, x: ast.AST) -> bool:
        """Whether an expression takes a number, or names what was assigned in the end of the function."""
        return any(is_source(y) or _name(y) in self.stored for y in ast.walk(x))


def is_source(node: ast.AST) -> bool:
    """Whether an expression may take a number out of an array."""
    if not isinstance(node, ast.Call) or node.keywords:
        return False
    if isinstance(node.func, ast.Attribute):
        return node.func.attr == "item" and not node.args
    return isinstance(node.func, ast.Name) and node.func.id in TAKING and len(node.args) == 1


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_called(node: ast.Name) -> bool:
    """Whether float or int is called, or an operand of isinstance."""
    parent: Any = node.parent  # type: ignore[attr-defined]
    return isinstance(parent, ast.Call) and (parent.func is node or _name(parent.func) == "isinstance")
