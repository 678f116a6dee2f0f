"""How many mistakes in plain backward functions are found and explained: `python benchmarks/pair_mistakes.py`.

The pairs of examples/homework/layers.py, with the mistakes in it corrected, are changed by one mistake each, as people
make them. Whether a changed function is wrong at all is decided without the checker: its gradients are compared with
those of the right one. A mistake counts as explained if the line is blamed, and the report says a reason or a repair.
A repair is false if the repaired function gives other gradients than the right one, at other values and other sizes; a
reason is false if a check at other values and other sizes says another one.
"""

from __future__ import annotations

import argparse
import ast
import copy
import linecache
import time
import types
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.verify.as_written import discover
from minigrad.verify.as_written.forward_values import ForwardPass, randomness
from minigrad.verify.as_written.inputs import SIZES, SIZES_OF_MANY_AXES, drawn, shapes_of
from minigrad.verify.as_written.written_lines import run_backward
from minigrad.verify.pairs.results import given_gradients

FILE = Path(__file__).parent.parent / "examples" / "homework" / "layers.py"
CORRECTIONS = (
    ("dxmu2 = xmu * dsq", "dxmu2 = 2 * xmu * dsq"),
    ("    dscores[np.arange(N), y] -= 1\n", "    dscores[np.arange(N), y] -= 1\n    dscores /= N\n"),
    ("w[f, :, ::-1, ::-1] * dout", "w[f] * dout"),
    ("df = dc * next_c", "df = dc * prev_c"),
    ("(1 - hs[t]) * dh", "(1 - hs[t] ** 2) * dh"),
    ("keepdims=True) / m\n    dA_prev", "keepdims=True)\n    dA_prev"),
    ("grad_z.T @ self.x", "self.x.T @ grad_z"),
    ("dk = np.matmul(dscores", "dk = scale * np.matmul(dscores"),
    ("dw += 0.5 * reg * w", "dw += reg * w"),
    ("dout = dout * (1 - a1**2)\n    dW2", "dout = dout * (1 - a2**2)\n    dW2"),
)


@dataclass
class Mistake:
    kind: str
    function: str  # the pair's name in the report
    line: int
    before: str
    after: str
    make: Callable[[], ast.Module]

    @cached_property
    def source(self) -> str:
        """Of the whole file with the mistake."""
        return ast.unparse(self.make())


def right_source() -> str:
    source = FILE.read_text(encoding="utf-8")
    for wrong, right in CORRECTIONS:
        assert source.count(wrong) == 1, wrong
        source = source.replace(wrong, right)
    return ast.unparse(ast.parse(source))


def module_of(source: str) -> types.ModuleType:
    file = f"<homework {abs(hash(source))}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    module = types.ModuleType("homework")
    exec(compile(source, file, "exec"), vars(module))
    return module


# Mistakes


def mistakes(source: str) -> Iterator[Mistake]:
    """One mistake at a time, in every statement of every backward function."""
    tree = ast.parse(source)
    for owner, function in _backward_functions(tree):
        for statement in ast.walk(function):
            if not isinstance(statement, (ast.Assign, ast.AugAssign, ast.Return, ast.Expr)) or not _is_gradient(
                statement
            ):
                continue
            before = ast.unparse(statement)
            for kind, changed in _slips(statement, function):
                text = ast.unparse(changed) if changed is not None else "pass"
                if text != before:
                    make = partial(_with, tree, statement, changed)
                    yield Mistake(kind, owner, statement.lineno, before, text, make)


def _backward_functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.backward", f) for f in node.body if getattr(f, "name", "") == "backward")
        elif isinstance(node, ast.FunctionDef) and node.name.endswith("_backward"):
            yield node.name, node


def _is_gradient(statement: ast.stmt) -> bool:
    text = ast.unparse(statement)
    target = text.partition("=")[0]
    return ("d" in target or "grad" in target) and "cache" not in text and "zeros" not in text and ".shape" not in text


