"""The usual call of a program as one generated function: arguments, guards, program and results, without a detour.

It is made for a program whose arguments are arrays and Tensors and which fetches nothing else. Whatever is not as usual
(an audit is due, a guard or a check fails, somebody watches) makes it return MISS, and the driver finds out what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.compiler.ir.checks import SETTING, errors_raise
from minigrad.compiler.ir.view_memory import owner
from minigrad.compiler.refusal import CheckFailed
from minigrad.compiler.signature import Signature
from minigrad.engine.intercept import STACK
from minigrad.engine.mutation import note_change
from minigrad.engine.node import mode
from minigrad.engine.tracing import active
from minigrad.reach.generated import code_of
from minigrad.tensor.naming import probe
from minigrad.tensor.tensor import Tensor

if TYPE_CHECKING:
    from minigrad.compiler.specialization import Specialization

MISS: Any = object()
NO_INPUTS: list[Any] = []


def quick(version: Specialization, audited: bool) -> Callable[[tuple[Any, ...], Any], Any] | None:
    """quick(arguments, lock): what the call returns, or MISS. None if calls of this program need more.

    Args:
        version: the specialization, which is ready.
        audited: whether audits come between. While kernels are being made, looks for them do.
    """
    tests = argument_tests(version.signature)
    if tests is None or version.has_more or version.live or not version.is_simple:
        return None
    if not all(number == k for k, (number, _) in enumerate(version.places)):
        return None
    watched = "active() is not None or probe() is not None or stack()"
    scope: dict[str, Any] = {"active": active.get, "probe": probe.get, "stack": STACK.get, "errors": errors_raise}
    if SETTING is not None:
        watched += " or (setting() is not plain and errors())"
        scope |= {"setting": SETTING.get, "plain": SETTING.get() if not errors_raise() else MISS}
    else:
        watched += " or errors()"
    given = ", ".join(f"t{leaf}" for _, leaf in version.places)
    call = f"o = run({given})" if version.is_silent else f"with silent(all='ignore'): o = run({given})"
    text = f"""
def quick(x, lock):
    if {watched}:
        return MISS
    if not ({" and ".join(tests)}):
        return MISS
    with lock:
        if {"version.left <= 0 or " if audited or version.kernels is not None else ""}not fits():
            return MISS
        try:
            {call}
        except CheckFailed:
            return MISS
        version.left -= 1
        {"; ".join(f"note(p{k})" for k in range(len(version.parameters)))}
        return finish(o, x, nothing, nothing)
"""
    scope |= argument_scope(version.signature, version.owned)
    scope |= {"MISS": MISS, "version": version, "fits": version.fits, "run": version.run, "finish": version.finish}
    scope |= {"CheckFailed": CheckFailed, "note": note_change, "nothing": NO_INPUTS, "silent": np.errstate}
    scope |= {f"p{k}": array for k, array in enumerate(version.parameters)}
    exec(code_of(text), scope)
    made: Callable[[tuple[Any, ...], Any], Any] = scope["quick"]
    return made


def fast_guard(signature: Signature, owned: dict[int, Any]) -> Callable[[tuple[Any, ...]], bool]:
    """A function of the positional arguments that says whether they have a signature; it may say no where they have."""
    tests = argument_tests(signature)
    scope = argument_scope(signature, owned)
    exec(code_of(f"def takes(x):\n    return {'False' if tests is None else ' and '.join(tests)}\n"), scope)
    takes: Callable[[tuple[Any, ...]], bool] = scope["takes"]
    return takes


def argument_tests(signature: Signature) -> list[str] | None:
    """Tests that the positional arguments `x` have a signature, quicker than by making theirs; t0, t1 are the arrays.

    They may fail where the signatures agree. None if the arguments are more than arrays in C order and Tensors.
    """
    (records, form), *leaves = signature
    if form != len(leaves) or not all(
        leaf[0] == "array" and leaf[5] is None and leaf[6] is None and leaf[4] is not None for leaf in leaves
    ):
        return None
    tests = [f"mode() is {'not ' if records else ''}None", f"len(x) == {len(leaves)}"]
    for k, (_, kind, _, _, has_node, _, _) in enumerate(leaves):
        if kind is Tensor:
            tests.append(f"type(a{k} := x[{k}]) is Tensor and a{k}.node is {'not ' if has_node else ''}None")
            tests.append(f"type(t{k} := a{k}.data) is ndarray")
        else:
            tests.append(f"type(t{k} := x[{k}]) is ndarray")
        tests.append(f"t{k}.shape == s{k} and t{k}.dtype == d{k} and t{k}.flags.carray")
        tests.append(f"(id(t{k}) not in owned if t{k}.base is None else is_apart(t{k}, owned))")
        tests += [f"t{k} is not t{j}" for j in range(k)]
    return tests


def _is_apart(view: Any, owned: dict[int, Any]) -> bool:
    """Whether a view is one of no array of the state, nor of memory from outside of NumPy, which may be anybody's."""
    root = owner(view)
    return id(root) not in owned and bool(root.flags.owndata)


def argument_scope(signature: Signature, owned: dict[int, Any]) -> dict[str, Any]:
    """The names in those tests."""
    scope: dict[str, Any] = {
        "mode": mode.get,
        "owned": owned,
        "is_apart": _is_apart,
        "ndarray": np.ndarray,
        "Tensor": Tensor,
    }
    for k, leaf in enumerate(signature[1:]):
        if leaf[0] == "array":
            scope |= {f"s{k}": leaf[2], f"d{k}": leaf[3]}
    return scope
