"""The pairs of functions that a pair calls: rnn_forward calls rnn_step_forward, and rnn_backward calls its backward."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from minigrad.verify.pairs.found import pairs_in
from minigrad.verify.pairs.pair import Pair


def called_pairs(pair: Pair, call: Callable[[Mapping[str, Any]], Any]) -> list[tuple[Pair, dict[str, Any]]]:
    """The pairs whose forward function is called by that of a pair, each with the arguments of its first call.

    Args:
        pair: the functions.
        call: calls a copy of the forward function in which global names have the values of its argument.
    """
    module = pair.forward.function
    calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}
    found = [f for f in pairs_in(module.__globals__, module.__module__) if f.forward_name != pair.forward.name]
    replaced = {f.forward_name: _recording(f.forward_name, module.__globals__, calls) for f in found if f.forward_name}
    call(replaced)
    pairs = [(f.make(), calls[f.forward_name]) for f in found if f.forward_name in calls]
    return [(helper, helper.arguments(args, options)) for helper, (args, options) in pairs]


def _recording(
    name: str, names: Mapping[str, Any], calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]]
) -> Callable[..., Any]:
    """The function of a name, which also keeps the arguments of its first call."""
    function = names[name]

    def record(*args: Any, **options: Any) -> Any:
        calls.setdefault(name, copy.deepcopy((args, options)))
        return function(*args, **options)

    return record
