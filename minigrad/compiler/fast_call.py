"""The common call of a program as one generated function: tests of the arguments, guards, program and results.

It exists for programs whose arguments are arrays and Tensors and which read no other inputs. In all other cases (an
audit is due, a guard or a check fails, something observes the step) it returns MISS, and the driver finds out why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.compiler.ir.checks import SETTING, errors_raise
from minigrad.compiler.refusal import CheckFailed
from minigrad.compiler.signature import argument_scope, argument_tests
from minigrad.compiler.specialization import Specialization
from minigrad.engine.intercept import STACK
from minigrad.engine.mutation import note_change
from minigrad.engine.tracing import active
from minigrad.tensor.naming import probe
from minigrad.util.bytecode import code_of

MISS: Any = object()
NO_INPUTS: list[Any] = []


def add_fast_call(version: Specialization, audited: bool) -> None:
    """Give a specialization its `fast_call`, if its calls need nothing else. It is tried once for each program.

    Args:
        version: the specialization, which is ready.
        audited: whether there are audits between calls.
    """
    if version.fast_call is None and not version.has_tried_fast_call:
        version.has_tried_fast_call = True
        version.fast_call = _fast_call(version, audited)


def _fast_call(version: Specialization, audited: bool) -> Callable[[tuple[Any, ...], Any], Any] | None:
    """fast_call(arguments, lock): the result of the call, or MISS. None if calls of this program need more."""
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
    arrays = ", ".join(f"t{leaf}" for _, leaf in version.places)
    call = f"o = run({arrays})" if version.is_silent else f"with silent(all='ignore'): o = run({arrays})"
    text = f"""
def fast_call(x, lock):
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
    return scope["fast_call"]
