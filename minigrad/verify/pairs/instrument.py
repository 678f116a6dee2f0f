"""A copy of a function that reports every value it writes, and that can go on with another value instead."""

from __future__ import annotations

import ast
import copy
import inspect
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from minigrad.verify.pairs.sites import (
    BLOCKS,
    Site,
    Write,
    accumulated_in,
    is_continued,
    is_read_in,
    path_of,
    writes_of,
)

HOOKS = "__mg_written__"  # the name by which the copy reaches its listener


class Listener:
    """What the copy of a function calls. The methods return the value with which the function goes on."""

    class _Keys:
        def __getitem__(self, key: Any) -> Any:
            return key

    key = _Keys()

    def before(self, number: int) -> None:
        """Called before the statement of a site."""

    def wrote(self, number: int, value: Any) -> Any:
        """Called after a whole value was written."""
        return value

    def item(self, number: int, value: Any, key: Any) -> Any:
        """Called after an item of a value was written."""
        return value

    def part(self, number: int, value: Any) -> Any:
        """Called with the value of an expression within a statement."""
        return value

    def returned(self, number: int, value: Any) -> Any:
        """Called with what the function returns, and the number of the return statement."""
        return value


@dataclass
class Return:
    """A return statement: the expressions that it returns, one for each part of a tuple, and its lines in the file."""

    parts: list[ast.expr]
    lines: tuple[int, int]

    def path(self, k: int) -> str | None:
        """The path of a part; None if it is an expression."""
        return path_of(self.parts[k]) if k < len(self.parts) else None


@dataclass
class Expression:
    """A compound expression within a statement."""

    text: str
    line: int
    loops: tuple[str, ...]


class _Parts(ast.NodeTransformer):
    """Puts a call of the listener around operands and arguments that are compound expressions."""

    def __init__(self, parts: list[Expression], loops: tuple[str, ...]) -> None:
        self.parts, self.loops = parts, loops

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.JoinedStr)):
            return node
        if isinstance(node, (ast.keyword, ast.IfExp, ast.BoolOp, ast.Compare)):
            return node
        if isinstance(node, ast.Subscript):
            node.value = self.visit(node.value)
            return self._reported(node) if isinstance(node.ctx, ast.Load) else node
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                node.func.value = self.visit(node.func.value)
            text = ast.unparse(node)
            node.args = [self.visit(argument) for argument in node.args]
            return self._reported(node, text)
        if isinstance(node, ast.BinOp):
            text = ast.unparse(node)
            return self._reported(self.generic_visit(node), text)
        return self.generic_visit(node)

    def _reported(self, node: Any, text: str | None = None) -> ast.expr:
        self.parts.append(Expression(text or ast.unparse(node), node.lineno, self.loops))
        call = ast.parse(f"{HOOKS}.part({len(self.parts) - 1}, None)", mode="eval").body
        assert isinstance(call, ast.Call)
        call.args[1] = node
        return ast.copy_location(call, node)


