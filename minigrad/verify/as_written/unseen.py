"""Errors that nothing sees: a later line annihilates them, and what the function returns is right."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minigrad.verify.as_written.forward_values import ForwardPass
from minigrad.verify.as_written.statement import environments, line_of, steps_of
from minigrad.verify.as_written.written_lines import Event, Outcome, run_backward
from minigrad.verify.pairs.instrument import Written

Array = Any


def is_linear(event: Event, doubled: Outcome | None) -> bool:
    """Whether a line gives twice as much for twice the upstream gradient."""
    if doubled is None or event.order >= len(doubled.events):
        return True
    twice = doubled.events[event.order].result
    return twice.shape != event.result.shape or np.allclose(twice, 2 * event.result, rtol=1e-6, atol=1e-9)


def has_unseen_term(
    written: Written, forward: ForwardPass, names: Mapping[str, str], event: Event, outcome: Outcome,
    is_right: Callable[[Outcome], bool],
) -> bool:  # fmt: skip
    """Whether a term of a line can be left out, and what the function returns is right as before."""
    steps = steps_of(written, event, outcome.events[: event.order])
    sites = {next(s.number for s in written.sites if s.statement is step.statement) for step in steps}
    plain = run_backward(
        written, forward, names, is_judging=False, capture=event.order, captured_sites=sites
    )  # fmt: skip
    runs = environments(plain.captured, steps)
    source = line_of(written, event, steps, runs) if runs else None
    if source is None or plain.outcome.error:
        return False
    before = plain.outcome.events[event.order].result
    for node in [n for s in source.body.body for n in ast.walk(s)]:
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, (ast.Add, ast.Sub)):
            continue
        right = node.right if isinstance(node.op, ast.Add) else ast.UnaryOp(ast.USub(), node.right)
        for rest in (node.left, right):
            with source.edited(rest, node) as function:
                result = None if function is None else source.result(function, runs)
            if result is None or np.shape(result) != before.shape or np.allclose(result, before, rtol=1e-7):
                continue
            trial = run_backward(written, forward, names, {event.order: np.asarray(result)}, is_judging=False).outcome
            if not trial.error and is_right(trial):
                return True
    return False
