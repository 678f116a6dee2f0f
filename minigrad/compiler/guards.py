"""What is looked at before a call of a program, and what is left behind after it, each as one written function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.compiler.state import GRAD, MISSING, SCALARS, Spot
from minigrad.node import mode
from minigrad.tensor import Tensor


def guard(watched: list[tuple[Spot, Any]], held: list[tuple[Spot, Any]]) -> Callable[[], bool]:
    """A function that says whether places hold what they held, numbers by value and objects by identity.

    It runs before every call, so it is written as one expression.
    """
    scope: dict[str, Any] = {"same": same}
    tests = []
    for k, (spot, value) in enumerate([*watched, *held]):
        scope[f"h{k}"], scope[f"v{k}"], scope[f"s{k}"] = spot.holder, value, spot
        if value is MISSING or spot.key == GRAD:  # what may not be there
            now = f"s{k}.get()"
        elif spot.how == "cell":
            now = f"h{k}.cell_contents"
        else:
            now = f"h{k}.{spot.key}" if spot.how == "slot" else f"h{k}[{spot.key!r}]"
        tests.append(f"((x := {now}) is v{k} or same(x, v{k}))" if k < len(watched) else f"{now} is v{k}")
    test = f"        return {' and '.join(tests) or 'True'}"
    gone = "(KeyError, IndexError, AttributeError, ValueError)"
    exec(f"def fits():\n    try:\n{test}\n    except {gone}:\n        return False\n", scope)
    fits: Callable[[], bool] = scope["fits"]
    return fits


def door(signature: tuple[Any, ...], owned: dict[int, Any]) -> Callable[..., bool]:
    """A function of the positional arguments that says whether they have a signature, quicker than by making theirs.

    It may say no where the signatures agree: to views, and wherever the arguments are more than arrays and Tensors.
    """
    (records, form), *leaves = signature
    scope: dict[str, Any] = {"mode": mode, "owned": owned, "ndarray": np.ndarray, "Tensor": Tensor}
    tests = [f"mode.get() is {'not ' if records else ''}None", f"len(x) == {len(leaves)}"]
    for k, leaf in enumerate(leaves):
        if form != len(leaves) or len(leaf) < 5 or leaf[4] is not None:
            return lambda x: False
        kind, scope[f"s{k}"], scope[f"d{k}"], has_node, _ = leaf
        tests.append(f"type(t := x[{k}]) is {kind.__name__}")
        if kind is Tensor:
            tests.append(f"t.node is {'not ' if has_node else ''}None and (t := t.data) is not None")
        tests.append(f"type(t) is ndarray and t.shape == s{k} and t.dtype == d{k}")
        tests.append("t.base is None and id(t) not in owned")
    exec(f"def takes(x):\n    return {' and '.join(tests)}\n", scope)
    takes: Callable[..., bool] = scope["takes"]
    return takes


def leaving(exits: list[tuple[Spot, Any]]) -> Callable[[], None]:
    """A function that puts at each place what a call leaves there."""
    scope: dict[str, Any] = {}
    lines = ["pass"]
    for k, (spot, value) in enumerate(exits):
        scope[f"h{k}"], scope[f"s{k}"], scope[f"v{k}"] = spot.holder, spot, value
        is_slot = spot.how == "slot" and value is not MISSING
        lines.append(f"h{k}.{spot.key} = v{k}" if is_slot else f"s{k}.set(v{k})")
    exec("def leave():\n    " + "\n    ".join(lines), scope)
    leave: Callable[[], None] = scope["leave"]
    return leave


def same(now: Any, before: Any) -> bool:
    """Whether a number or word is what it was; np.ndarray stands for any array or object."""
    if before is np.ndarray:
        return now is not MISSING and not isinstance(now, SCALARS)
    return type(now) is type(before) and bool(now == before)