def _with(tree: ast.Module, old: ast.AST, new: ast.stmt | None) -> ast.Module:
    class Replace(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> Any:
            if node is old:
                return ast.Pass() if new is None else new
            return self.generic_visit(node)

    return Replace().visit(copy.deepcopy(tree, {id(old): old}))


def _slips(statement: Any, function: ast.FunctionDef) -> Iterator[tuple[str, ast.stmt | None]]:
    def changed(old: ast.AST, new: ast.AST) -> Any:
        class Replace(ast.NodeTransformer):
            def visit(self, node: ast.AST) -> Any:
                return new if node is old else self.generic_visit(node)

        return Replace().visit(copy.deepcopy(statement, {id(old): old}))

    value = statement.value
    if isinstance(statement, ast.Expr):
        return
    if isinstance(statement, ast.AugAssign) and isinstance(statement.op, ast.Add):
        yield "not accumulated", ast.Assign([statement.target], statement.value, lineno=statement.lineno)
    if (
        isinstance(statement, ast.Assign)
        and isinstance(statement.targets[0], ast.Subscript)
        and "<" in ast.unparse(statement)
    ):
        yield "forgotten mask", None
    if value is None or isinstance(value, (ast.Tuple, ast.Constant)):
        return
    if not isinstance(statement, ast.Return):
        yield "sign", changed(value, ast.UnaryOp(ast.USub(), value))
        yield "factor", changed(value, ast.BinOp(ast.Constant(2), ast.Mult(), value))
    names = sorted(
        {
            n.id
            for n in ast.walk(function)
            if isinstance(n, ast.Name)
            and len(n.id) <= 7
            and n.id not in ("np", "cache", "range", "len", "reversed", "enumerate")
        }
    )
    used = [n for n in ast.walk(value) if isinstance(n, ast.Name) and n.id in names]
    for n in used:
        for other in names:
            if other != n.id and (other[0] == "d") == (n.id[0] == "d"):
                yield "wrong name", changed(n, ast.Name(other, ast.Load()))
    for node in ast.walk(value):
        yield from ((kind, changed(node, new)) for kind, new in _expression_slips(node))


def _expression_slips(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:  # noqa: PLR0912  (a table of mistakes)
    if isinstance(node, ast.BinOp):
        left, right, op = node.left, node.right, node.op
        if isinstance(op, ast.Mult):
            yield "missing factor", left
            yield "missing factor", right
        if isinstance(op, ast.Div):
            yield "missing divisor", left
            yield "size minus 1", ast.BinOp(left, op, ast.BinOp(right, ast.Sub(), ast.Constant(1)))
        if isinstance(op, (ast.Add, ast.Sub)):
            yield "missing term", left
            yield "missing term", right
            yield "sign of term", ast.BinOp(left, ast.Sub() if isinstance(op, ast.Add) else ast.Add(), right)
        if isinstance(op, ast.Pow):
            yield "missing square", left
            yield "power", ast.BinOp(left, op, ast.Constant(3))
        if isinstance(op, ast.MatMult):
            yield "transposed", ast.BinOp(right, op, left)
        if isinstance(op, ast.Sub) and isinstance(left, ast.Constant) and isinstance(right, ast.BinOp):
            yield "other slope", ast.BinOp(right.left, ast.Mult(), ast.BinOp(left, op, right.left))
        if isinstance(op, ast.Mult) and isinstance(right, ast.BinOp) and isinstance(right.op, ast.Sub):
            yield (
                "other slope",
                ast.BinOp(
                    left, op, ast.BinOp(right.left, right.op, ast.BinOp(right.right, ast.Pow(), ast.Constant(2)))
                ),
            )
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield "transposed", node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        func, args = node.func, node.args
        is_function = isinstance(func.value, ast.Name) and func.value.id == "np"
        if func.attr in ("sum", "mean"):
            inner = args[0] if is_function else func.value
            yield "forgotten sum", inner
            other = ast.Attribute(func.value, "mean" if func.attr == "sum" else "sum", ast.Load())
            yield "mean for sum", ast.Call(other, args, node.keywords)
            for k in node.keywords:
                if k.arg == "axis" and isinstance(k.value, ast.Constant):
                    axis = ast.keyword("axis", ast.Constant(1 - k.value.value if k.value.value >= 0 else 0))
                    yield "wrong axis", ast.Call(func, args, [axis if q is k else q for q in node.keywords])
        if func.attr in ("dot", "matmul") and is_function:
            yield "transposed", ast.Call(func, args[::-1], [])
        if func.attr == "transpose" and not is_function:
            yield "transposed", func.value
    if isinstance(node, ast.Subscript) and "t" in {n.id for n in ast.walk(node.slice) if isinstance(n, ast.Name)}:
        if isinstance(node.slice, ast.Name):
            yield "time shifted", ast.Subscript(node.value, ast.BinOp(node.slice, ast.Sub(), ast.Constant(1)), node.ctx)
        elif isinstance(node.slice, ast.BinOp):
            yield "time shifted", ast.Subscript(node.value, node.slice.left, node.ctx)
    if isinstance(node, ast.Slice) and isinstance(node.upper, ast.BinOp) and isinstance(node.lower, ast.Name):
        yield "wrong border", ast.Slice(None, node.upper.right)


# The truth


PASSES: dict[tuple[str, int, Any], ForwardPass] = {}


def forward_pass(right: discover.Found, seed: int, pool: Any) -> ForwardPass:
    """A forward pass at drawn inputs; it is the same for all backward functions of a pair."""
    key = right.name, seed, pool
    if key not in PASSES:
        pair = right.make()
        arguments = drawn(pair.forward, pair.parameters, np.random.default_rng([seed, 5]), None, pool).arguments
        owner = pair.owner if pair.has_self else None
        PASSES[key] = ForwardPass(pair, arguments, owner, randomness(), np.random.default_rng([seed, 6]))
    return PASSES[key]


def gradients(found: discover.Found, right: discover.Found, seed: int, pool: Any) -> list[tuple[Any, Any]] | None:
    """The gradients that two backward functions give for the same forward pass; None if the first raises an error."""
    forward = forward_pass(right, seed, pool)
    inputs = {v.order: v.name for v in forward.inputs()}
    results = []
    for each in (found, right):
        pair = each.make()
        outcome = run_backward(pair.backward, forward, {}, is_judging=False).outcome
        if outcome.error:
            return None
        given = given_gradients(pair, inputs, outcome.returned, outcome.return_number, outcome.owner, {})
        results.append([np.asarray(given[k], float) for k in sorted(given)])
    return list(zip(*results, strict=False)) if len(results[0]) == len(results[1]) else [(np.zeros(1), np.ones(1))]


def agrees(pairs: list[tuple[Any, Any]] | None) -> bool:
    return pairs is not None and all(
        a.shape == b.shape and np.allclose(a, b, rtol=1e-7, atol=1e-9 * np.max(np.abs(b), initial=0)) for a, b in pairs
    )


def pools(found: discover.Found) -> tuple[Any, Any]:
    shapes, _ = shapes_of(found.make().forward, None)
    many = any(len(shape.axes) > 3 for shape in shapes.values())
    return SIZES_OF_MANY_AXES if many else SIZES


@dataclass
class Subject:
    mistake: Mistake
    found: discover.Found
    right: discover.Found


def subjects(each: int, seed: int) -> Iterator[Subject]:
    """Wrong pairs: at most `each` mistakes of a kind, chosen at random."""
    source = right_source()
    right = {f.make().name: f for f in discover.pairs_in(vars(module_of(source)), "homework")}
    by_kind: dict[str, list[Mistake]] = defaultdict(list)
    for mistake in mistakes(source):
        by_kind[mistake.kind].append(mistake)
    rng = np.random.default_rng(seed)
    for kind in sorted(by_kind):
        count = 0
        for k in rng.permutation(len(by_kind[kind])):
            mistake = by_kind[kind][k]
            try:
                found = {f.make().name: f for f in discover.pairs_in(vars(module_of(mistake.source)), "homework")}
                pairs = gradients(
                    found[mistake.function], right[mistake.function], seed, pools(right[mistake.function])[0]
                )
            except Exception:
                continue
            if pairs is None or agrees(pairs):
                continue  # it does not run, or is no mistake
            yield Subject(mistake, found[mistake.function], right[mistake.function])
            count += 1
            if count == each:
                break


def repaired_source(mistake: Mistake, line: Any, repaired: str) -> str:
    """The source after a repair, in which each statement is one line of text."""
    lines = mistake.source.splitlines()
    old = lines[line.line - 1]
    indent = old[: len(old) - len(old.lstrip())]
    new = repaired.splitlines()
    if new[0].startswith("return "):
        if old.lstrip().startswith("return "):
            return mistake.source  # a part of what is returned: not examined
        target = ast.parse(old.strip()).body[0]
        written = target.targets[0] if isinstance(target, ast.Assign) else target.target  # type: ignore[attr-defined]
        new = [f"{ast.unparse(written)} = {new[0].removeprefix('return ')}"]
    lines[line.line - 1 : line.last_line] = [indent + text for text in new]
    return "\n".join(lines)


def examine(subject: Subject, seed: int) -> dict[str, Any]:
    mistake = subject.mistake
    start = time.perf_counter()
    report = discover.check_found(subject.found, seed=seed)
    row: dict[str, Any] = {"seconds": time.perf_counter() - start, "rejected": not report.ok, "report": report}
    wrong = report.wrong
    row["blamed"] = len(wrong) == 1 and wrong[0].line <= mistake.line <= wrong[0].last_line
    line = next((w for w in wrong if w.line <= mistake.line <= w.last_line), wrong[0] if wrong else None)
    row["sentence"] = line is not None and line.report.kind != "unexplained"
    row["repair"] = line is not None and line.repair is not None
    is_before = (
        line is not None and mistake.kind == "forgotten mask" and len(wrong) == 1 and line.line == mistake.line - 1
    )
    row["blamed"] = row["blamed"] or is_before  # nothing is left of the line itself
    row["explained"] = row["blamed"] and (row["sentence"] or row["repair"])
    row["line"] = line
    row["false repair"] = row["other reason"] = False
    if row["repair"]:
        fixed = repaired_source(mistake, line, line.report.repaired)
        if fixed != mistake.source:
            again = {f.make().name: f for f in discover.pairs_in(vars(module_of(fixed)), "homework")}
            try:
                right = all(
                    agrees(gradients(again[mistake.function], subject.right, seed + k, pool))
                    for k, pool in enumerate((*pools(subject.right), pools(subject.right)[0]), 7)
                )
            except Exception:
                right = False
            row["false repair"] = not right and len(wrong) == 1
    if row["sentence"]:
        swapped = {name: getattr(discover, name)[::-1] for name in ("SIZES", "SIZES_OF_MANY_AXES")}
        before = {name: getattr(discover, name) for name in swapped}
        vars(discover).update(swapped)
        try:
            other = discover.check_found(subject.found, seed=seed + 1)
        finally:
            vars(discover).update(before)
        said = {w.reason for w in other.wrong}
        row["other reason"] = line.reason not in said
        row["others"] = said
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=10, help="mistakes of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the choice and of the values")
    parser.add_argument("--show", action="store_true", help="print what was not explained, or not rightly")
    options = parser.parse_args()
    warnings.simplefilter("error")
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for subject in subjects(options.each, options.seed):
        row = examine(subject, options.seed)
        rows[subject.mistake.kind].append(row)
        if options.show and not (row["explained"] and not row["false repair"] and not row["other reason"]):
            flags = [k for k in ("rejected", "blamed", "sentence", "repair", "false repair", "other reason") if row[k]]
            m, line = subject.mistake, row["line"]
            print(f"--- {m.kind}: {m.function}, line {m.line}: {m.before}  ->  {m.after}   [{', '.join(flags)}]")
            for w in row["report"].wrong:
                print("      blamed:", w.line, w.path, w.target, "|", w.reason, "|", w.repair)
            if row["other reason"]:
                print("      elsewhere:", row["others"])
            if row["false repair"]:
                print("      repaired:", line.report.repaired)
    columns = ["rejected", "blamed", "sentence", "repair", "explained", "false repair", "other reason"]
    print(f"{'mistake':<18}{'wrong':>6}" + "".join(f"{c:>14}" for c in columns))
    every = [row for of_kind in rows.values() for row in of_kind]
    for kind, of_kind in [*rows.items(), ("all", every)]:
        counts = [sum(bool(row[c]) for row in of_kind) for c in columns]
        print(f"{kind:<18}{len(of_kind):>6}" + "".join(f"{n:>8} {n / len(of_kind):>5.0%}" for n in counts))
    took = sorted(row["seconds"] for row in every)
    print(f"seconds a check: median {took[len(took) // 2]:.2f}, largest {took[-1]:.2f}")


if __name__ == "__main__":
    main()
