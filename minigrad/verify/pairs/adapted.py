"""A forward function with a cache and its backward function, or a layer object, as a function and its gradient."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.engine.primitive import value_of
from minigrad.util.pytree import flatten
from minigrad.verify.pairs.gradient_names import squeeze, values_named_by
from minigrad.verify.pairs.instrument import Listener
from minigrad.verify.pairs.pair import CannotCall, Pair, Returned, is_float_array, is_number
from minigrad.verify.pairs.results import attributes, given_gradients

Array = Any


@dataclass
class Adapted:
    """A function of inputs and parameters, and its gradient.

    Attributes:
        forward: returns the results, a tuple of several.
        gradient: a function of the cotangent, a tuple of several, and of the inputs and parameters.
        parameters: the arrays of the object whose gradients it stores, by name.
        unchecked: what has an effect on the result, but no gradient.
    """

    forward: Callable[..., Any]
    gradient: Callable[..., Any]
    parameters: dict[str, Array] = field(default_factory=dict)
    unchecked: list[str] = field(default_factory=list)


def adapted(f: Any, gradient: Callable[..., Any] | None, inputs: Sequence[Any]) -> Adapted | None:
    """f and its gradient in one form; None if they have it already.

    Args:
        f: a function, or an object with the methods forward and backward.
        gradient: a function of the cotangent and the inputs; or the backward function of a pair, of the cotangent and
            what f returns with the result; None to use the tape, or the object's method.
        inputs: the arguments of f.
    """
    if gradient is None:
        is_layer = all(callable(getattr(f, method, None)) for method in ("forward", "backward"))
        return _of_layer(f, inputs) if is_layer else None
    return _of_pair(f, gradient, inputs)


def _of_layer(layer: Any, inputs: Sequence[Any]) -> Adapted:
    """The layer's result as a function of its inputs and of the parameters whose gradients it stores."""
    arrays = {path: value for path, value in _attributes(layer) if is_float_array(value) and np.ndim(value)}
    before = {path: np.array(value) for path, value in arrays.items()}
    out = layer.forward(*inputs)
    parts, rebuild = flatten(out)
    cotangents = [np.ones(np.shape(value_of(part))) for part in parts]
    layer.backward(rebuild(cotangents))
    gradients = {path: value for path, value in _attributes(layer) if is_number(value)}
    found: dict[str, str] = {}  # the path of the gradient, by the path of the parameter
    for path in gradients:
        for squeezed in values_named_by(path):
            named = next((p for p in arrays if squeeze(p.rpartition(".")[2]) == squeezed and p != path), None)
            if named is not None:
                found.setdefault(named, path)
                break
    paths = list(found)
    sums = {path: np.array(before[path]) for path in found.values() if path in before}  # a gradient may be added up

    def set_parameters(values: Sequence[Array]) -> None:
        for path, value in [*zip(paths, values, strict=True), *((p, np.array(a)) for p, a in sums.items())]:
            _set(layer, path, value)

    def forward(*arguments: Any) -> Any:
        set_parameters(arguments[len(inputs) :])
        try:
            return layer.forward(*arguments[: len(inputs)])
        finally:
            set_parameters([before[path] for path in paths])

    def gradient(cotangent: Any, *arguments: Any) -> Any:
        set_parameters(arguments[len(inputs) :])
        try:
            layer.forward(*arguments[: len(inputs)])
            returned = layer.backward(cotangent)
            own = [np.array(_get(layer, found[path])) for path in paths]
        finally:
            set_parameters([before[path] for path in paths])
        if returned is None:
            returned = ()
        return (*(returned if isinstance(returned, tuple) else (returned,)), *own)

    parameters = {path.rpartition(".")[2]: before[path] for path in paths}
    left = [path for path in arrays if path not in found and path not in found.values()]
    unchecked = [path.rpartition(".")[2] for path in left if _has_effect(layer, path, before[path], inputs, out)]
    return Adapted(forward, gradient, parameters, unchecked)


def _attributes(layer: Any) -> list[tuple[str, Any]]:
    return attributes(layer) if hasattr(layer, "__dict__") else []


def _has_effect(layer: Any, path: str, value: Array, inputs: Sequence[Any], out: Any) -> bool:
    """Whether a layer's result depends on one of its arrays."""
    _set(layer, path, value * 1.01 + 0.01)
    try:
        other = flatten(layer.forward(*inputs))[0]
    except Exception:  # the layer may refuse other values in any way
        return False
    finally:
        _set(layer, path, value)
    pairs = zip(flatten(out)[0], other, strict=False)
    return any(not np.allclose(value_of(a), value_of(b), rtol=1e-12, atol=0) for a, b in pairs)


def _get(layer: Any, path: str) -> Any:
    first, _, key = path.partition(".")
    value = getattr(layer, first)
    return value[key] if key else value


def _set(layer: Any, path: str, value: Any) -> None:
    first, _, key = path.partition(".")
    if key:
        getattr(layer, first)[key] = value
    else:
        setattr(layer, first, value)


class _Number(Listener):
    """Remembers by which statement a function returned."""

    number = 0

    def returned(self, number: int, value: Any) -> Any:
        self.number = number
        return value


def _of_pair(f: Any, backward: Any, inputs: Sequence[Any]) -> Adapted | None:
    """A pair whose backward function takes what the forward function returned; None if it takes the inputs instead."""
    try:
        parameters = list(inspect.signature(backward).parameters.values())
    except (TypeError, ValueError):
        return None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes_inputs = len([p for p in positional if p.default is p.empty]) == 1 + len(inputs)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    out = f(*copy.deepcopy(tuple(inputs)))
    if not isinstance(out, tuple) or (takes_inputs and all(is_number(value_of(part)) for part in out)):
        return None
    try:
        pair = Pair(f, backward)
        arguments = pair.arguments(inputs, {})
        call = pair.plan(Returned.of(out, pair.forward, 0), arguments)
    except (CannotCall, TypeError, OSError):
        return None
    varied = {k: name for k, (name, value) in enumerate(arguments.items()) if is_float_array(value)}

    def results(*values: Any) -> Returned:
        return Returned.of(f(*copy.deepcopy(values)), pair.forward, 0)

    def forward(*values: Any) -> Any:
        parts = results(*values).parts
        return tuple(parts[k] for k in call.outputs)

    def gradient(cotangent: Any, *values: Any) -> Any:
        parts = cotangent if isinstance(cotangent, tuple) else (cotangent,)
        by_name = dict(zip(arguments, values, strict=False))
        given = call.arguments(results(*values), by_name, dict(zip(call.outputs, parts, strict=True)))
        listener = _Number()
        returned = pair.backward.copy(listener)(**given)
        found = given_gradients(pair, varied, returned, listener.number, None)
        lacking = [name for k, name in varied.items() if k not in found]
        if lacking:
            raise ValueError(
                f"check_gradients: {pair.backward.name} gives no gradient that could be told to be that of "
                f"{', '.join(lacking)}; call the variable d{lacking[0]}, or check the pair with "
                "mg.verify.check_backward, which shows what it found"
            )
        return tuple(found[k] for k in varied)

    return Adapted(forward, gradient)
