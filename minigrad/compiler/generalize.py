"""Generalization: what changes from call to call becomes an input of the program, if it can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.compiler.recording import Recording
from minigrad.compiler.signature import Signature, shown
from minigrad.guards import is_number
from minigrad.reach import StateRef
from minigrad.reach.differences import Difference
from minigrad.tensor import Tensor

if TYPE_CHECKING:
    from minigrad.compiler.driver import Compiled


IN_A_ROW = 8  # specializations because of one place, after which the step runs eagerly


def _changed(one: Signature, other: Signature) -> list[int]:
    """The arguments in which two signatures differ."""
    return [k for k, (a, b) in enumerate(zip(one[1:], other[1:], strict=True)) if a != b]


def _is_number_key(part: Any) -> bool:
    return part[0] == "value" and isinstance(part[1], tuple) and part[1][0] in ("float", int)


def _kind_name(x: Any) -> Any:
    return "float" if type(x) is float else type(x)


def _short(x: Any) -> str:
    text = x if isinstance(x, str) else repr(x)
    return text if len(text) <= 80 else text[:77] + "..."


def learn(step: Compiled, recording: Recording) -> bool:
    """Whether the recording showed that more must be inputs of the program than was known before."""
    step.pinned |= recording.pinned
    step.varying -= recording.pinned
    numbers = recording.changing_numbers - step.varying - step.pinned
    arrays = recording.changing_arrays - step.fetched - step.pinned
    step.varying |= numbers
    step.fetched |= arrays
    if numbers or arrays:
        step.held.append(recording.keep)
    return bool(numbers or arrays)


def generalize(step: Compiled, key: Signature, leaves: list[Any], form: Any, keep: list[Any]) -> bool:
    """Let what has changed since the last specialization be an input, if it can be. False if there are too many."""
    reasons: list[Difference] = []
    like = [v for v in step.versions[::-1] if v.signature[0] == key[0] and len(v.signature) == len(key)]
    for version in sorted(like, key=lambda v: len(_changed(v.signature, key)))[:1]:  # the one that is most alike
        other = version.signature
        if other == key:
            reasons = [*version.guard.differences(), *version.tuple_differences()]
            reasons = reasons or [("what it fetches", None, None, None)]
            continue
        changed = _changed(other, key)
        if all(_is_number_key(other[k + 1]) and is_number(leaves[k]) for k in changed):
            same_kind = all(other[k + 1][1][0] == _kind_name(leaves[k]) for k in changed)
            for k in changed:
                if same_kind and (None, (), k) not in step.pinned:
                    step.varying.add((None, (), k))
        reasons = [(f"argument {k}", None, shown(other[k + 1]), shown(key[k + 1])) for k in changed]
    for _, ref, before, now in reasons:
        if ref is not None:
            _let_vary(step, ref, before, now)
    if not reasons:
        return True
    path = reasons[0][0]
    count = step.streak[1] + 1 if step.streak[0] == path else 1
    step.streak = path, count
    step.reason = reasons[0]
    return count < IN_A_ROW


def _let_vary(step: Compiled, ref: StateRef, before: Any, now: Any) -> None:
    """A place that held another number or array of the same kind is an input from here on."""
    if is_number(now) and type(now) is type(before):
        step.varying |= {(ref.identity, (), None)} - step.pinned
    elif type(now) is tuple and type(before) is tuple and len(now) == len(before):
        for k, (a, b) in enumerate(zip(now, before, strict=True)):
            if is_number(a) and type(a) is type(b) and a != b:
                step.varying |= {(ref.identity, (k,), None)} - step.pinned
            elif isinstance(a, (np.ndarray, Tensor)) and type(a) is type(b) and a is not b:
                step.fetched |= {ref.identity} - step.pinned
    elif type(now) is type(before) and (
        isinstance(now, (np.floating, np.integer))
        or (type(now) in (np.ndarray, Tensor) and ref.key not in ("data", "node"))
    ):
        step.fetched |= {ref.identity} - step.pinned
    elif type(now) is np.ndarray and type(before) is np.ndarray and type(ref.holder) is Tensor:
        step.fetched.add(ref.identity)
    step.held.append(ref.holder)


def too_many(step: Compiled, key: Signature, leaves: list[Any]) -> str:
    """Why the step is not recorded once more."""
    path, _, before, now = step.reason
    return (
        f"mg.compile: {step.name} was recorded {IN_A_ROW} times in a row because of {path}, which last changed from "
        f"{_short(before)} to {_short(now)}; it runs eagerly from here on.\nHint: keep it the same (pad batches, "
        "drop_last=True), or pass it as an array."
    )
