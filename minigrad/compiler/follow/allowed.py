"""Which statements, expressions and calls may run after a number was taken out of an array, and why others may not."""

from __future__ import annotations

import ast

from minigrad.compiler.follow.taint import (
    ACCEPTING,
    FILLING,
    KNOWN,
    KNOWN_METHODS,
    OTHERS,
    Taint,
    arguments,
    is_opaque,
    kind_of,
)
from minigrad.compiler.follow.user_functions import UNKNOWN, Body, World, parent_of, shown

STATEMENTS = (
    *(ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.If, ast.For, ast.While, ast.Pass, ast.With),
    *(ast.Raise, ast.Assert, ast.Try, ast.ExceptHandler, ast.Break, ast.Continue, ast.Global, ast.Nonlocal),
    *(ast.FunctionDef, ast.Delete),
)
EXPRESSIONS = (
    *(ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare),
    *(ast.IfExp, ast.Tuple, ast.List, ast.Dict, ast.Set, ast.ListComp, ast.GeneratorExp, ast.DictComp, ast.SetComp),
    *(ast.JoinedStr, ast.FormattedValue, ast.Call, ast.Lambda, ast.Starred, ast.NamedExpr, ast.Yield, ast.YieldFrom),
)
PARTS = (
    *(ast.keyword, ast.comprehension, ast.withitem, ast.expr_context, ast.operator, ast.unaryop, ast.boolop),
    *(ast.cmpop, ast.arguments, ast.arg),
)
IN_C = frozenset(name for kind in (dict, list, set, str, bytes, bytearray, memoryview) for name in dir(kind))
OF_CONTAINERS = frozenset(name for name in IN_C if not name.startswith("__")) - {"format", "format_map", "tofile"}


