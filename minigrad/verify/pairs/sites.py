"""Sites: the statements of a function that write a value, and which of them complete it.

A gradient is often written in steps: `dx = np.zeros_like(x)`, then `dx[i] += ...` in a loop; `dh = dout.copy()`, then
`dh[h <= 0] = 0`; `dx = dx1 + dx2`. It is judged when it is complete, which is before the first statement that reads it
without continuing to write it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Calls that write into their first argument.
_IN_PLACE = frozenset(
    ("add.at", "subtract.at", "multiply.at", "divide.at", "maximum.at", "copyto", "put", "put_along_axis",
     "fill_diagonal", "place", "putmask")
)  # fmt: skip
_IN_PLACE_METHODS = frozenset(("fill", "sort", "put", "itemset"))
BLOCKS = ("body", "orelse", "finalbody")


@dataclass
class Site:
    """A place at which a function has written a value.

    Attributes:
        path: what is written, as "dx", "self.dW", "grads.W" (an item with a constant name).
        lines: the line numbers of the statement in the file, first and last.
        text: the source of the statement.
        statement: the syntax tree of the statement as it stands in the source.
        is_complete: whether the value is complete here. Otherwise later statements continue it.
        continues: whether the statement only changes or extends the value.
        loops: the names of the variables of the loops around it.
        is_after_loop: whether it stands behind a loop in which the value was accumulated.
    """

    number: int
    path: str
    lines: tuple[int, int]
    text: str
    statement: ast.stmt
    is_complete: bool
    continues: bool
    loops: tuple[str, ...] = ()
    is_after_loop: bool = False
    is_read_in_loop: bool = False  # whether the loop before it also reads the value, when it is not complete yet

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]


def path_of(target: ast.expr) -> str | None:
    """The path of a target: a name, an attribute, an item with a constant key. None for others."""
    if isinstance(target, ast.Name):
        return target.id
    if isinstance(target, ast.Attribute):
        base = path_of(target.value)
        return None if base is None else f"{base}.{target.attr}"
    if not isinstance(target, ast.Subscript) or not isinstance(target.slice, ast.Constant):
        return None
    base, key = path_of(target.value), target.slice.value
    return None if base is None or not isinstance(key, str) else f"{base}.{key}"


def base_of(target: ast.expr) -> tuple[ast.expr, ast.expr | None]:
    """The expression with a path that a target writes to, and the first index into it, if there is one."""
    index = None
    while path_of(target) is None and isinstance(target, (ast.Subscript, ast.Starred)):
        index = target.slice if isinstance(target, ast.Subscript) else None
        target = target.value
    return target, index


@dataclass
class Write:
    """One write of a statement."""

    target: ast.expr  # with a path
    path: str
    index: ast.expr | None  # of the item that is written; None for the whole
    continues: bool
    accumulates: bool = False  # it adds to the value, or writes a part of it


def writes_of(statement: ast.stmt) -> list[Write]:
    """What a simple statement writes."""
    if isinstance(statement, ast.Assign):
        targets = [part for target in statement.targets for part in _parts(target)]
        read = statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets, read = [statement.target], statement.value
    elif isinstance(statement, ast.AugAssign):
        return _writes([statement.target], None)
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        return _writes(_written_in_place(statement.value), None)
    else:
        return []
    return [*_writes(targets, read), *(w for call in _calls(read) for w in _writes(_out_arguments(call), None))]


def _writes(targets: Sequence[ast.expr], read: ast.expr | None) -> list[Write]:
    writes = []
    for target in targets:
        base, index = base_of(target)
        path = path_of(base)
        if path is not None:
            continues = index is not None or read is None or mentions(read, path)
            accumulates = index is not None or read is None or path in terms_of(read)
            writes.append(Write(base, path, index, continues, accumulates))
    return writes


def terms_of(node: ast.expr) -> list[str | None]:
    """The paths that are added or subtracted in an expression; None for a term that is no path."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        return [*terms_of(node.left), *terms_of(node.right)]
    return [path_of(node)]


def _parts(target: ast.expr) -> list[ast.expr]:
    if isinstance(target, (ast.Tuple, ast.List)):
        return [part for element in target.elts for part in _parts(element)]
    return [target]


def _calls(node: ast.expr) -> list[ast.Call]:
    return [n for n in ast.walk(node) if isinstance(n, ast.Call)]


def _written_in_place(call: ast.Call) -> list[ast.expr]:
    text = ast.unparse(call.func)
    if call.args and any(text == f"np.{name}" or text.endswith(f".{name}") for name in _IN_PLACE):
        return [call.args[0]]
    if isinstance(call.func, ast.Attribute) and call.func.attr in _IN_PLACE_METHODS:
        return [call.func.value]
    return _out_arguments(call)


def _out_arguments(call: ast.Call) -> list[ast.expr]:
    return [k.value for k in call.keywords if k.arg == "out"]


def mentions(node: ast.AST, path: str) -> bool:
    """Whether a path is read or written in a piece of code."""
    return any(isinstance(n, ast.expr) and path_of(n) == path for n in ast.walk(node))


def is_continued(following: Sequence[ast.stmt], path: str) -> bool:
    """Whether the next statement that mentions a path only continues to write it."""
    for statement in following:
        if not mentions(statement, path):
            continue
        if _blocks(statement):
            if any(mentions(part, path) for part in _heads(statement)):
                return False
            return all(is_continued(block, path) for block in _blocks(statement) if _mentioned(block, path))
        writes = [w for w in writes_of(statement) if w.path == path]
        return bool(writes) and all(w.continues for w in writes)
    return False


def accumulated_in(loop: ast.stmt) -> list[str]:
    """The paths that a compound statement writes only by continuing a value from before it."""
    paths: dict[str, bool] = {}
    for statement in _statements(loop):
        for write in writes_of(statement):
            paths[write.path] = paths.get(write.path, True) and write.accumulates
    return [path for path, accumulates in paths.items() if accumulates]


def is_read_in(loop: ast.stmt, path: str) -> bool:
    """Whether a compound statement reads a path elsewhere than where it continues to write it."""
    return any(
        mentions(statement, path) and not any(w.path == path for w in writes_of(statement))
        for statement in _statements(loop)
        if not _blocks(statement)
    )


def _statements(statement: ast.stmt) -> Iterator[ast.stmt]:
    for block in _blocks(statement):
        for inner in block:
            yield inner
            yield from _statements(inner)


def _blocks(statement: ast.stmt) -> list[list[ast.stmt]]:
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
        return []
    blocks = [block for name in BLOCKS if (block := getattr(statement, name, None))]
    return blocks + [handler.body for handler in getattr(statement, "handlers", [])]


def _heads(statement: ast.stmt) -> list[ast.AST]:
    """The expressions of a compound statement outside its blocks."""
    return [n for n in ast.iter_child_nodes(statement) if isinstance(n, ast.expr)]


def _mentioned(block: Sequence[ast.stmt], path: str) -> bool:
    return any(mentions(statement, path) for statement in block)