class Written:
    """A function as text: its sites, and copies of it that report to a listener.

    Args:
        function: a function or a method, whose source is available.
        with_parts: whether expressions within its statements are reported too.

    Raises:
        TypeError: it is not a function written in Python.
        OSError: its source is not available.
    """

    def __init__(self, function: Callable[..., Any], with_parts: bool = False) -> None:
        self.with_parts = with_parts
        self.function = inspect.unwrap(getattr(function, "__func__", function))
        if not inspect.isfunction(self.function):
            raise TypeError(f"{function!r} is not a Python function, so its lines cannot be read")
        self.name = self.function.__name__
        self.file = self.function.__code__.co_filename
        source, start = inspect.getsourcelines(self.function)
        self.first_line = max(start, 1)
        try:
            tree = ast.parse(textwrap.dedent("".join(source)))
        except SyntaxError as error:
            raise TypeError(f"{self.name}: give a function defined by def, not a lambda") from error
        if not isinstance(tree.body[0], ast.FunctionDef):
            raise TypeError(f"{self.name}: give a function that is defined by def, not a lambda")
        ast.increment_lineno(tree, self.first_line - 1)
        self.definition = tree.body[0]
        self.source = source
        self.sites: list[Site] = []
        self.returns: list[Return] = []
        self.parts: list[Expression] = []
        self._instrumented = self._instrument()

    def text(self, first: int, last: int) -> str:
        """The source of lines of the file, without indentation."""
        lines = self.source[first - self.first_line : last - self.first_line + 1]
        return textwrap.dedent("".join(lines)).strip()

    def copy(self, listener: Listener, replaced: Mapping[str, Any] | None = None) -> Callable[..., Any]:
        """A copy that reports to a listener, in which some global names have other values."""
        f = self.function
        cells = dict(zip(f.__code__.co_freevars, f.__closure__ or (), strict=True))
        scope = {**f.__globals__, **(replaced or {}), HOOKS: listener}
        exec(self._instrumented, scope)
        made = scope["__mg_make__"](*[_content(cells[name]) for name in f.__code__.co_freevars])
        made.__defaults__, made.__kwdefaults__ = f.__defaults__, f.__kwdefaults__
        return made

    def _instrument(self) -> Any:
        definition = ast.parse(ast.unparse(self.definition)).body[0]  # a copy, whose line numbers are set below
        assert isinstance(definition, ast.FunctionDef)
        for copied, original in zip(ast.walk(definition), ast.walk(self.definition), strict=True):
            if hasattr(original, "lineno"):
                ast.copy_location(copied, original)
        definition.decorator_list, definition.returns = [], None
        arguments = definition.args
        for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]:
            if a is not None:
                a.annotation = None
        nothing = ast.Constant(None)
        arguments.defaults = [nothing] * len(arguments.defaults)
        arguments.kw_defaults = [None if d is None else nothing for d in arguments.kw_defaults]
        definition.body = self._block(definition.body, ())
        outer = ast.parse(f"def __mg_make__({', '.join(self.function.__code__.co_freevars)}): return {self.name}")
        made = outer.body[0]
        assert isinstance(made, ast.FunctionDef)
        made.body.insert(0, definition)
        ast.fix_missing_locations(outer)
        return compile(outer, self.file, "exec")

    def _block(self, body: list[ast.stmt], loops: tuple[str, ...]) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        for k, statement in enumerate(body):
            following = body[k + 1 :]
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                out.append(statement)
                continue
            if isinstance(statement, ast.Return):
                out.append(self._return(statement))
                continue
            if any(getattr(statement, name, None) for name in BLOCKS):
                out += [statement, *self._compound(statement, following, loops)]
                continue
            writes = writes_of(statement)
            sites = [self._site(statement, w, following, loops) for w in writes]
            out += [_call("before", site.number) for site in sites[:1]]
            out.append(self._with_parts(statement, loops))
            out += [_assign_hook(w, site.number) for w, site in zip(writes, sites, strict=True)]
        return out

    def _compound(self, statement: Any, following: Sequence[ast.stmt], loops: tuple[str, ...]) -> list[ast.stmt]:
        is_loop = isinstance(statement, (ast.For, ast.While))
        inner = loops
        if isinstance(statement, ast.For):
            inner += tuple(n.id for n in ast.walk(statement.target) if isinstance(n, ast.Name))
        accumulated = accumulated_in(statement) if is_loop else []
        original = copy.deepcopy(statement)
        first = len(self.sites)
        for name in BLOCKS:
            if getattr(statement, name, None):
                setattr(statement, name, self._block(getattr(statement, name), inner))
        for handler in getattr(statement, "handlers", []):
            handler.body = self._block(handler.body, inner)
        after = []
        for path in accumulated:
            parts = [site for site in self.sites[first:] if site.path == path]
            for site in parts:
                site.is_complete = False
            target = ast.parse(path_text(parts[-1].statement, path), mode="eval").body
            write = Write(target, path, None, True)
            made = self._site(parts[-1].statement, write, following, loops)
            made.is_after_loop, made.is_read_in_loop = True, is_read_in(original, path)
            after.append(_assign_hook(write, made.number))
        return after

    def _with_parts(self, statement: Any, loops: tuple[str, ...]) -> Any:
        """The statement with every compound expression in it reported; the statement itself stays as it is."""
        value = getattr(statement, "value", None)
        if not self.with_parts or len(loops) > 1 or not isinstance(value, ast.expr):
            return statement
        changed = copy.copy(statement)
        wrap = _Parts(self.parts, loops)
        changed.value = wrap.generic_visit(copy.deepcopy(value))
        return changed

    def _return(self, statement: ast.Return) -> ast.stmt:
        value = statement.value
        parts = value.elts if isinstance(value, ast.Tuple) else [value]
        wrapped = ast.parse(f"{HOOKS}.returned({len(self.returns)}, None)", mode="eval").body
        assert isinstance(wrapped, ast.Call)
        wrapped.args[1] = value or ast.Constant(None)
        self.returns.append(Return([p for p in parts if p is not None], _lines(statement)))
        return ast.copy_location(ast.Return(ast.copy_location(wrapped, statement)), statement)

    def _site(self, statement: ast.stmt, write: Write, following: Sequence[ast.stmt], loops: tuple[str, ...]) -> Site:
        lines = (statement.lineno, statement.end_lineno or statement.lineno)
        text = self.text(*lines)
        is_complete = not is_continued(following, write.path)
        site = Site(len(self.sites), write.path, lines, text, statement, is_complete, write.continues, loops)
        self.sites.append(site)
        return site


def _lines(statement: ast.stmt) -> tuple[int, int]:
    return statement.lineno, statement.end_lineno or statement.lineno


def path_text(statement: ast.stmt, path: str) -> str:
    """The expression of a path in a statement, which may be an attribute or an item."""
    for node in ast.walk(statement):
        if isinstance(node, ast.expr) and path_of(node) == path:
            return ast.unparse(node)
    return path


def _call(method: str, number: int) -> ast.stmt:
    return ast.parse(f"{HOOKS}.{method}({number})").body[0]


def _assign_hook(write: Write, number: int) -> ast.stmt:
    target = ast.unparse(write.target)
    if write.index is None:
        return ast.parse(f"{target} = {HOOKS}.wrote({number}, {target})").body[0]
    hook = ast.parse(f"{target} = {HOOKS}.item({number}, {target}, {HOOKS}.key[None])").body[0]
    assert isinstance(hook, ast.Assign)
    assert isinstance(hook.value, ast.Call)
    key = hook.value.args[2]
    assert isinstance(key, ast.Subscript)
    key.slice = copy.deepcopy(write.index)
    return hook


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that is not bound yet
        return None


def caller() -> FrameType:
    """The frame of the copy that called a method of a listener, from within that method."""
    return sys._getframe(2)