class Allowed:
    """Finds what prevents tracing numbers in source.

    Args:
        world: the functions of the user's that may run.
        taint: which expressions may be numbers out of arrays.
    """

    def __init__(self, world: World, taint: Taint) -> None:
        self.world, self.taint = world, taint
        self._known: dict[int, tuple[str, list[Body]]] = {}

    def reason(self, nodes: list[ast.AST], body: Body) -> str:
        """What prevents tracing in these nodes of a function and in the functions that they call, else \"\"."""
        if self.world.hard is not None:
            return f"objects that the step reaches have a method `{self.world.hard.function.__qualname__}`"
        why, met = self._first(nodes, body), set[int]()
        todo = [*self._called(nodes, body), *self.world.operators]
        while todo and not why:
            inner = todo.pop()
            if id(inner) not in met:
                met.add(id(inner))
                if id(inner) not in self._known:
                    self._known[id(inner)] = self._first_of(inner), self._called(inner.nodes, inner)
                why, called = self._known[id(inner)]
                todo += called
        return why

    def _first_of(self, body: Body) -> str:
        """The same for all of a function."""
        if body.is_generated:
            return ""
        if body.node is None or isinstance(body.node, ast.AsyncFunctionDef):
            return f"the source of `{body.name}`, which may run there, cannot be read"
        why = self._first(body.nodes, body)
        return f"{why} in `{body.name}`" if why else ""

    def _first(self, nodes: list[ast.AST], body: Body) -> str:
        for node in nodes:
            if why := self._why_not(node, body):
                line = getattr(node, "lineno", None) or getattr(getattr(node, "parent", None), "lineno", 0)
                return f"{why} (line {line})"
        return ""

    def _called(self, nodes: list[ast.AST], body: Body) -> list[Body]:
        """The user's functions that may be called: all that the step reaches, if it is not known what is called."""
        calls = [self.taint.callee(node, body) for node in nodes if isinstance(node, ast.Call)]
        is_open = any(called.kind in ("unknown", "object", "library", "class", "error") for called in calls)
        is_open |= any(isinstance(node, ast.Attribute) and node.attr in self.world.descriptors for node in nodes)
        return [*(self.world.bodies if is_open else ()), *(x.body for x in calls if x.body is not None)]

    # Nodes

    def _why_not(self, x: ast.AST, body: Body) -> str:
        if isinstance(x, ast.Call):
            is_block = isinstance(getattr(x, "parent", None), ast.withitem)
            return "" if is_block else self._why_not_call(x, body)
        if not isinstance(x, (*STATEMENTS, *EXPRESSIONS, *PARTS)):
            return f"a statement or expression that cannot be followed, {type(x).__name__}"
        if isinstance(x, ast.withitem):
            return self._why_not_block(x, body)
        if isinstance(x, (ast.Attribute, ast.Name)) and self._is_passed_on(x, body):
            return f"`{shown(x)}`, which is code that cannot be followed, is passed on"
        if isinstance(x, ast.Attribute):
            return self._why_not_attribute(x, body)
        if isinstance(x, ast.Compare):  # traced numbers have another identity
            return self._why_not_compare(x, body)
        if isinstance(x, ast.DictComp) and self.taint.has(x.key, body):
            return f"`{shown(x.key)}`, which may be such a number, is a key of a dictionary"
        if isinstance(x, ast.Dict) and any(key is not None and self.taint.has(key, body) for key in x.keys):
            return "such a number is a key of a dictionary"
        if isinstance(x, ast.Delete) and not all(isinstance(y, (ast.Name, ast.Subscript)) for y in x.targets):
            return "a statement that cannot be followed, del"
        if isinstance(x, ast.FunctionDef) and x.decorator_list:
            return f"`{x.name}` is decorated in the step"
        return ""

    def _why_not_block(self, x: ast.withitem, body: Body) -> str:
        """A context manager of minigrad's or NumPy's never looks at numbers. Others are not followed."""
        call = x.context_expr
        if not isinstance(call, ast.Call) or self.taint.callee(call, body).kind != "library":
            return f"it is inside or before the block `with {shown(call)}`, which is not minigrad's"
        if x.optional_vars is not None:
            return f"`with {shown(call)} as ...` returns an object that cannot be followed"
        return self._why_not_call(call, body)

    def _is_passed_on(self, x: ast.Attribute | ast.Name, body: Body) -> bool:
        """Whether a name is a function that cannot be followed, and is not only called."""
        parent = parent_of(x)
        if not isinstance(x.ctx, ast.Load) or (isinstance(parent, ast.Call) and parent.func is x):
            return False
        return is_opaque(self.world.meaning(x, body), self.world)

    def _why_not_attribute(self, x: ast.Attribute, body: Body) -> str:
        is_written = not isinstance(x.ctx, ast.Load)
        if x.attr.startswith("__") and (is_written or x.attr not in ("__name__", "__class__", "__init__")):
            return f"`{shown(x)}` is a special attribute"
        if is_written and x.attr in self.world.descriptors:
            return f"`{shown(x)}` is a property, whose code runs when it is set"
        return ""

    def _why_not_compare(self, x: ast.Compare, body: Body) -> str:
        sides = [x.left, *x.comparators]
        for k, op in enumerate(x.ops):
            is_asked = isinstance(op, (ast.Is, ast.IsNot)) and not isinstance(sides[k + 1], ast.Constant)
            if is_asked and any(self.taint.has(y, body) for y in sides[k : k + 2]):
                return f"`{shown(x)}` asks whether such a number is an object"
        return ""

    # Calls

    def _why_not_call(self, call: ast.Call, body: Body) -> str:
        called = self.taint.callee(call, body)
        tainted = next((x for x in arguments(call) if self.taint.has(x, body)), None)
        of = f"`{shown(call.func)}`"
        gets = f"{of} gets `{shown(tainted)}`, which may be such a number" if tainted is not None else ""
        match called.kind:
            case "source" | "user" | "ufunc" | "math" | "object":
                return ""
            case "builtin":
                return self._why_not_builtin(call, called.name, of, gets)
            case "library":
                return gets and self._why_not_library(call, body, gets)
            case "class" | "error" | "computing":
                return gets and f"{gets}, and its use there cannot be followed"
            case "foreign":
                return f"{of} is called, which is code that cannot be followed"
        return self._why_not_unknown(call, body, of, gets)

    def _why_not_library(self, call: ast.Call, body: Body, gets: str) -> str:
        """Functions of minigrad's and NumPy's accept traced numbers. Functions passed to them may not."""
        meanings = (self.world.meaning(x, body) for x in arguments(call))
        is_given = any(isinstance(x, ast.Lambda) for x in arguments(call))
        is_given |= any(x is not UNKNOWN and callable(x) and not isinstance(x, type) for x in meanings)
        return f"{gets}, and calls a function with it" if is_given else ""

    def _why_not_builtin(self, call: ast.Call, name: str, of: str, gets: str) -> str:
        if name in KNOWN:
            is_plain = not call.keywords or name in ("print", "enumerate", "sum", "zip", "round", "max", "min")
            keyed = any(k.arg == "key" for k in call.keywords)
            return "" if is_plain and not (keyed and gets) else f"{of} is called with options"
        return gets if name in OTHERS else f"{of} is called, which cannot be followed"

    def _why_not_unknown(self, call: ast.Call, body: Body, of: str, gets: str) -> str:
        """A call of a variable, or of a method of an unknown object."""
        func = call.func
        if not isinstance(func, ast.Attribute):
            if self.world.opaque and not gets:
                return f"{of} is called, which may be `{self.world.opaque}`"
            return f"{gets}, and what is called is not known" if gets else ""
        name, holder = func.attr, func.value
        is_users = name in self.world.named
        if not gets and not self.taint.has(holder, body):
            is_known = name in KNOWN_METHODS or name in OF_CONTAINERS or is_users or self._is_object(name)
            return "" if is_known else f"{of} is called, and what it is is not known"
        if is_users:
            return "" if name in FILLING or name not in IN_C else f"{gets or of}, and what is called is not known"
        if name in ACCEPTING or (name == "backward" and not gets):  # of a Tensor, which only holds arrays
            return ""
        return f"{gets or f'{of} may look at such a number'}, and what is called is not known"

    def _is_object(self, name: str) -> bool:
        """Whether the objects kept under a name are layers, other known callables, or functions of the user's."""
        kinds = {kind_of(x) if self.world.of(x) is None else "user" for x in self.world.values.get(name, ())}
        return bool(kinds) and kinds <= {"user", "object", "library", "ufunc", "class"}
