"""A forward and a backward function, and how one is called with what the other returned."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.verify.pairs.gradient_names import is_upstream, squeeze, values_named_by
from minigrad.verify.pairs.instrument import Listener, Written

Array = Any


class CannotCall(TypeError):
    """It is not clear how to call the backward function."""


@dataclass
class Returned:
    """What the forward function returned: its parts, and their names where they have one."""

    parts: list[Any]
    names: list[str]  # "" for an expression

    @classmethod
    def of(cls, value: Any, written: Written, number: int) -> Returned:
        """The parts of a returned value."""
        parts = list(value) if isinstance(value, tuple) else [value]
        statement = written.returns[number] if written.returns else None
        has_names = statement is not None and len(statement.parts) == len(parts)
        names = [(statement.path(k) or "") if has_names and statement else "" for k in range(len(parts))]
        return cls(parts, [name.rpartition(".")[2] for name in names])


class Pair:
    """A forward and a backward function, or two methods of a class.

    Args:
        forward: a function, a bound method, or an object with the methods `forward` and `backward`.
        backward: a function or a bound method; None if `forward` is an object.

    Raises:
        TypeError: one of them is not a Python function whose source is available.
    """

    def __init__(self, forward: Any, backward: Any = None) -> None:
        if backward is None:
            if not (hasattr(forward, "forward") and hasattr(forward, "backward")):
                raise TypeError(
                    f"check_backward({_shown(forward)}): give a forward and a backward function, or an object with "
                    "both methods"
                )
            if isinstance(forward, type):
                raise TypeError(
                    f"check_backward({forward.__name__}): give an object, {forward.__name__}(...), not the class"
                )
            forward, backward = forward.forward, forward.backward
        self.owner = getattr(forward, "__self__", None)
        self.forward, self.backward = _written(forward, "forward", True), _written(backward, "backward")
        self.has_self = self.owner is not None and not isinstance(self.owner, type)
        self.backward_has_self = getattr(backward, "__self__", None) is not None
        self.name = self.backward.name if not self.has_self else f"{type(self.owner).__name__}.{self.backward.name}"
        parameters = list(inspect.signature(self.forward.function).parameters.values())
        self.parameters = parameters[1:] if self.has_self else parameters

    def arguments(self, args: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Any]:
        """The forward function's arguments by parameter, with defaults.

        Raises:
            TypeError: they do not fit its signature.
        """
        signature = inspect.Signature([p.replace(annotation=p.empty) for p in self.parameters])
        try:
            bound = signature.bind(*args, **options)
        except TypeError as error:
            raise TypeError(f"{self.forward.name}{signature}: {error}") from None
        bound.apply_defaults()
        return dict(bound.arguments)

    def call_forward(self, listener: Listener, arguments: Mapping[str, Any], owner: Any) -> Any:
        """Call a copy of the forward function that reports to a listener."""
        bound = inspect.BoundArguments(inspect.Signature(self.parameters), dict(arguments))
        first = (owner,) if self.has_self else ()
        return self.forward.copy(listener)(*first, *bound.args, **bound.kwargs)

    def plan(self, returned: Returned, values: Mapping[str, Any]) -> BackwardCall:
        """How the backward function is called.

        Args:
            returned: what the forward function returned.
            values: the forward function's arguments and values, by name.

        Raises:
            CannotCall: a parameter of the backward function has no clear meaning.
        """
        return BackwardCall.of(self, returned, values)


def _written(function: Any, role: str, with_parts: bool = False) -> Written:
    try:
        return Written(function, with_parts)
    except OSError as error:
        raise TypeError(
            f"check_backward: the source of the {role} function {_shown(function)} is not available; define it in a "
            "file or in a cell of a notebook"
        ) from error


def _shown(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


@dataclass
class BackwardCall:
    """The meaning of each parameter of a backward function.

    Attributes:
        cotangents: by parameter, the place of the returned value whose gradient it is.
        returned: by parameter, the place of the returned value that it is, such as the cache.
        values: by parameter, the name of a value of the forward function.
        outputs: the places of the returned values that are results of the forward function.
    """

    pair: Pair
    cotangents: dict[str, int]
    returned: dict[str, int]
    values: dict[str, str]
    outputs: list[int]

    @classmethod
    def of(cls, pair: Pair, result: Returned, values: Mapping[str, Any]) -> BackwardCall:
        """See Pair.plan."""
        parameters = list(inspect.signature(pair.backward.function).parameters.values())
        if pair.backward_has_self:
            parameters = parameters[1:]
        required = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        defaults = {p.name for p in parameters if p.default is not p.empty}
        is_result = [is_number(part) for part in result.parts]
        call = cls(pair, {}, {}, {}, [])
        squeezed = {squeeze(name): k for k, name in enumerate(result.names) if name}
        for name in required:
            place = squeezed.get(squeeze(name))
            if place is not None and place not in call.returned.values():
                call.returned[name] = place
                continue
            named = next((squeezed[v] for v in values_named_by(name) if v in squeezed), None)
            if named is not None and is_result[named] and name not in values:
                call.cotangents[name] = named
        # A returned array that the backward function takes as it is may be the cache, or a result.
        caches = {k for name, k in call.returned.items() if _is_cache(name, result.names[k])}
        rest = [name for name in required if name not in call.cotangents and name not in call.returned]
        free = [
            k for k, ok in enumerate(is_result)
            if ok and k not in call.cotangents.values() and k not in caches
        ]  # fmt: skip
        for name in list(rest):
            if name in values:
                call.values[name] = name
            elif is_upstream(name) and free:
                call.cotangents[name] = free.pop(0)
            else:
                continue
            rest.remove(name)
        unused = [k for k in range(len(is_result)) if k not in {*call.cotangents.values(), *call.returned.values()}]
        containers = [k for k in unused if not is_result[k]]
        for name in list(rest):
            by_squeezed = next((v for v in values if squeeze(v) == squeeze(name)), None)
            if by_squeezed is not None:
                call.values[name] = by_squeezed
            elif containers:
                call.returned[name] = containers.pop(0)
            elif name == rest[0] and free and not call.cotangents:
                call.cotangents[name] = free.pop(0)
            elif free and free[-1] not in call.cotangents.values() and len(is_result) > 1:
                call.returned[name] = free.pop()
            elif name in defaults:
                pass
            else:
                raise CannotCall(_unclear(pair, name, result, values))
            rest.remove(name)
        taken_as_cache = {
            k
            for name, k in call.returned.items()
            if k not in call.cotangents.values() and _is_cache(name, result.names[k])
        }
        call.outputs = [
            k for k, ok in enumerate(is_result)
            if ok and (k in call.cotangents.values() or (k not in taken_as_cache and k not in call.returned.values()))
        ]  # fmt: skip
        if not call.outputs:
            call.outputs = [k for k, ok in enumerate(is_result) if ok][:1]
        if not call.outputs:
            raise CannotCall(
                f"{pair.forward.name} returned {_described(result)}; its result must be an array of floating-point "
                "numbers, or one number"
            )
        if call.cotangents:
            call.outputs = [k for k in call.outputs if k in call.cotangents.values()]
        return call

    @property
    def is_unit(self) -> bool:
        """Whether the backward function takes no upstream gradient, as that of a loss: it is 1."""
        return not self.cotangents

    def arguments(
        self, returned: Returned, values: Mapping[str, Any], cotangents: Mapping[int, Array]
    ) -> dict[str, Any]:
        """The backward function's arguments by parameter, which it may write to."""
        memo: dict[int, Any] = {}  # one memory for what the forward function put into the cache twice
        arguments: dict[str, Any] = {}
        for name, k in self.cotangents.items():
            arguments[name] = _own(cotangents[k])
        for name, k in self.returned.items():
            arguments[name] = copy.deepcopy(returned.parts[k], memo)
        for name, value in self.values.items():
            arguments[name] = copy.deepcopy(values[value], memo)
        return arguments


