"""Derivations derived from proven ones: with one mistake, or rewritten in an equivalent way."""

from __future__ import annotations

import ast
import copy
import inspect
import itertools
import linecache
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.verify import Derivation
from minigrad.verify.derivation.line_source import parse_line

COUNT = itertools.count()
REDUCTIONS = ("sum", "mean")


@dataclass(frozen=True)
class Mutant:
    """A derivation with one wrong line, and the pattern of a correct reason."""

    derivation: Derivation
    base: Derivation
    target: str
    kind: str
    source: str  # of the wrong line
    original: str  # of the right one
    region: str  # the expression around the mistake
    pattern: str  # a regular expression: reasons that name the mistake


@dataclass(frozen=True)
class Slip:
    """One mistake: its kind, an expression and its wrong replacement, and the pattern of a correct reason."""

    kind: str
    old: ast.expr
    new: ast.expr
    pattern: str


def mutants(base: Derivation) -> Iterator[Mutant]:
    """All mistakes of the kinds below, in every line."""
    labels = _labels(base)
    for target, line in base.lines.items():
        tree = parse_line(line.function)
        body = tree.body[0]
        assert isinstance(body, ast.FunctionDef)
        parents = {id(child): parent for parent in ast.walk(body) for child in ast.iter_child_nodes(parent)}
        for slip in _slips(body, labels, set(line.parameters)):
            changed = ast.unparse(_replaced(tree, slip.old, slip.new))
            if changed == ast.unparse(tree):
                continue
            parent = parents.get(id(slip.old))
            region = ast.unparse(_replaced(parent, slip.old, slip.new)) if isinstance(parent, ast.expr) else changed
            mutant = with_line(base, target, compiled(changed, line.function))
            yield Mutant(mutant, base, target, slip.kind, changed, ast.unparse(tree), region, slip.pattern)


def _labels(base: Derivation) -> dict[str, str]:
    run = base.forward.run(base.forward.arguments({}, np.random.default_rng(0)), record=False)
    return {k: run.labels.get(k, k) for k in run.values}


def _slips(body: ast.FunctionDef, labels: dict[str, str], parameters: set[str]) -> Iterator[Slip]:
    returned = next(s.value for s in body.body if isinstance(s, ast.Return))
    assert returned is not None
    nodes = [n for s in body.body for n in ast.walk(s) if isinstance(n, ast.expr)]
    skipped = {id(n) for c in nodes if isinstance(c, ast.Call) for k in c.keywords for n in ast.walk(k.value)}
    skipped |= {id(n) for c in nodes if isinstance(c, (ast.Subscript, ast.Slice)) for n in ast.walk(c)}
    nodes = [n for n in nodes if id(n) not in skipped]
    yield Slip("sign", returned, ast.UnaryOp(ast.USub(), returned), "sign")
    yield from _slope_slips(nodes, parameters)
    yield Slip("factor", returned, ast.BinOp(ast.Constant(2), ast.Mult(), returned), "times|twice")
    yield from _path_slips(returned)
    for node in nodes:
        if isinstance(node, ast.BinOp):
            yield from _operator_slips(node, labels)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield from _call_slips(node)
        if isinstance(node, ast.Attribute) and node.attr == "T":
            yield Slip("transposed", node, node.value, "transposed")
        if isinstance(node, ast.Name) and node.id in parameters and not node.id.startswith("d"):
            for other in sorted(parameters - {node.id}):
                if not other.startswith("d"):
                    yield Slip("wrong name", node, ast.Name(other, ast.Load()), "$^")


def _slope_slips(nodes: list[ast.expr], parameters: set[str]) -> Iterator[Slip]:
    """A slope that is left out, or that of another function; a value that is forgotten at all places."""
    for node in nodes:
        text = ast.unparse(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            for side, rest in ((node.left, node.right), (node.right, node.left)):
                if "1 - " in ast.unparse(side):
                    yield Slip("missing slope", node, rest, "factors? .* missing|times")
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and text.startswith("1 - "):
            v = node.right.left if isinstance(node.right, ast.BinOp) else node.right
            is_square = isinstance(node.right, ast.BinOp)
            other = f"1 - {ast.unparse(v)}" if is_square else f"1 - {ast.unparse(v)}**2"
            yield Slip("other slope", node, _expression(other), r"factor|times")
            yield Slip("other slope", node, _expression(f"{ast.unparse(v)} * (1 - {ast.unparse(v)})"), r"factor|times")
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)):
            for c in ("2", "0.5"):
                yield Slip(
                    "factor inside", node.left, ast.BinOp(_expression(c), ast.Mult(), node.left), r"times|twice|½|half"
                )
            for name in sorted(parameters):
                is_other = not name.startswith("d") and name not in text
                if is_other:
                    yield Slip(
                        "extra factor", node, ast.BinOp(node, ast.Mult(), ast.Name(name, ast.Load())), "times|factor"
                    )


def _path_slips(node: ast.expr) -> Iterator[Slip]:
    """Mistakes in a returned sum: a term dropped, doubled, or with the wrong sign."""
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub))):
        return
    flipped = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
    yield Slip("sign", node, ast.BinOp(node.left, flipped, node.right), "sign")
    yield Slip("dropped path", node, node.left, "path.*(is|are) missing")
    if isinstance(node.op, ast.Add):
        yield Slip("dropped path", node, node.right, "path.*(is|are) missing|0 everywhere")
    for side in (node.left, node.right):
        yield Slip("doubled path", side, ast.BinOp(ast.Constant(2), ast.Mult(), side), "twice|times")
    yield from _path_slips(node.left)


