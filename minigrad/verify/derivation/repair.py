"""Repair: one edit of a line's own source that makes it right, in all samples."""

from __future__ import annotations

import ast
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.engine.primitive import value_of
from minigrad.verify.derivation.backward_pass import BackwardPass, Line
from minigrad.verify.derivation.derivation_report import LineReport
from minigrad.verify.derivation.edits import Edit, Editable
from minigrad.verify.derivation.line_source import LineSource
from minigrad.verify.derivation.reference import agree
from minigrad.verify.derivation.sample import Sample


def search(
    derivation: BackwardPass, line: Line, samples: Sequence[Sample], report: LineReport, seconds: float
) -> str | None:
    """The edit as "`x` should be `x - mu`", or None if none is found in time. Stores the repaired line in the report.

    Raises:
        OSError, TypeError, SyntaxError: the source of the line is not available.
    """
    values = [sample.names() for sample in samples]
    expected = [sample.reference.gradients[line.target] for sample in samples]
    if report.random_upstream is not None:
        values, expected = [report.random_upstream], [report.expected]
    # First the line's own names, then the others, without gradients that are computed from this one.
    later = _later(derivation, line.target)
    others = [k for k in values[0] if k not in line.parameters and k not in later]
    names = [*line.parameters, *others]
    found = search_edit(LineSource.of(line.function, names), names, values, expected, seconds)
    if found is None:
        return None
    report.repaired = found[1]
    return found[0]


def search_edit(
    source: LineSource, atoms: Sequence[str], values: Sequence[Any], expected: Sequence[Any], seconds: float
) -> tuple[str, str] | None:
    """An edit of a line with which it computes the expected results.

    Args:
        source: of the line.
        atoms: what the line may use, its own first.
        values: in each sample, what the source takes.
        expected: in each sample.
        seconds: of computing time, how long to search.

    Returns:
        The edit as "`x` should be `x - mu`", and the line after it; or None.
    """
    deadline = time.thread_time() + seconds
    line = Editable(source.body, atoms, source.values_of(atoms, values[0]))
    for edit in line.edits():
        if time.thread_time() > deadline:
            return None
        with source.edited(edit.new, *edit.old) as function:
            if function is None:
                continue
            pairs = zip(values, expected, strict=True)
            if not all(is_right(source.result(function, v), e) for v, e in pairs):
                continue
            around, repaired = _around_number(edit, source.body), source.text()
            after = around and ast.unparse(around)
        return f"`{ast.unparse(around)}` should be `{after}`" if around else str(edit), repaired
    return None


def _around_number(edit: Edit, body: ast.FunctionDef) -> ast.expr | None:
    """The expression around a number that is replaced, which alone would say little; None if it is something else."""
    if not isinstance(edit.new, ast.Constant) or not isinstance(edit.old[0], ast.Constant):
        return None
    return next((n for n in ast.walk(body) if isinstance(n, ast.BinOp) and edit.new in (n.left, n.right)), None)


def _later(derivation: BackwardPass, target: str) -> set[str]:
    """The gradients that are computed after this one: its own, and those of the values that it was computed from."""
    order = [*derivation.forward.inputs, *derivation.targets]
    return {f"d{k}" for k in [target, *order[: order.index(target)]]}


def is_right(result: Any, expected: Any) -> bool:
    """Whether an edited line computes what it should."""
    if result is None:
        return False
    result = np.asarray(value_of(result))
    return result.dtype.kind == "f" and agree(result, expected, rtol=1e-8, floor=0.0)