def _own(cotangent: Any) -> Any:
    """A cotangent that the backward function may write to: a number for an array without axes."""
    if not isinstance(cotangent, np.ndarray):  # a Tensor, where the function is differentiated itself
        return cotangent
    return np.array(cotangent) if cotangent.ndim else float(cotangent)


def _is_cache(parameter: str, name: str) -> bool:
    return "cache" in parameter.lower() or "cache" in name.lower() or "saved" in name.lower() or "ctx" in name.lower()


def _unclear(pair: Pair, name: str, result: Returned, values: Mapping[str, Any]) -> str:
    return (
        f"{pair.backward.name}: the parameter {name!r} is neither the gradient of a result of {pair.forward.name}, which "
        f"returned {_described(result)}, nor one of its values {', '.join(values)}. Call it after what it is: dout for "
        "the gradient of the result out, cache for what the forward function returned with it, or the value's name"
    )


def _described(result: Returned) -> str:
    parts = []
    for part, name in zip(result.parts, result.names, strict=True):
        kind = f"an array of shape {part.shape}" if isinstance(part, np.ndarray) else f"a {type(part).__name__}"
        parts.append(f"{name} ({kind})" if name else kind)
    return ", ".join(parts)


def is_float_array(x: Any) -> bool:
    """Whether x is an array, or a NumPy scalar, of floating-point numbers."""
    return getattr(getattr(x, "dtype", None), "kind", "") == "f"


def is_number(value: Any) -> bool:
    """Whether a value is an array of floating-point numbers, or one such number."""
    return is_float_array(value) or isinstance(value, (float, np.floating))


Function = Callable[..., Any]