def _operator_slips(node: ast.BinOp, labels: dict[str, str]) -> Iterator[Slip]:
    right = ast.unparse(node.right)
    if isinstance(node.op, ast.Pow) and isinstance(_literal(node.right), (int, float)):
        power = _literal(node.right)
        for other in (power + 1, power - 1, -power):
            yield Slip("power", node, ast.BinOp(node.left, ast.Pow(), ast.Constant(other)), r"factor|\^|times|sign")
    elif isinstance(node.op, ast.Add) and right == "eps":
        yield Slip("missing ε", node, node.left, "eps")
    elif isinstance(node.op, ast.Sub) and isinstance(node.right, ast.Name) and right in labels:
        yield Slip("not centered", node, node.left, rf"\(1 - {re.escape(labels[right])}\)")
    elif isinstance(node.op, ast.MatMult):
        yield Slip("transposed", node, ast.BinOp(node.right, ast.MatMult(), node.left), "transposed")
    elif isinstance(node.op, ast.Div) and (
        any(k in right for k in ("len", "shape", "size")) or right in ("n", "d", "m")
    ):
        yield Slip("factor", node, node.left, "times")
        smaller = ast.BinOp(node.right, ast.Sub(), ast.Constant(1))
        yield Slip("factor", node.right, smaller, "times")
    elif isinstance(node.op, ast.Div):
        yield Slip("factor left out", node, node.left, "factors? .* missing|times")
    elif isinstance(node.op, ast.Mult):
        if right in labels:
            yield Slip("factor left out", node, node.left, f"factor .*{re.escape(labels[right])}.* missing")
        if isinstance(_literal(node.right), (int, float)):
            yield Slip("factor", node, node.left, "times|twice|sign")
            yield Slip("sign", node.right, ast.Constant(-_literal(node.right)), "sign")


def _call_slips(node: ast.Call) -> Iterator[Slip]:
    assert isinstance(node.func, ast.Attribute)
    if node.func.attr == "sqrt":
        yield Slip("power", node, node.args[0], r"factor|\^|times")
    if node.func.attr not in REDUCTIONS:
        return
    other = "mean" if node.func.attr == "sum" else "sum"
    changed = ast.Call(ast.Attribute(node.func.value, other, ast.Load()), node.args, node.keywords)
    yield Slip("stale mean", node, changed, "times")
    yield Slip("forgotten sum", node, node.func.value, "the sum over ax")
    for k in node.keywords:
        if k.arg == "axis" and isinstance(k.value, ast.Constant):
            other_axis = ast.keyword("axis", ast.Constant(1 - k.value.value))
            keywords = [other_axis if q is k else q for q in node.keywords]
            yield Slip("wrong axis", node, ast.Call(node.func, node.args, keywords), "sum over|summed over|axis")


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def scaled(m: Mutant, size: float) -> Derivation:
    """The derivation whose line is off by this share of the mistake."""
    right, wrong = m.base.lines[m.target].function, m.derivation.lines[m.target].function

    def line(*args: Any) -> Any:
        result = right(*args)
        return result + size * (wrong(*args) - result)

    vars(line)["__signature__"] = inspect.signature(right)
    return with_line(m.base, m.target, line)


def refactored(base: Derivation, rng: np.random.Generator) -> Derivation:
    """The same derivation with rewritten lines: factors exchanged, sums as means times N, powers as roots."""
    derivation = base
    for target, line in base.lines.items():
        tree = _Rewrite(rng).visit(parse_line(line.function))
        derivation = with_line(derivation, target, compiled(ast.unparse(tree), line.function))
    return derivation


class _Rewrite(ast.NodeTransformer):
    """Applies each of these equalities with probability ½."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        if self.rng.random() < 0.5:
            return node
        a, b = ast.unparse(node.left), ast.unparse(node.right)
        match node.op:
            case ast.Mult() | ast.Add():
                return _expression(f"({b}) {'*' if isinstance(node.op, ast.Mult) else '+'} ({a})")
            case ast.Sub():
                return _expression(f"-(({b}) - ({a}))")
            case ast.Div():
                return _expression(f"({a}) * (1 / ({b}))")
            case ast.MatMult():
                return _expression(f"(({b}).mT @ ({a}).mT).mT")
            case ast.Pow() if b == "2":
                return _expression(f"({a}) * ({a})")
            case ast.Pow():
                return _expression(f"1 / ({a}) ** (-({b}))")
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and self.rng.random() < 0.5:
            value, rest = ast.unparse(node.func.value), ", ".join(ast.unparse(k) for k in node.keywords)
            axis = {k.arg: _literal(k.value) for k in node.keywords}.get("axis")
            if node.func.attr == "sum" and isinstance(axis, int):
                return _expression(f"({value}).mean({rest}) * ({value}).shape[{axis}]")
            if node.func.attr == "mean" and isinstance(axis, int):
                return _expression(f"({value}).sum({rest}) / ({value}).shape[{axis}]")
            if node.func.attr == "sqrt":
                return _expression(f"({ast.unparse(node.args[0])}) ** 0.5")
        return node


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _replaced(tree: Any, old: ast.expr, new: ast.expr) -> Any:
    class Replace(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> Any:
            return copy.deepcopy(new) if node is old else self.generic_visit(node)

    return Replace().visit(copy.deepcopy(tree, {id(old): old}))


def compiled(source: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """The function that a source defines; `inspect` finds the source."""
    file = f"<line {next(COUNT)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    scope = dict(original.__globals__)  # type: ignore[attr-defined]
    exec(compile(source, file, "exec"), scope)
    function: Callable[..., Any] = scope[original.__name__]
    return function


def with_line(base: Derivation, target: str, function: Callable[..., Any]) -> Derivation:
    """The derivation with another function for one line."""
    derivation = Derivation(base.forward.function, **base.forward.shapes)
    for t, line in base.lines.items():
        derivation.line(of=t)(function if t == target else line.function)
    return derivation
