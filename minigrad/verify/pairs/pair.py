"""A forward and a backward function, and how one is called with what the other returned."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
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
        backward: a function or a bound method; None if `forward` is an object, or returns a loss and its gradients.

    Raises:
        TypeError: one of them is not a Python function whose source is available.
    """

    def __init__(self, forward: Any, backward: Any = None) -> None:
        self.is_one_function = False  # which returns the loss, and then its gradients
        if backward is None:
            if isinstance(forward, type):
                raise TypeError(
                    f"check_backward({forward.__name__}): give an object, {forward.__name__}(...), not the class"
                )
            if hasattr(forward, "forward") and hasattr(forward, "backward"):
                forward, backward = forward.forward, forward.backward
            elif inspect.isroutine(forward):
                backward, self.is_one_function = forward, True
            else:
                raise TypeError(
                    f"check_backward({_shown(forward)}): give a forward and a backward function, one function that "
                    "returns a loss and its gradients, or an object with the methods forward and backward"
                )
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

    def call_forward(
        self, listener: Listener, arguments: Mapping[str, Any], owner: Any, replaced: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a copy of the forward function that reports to a listener; see `Written.copy`."""
        bound = inspect.BoundArguments(inspect.Signature(self.parameters), dict(arguments))
        first = (owner,) if self.has_self else ()
        return self.forward.copy(listener, replaced)(*first, *bound.args, **bound.kwargs)

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
        parameters = parameters[1:] if pair.backward_has_self else parameters
        parameters = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        call = cls(pair, {}, {}, {}, [])
        if pair.is_one_function:
            call.values = {p.name: p.name for p in parameters}
            call.outputs = [0]
            if not is_number(result.parts[0]) or np.ndim(result.parts[0]):
                raise CannotCall(
                    f"{pair.forward.name} returned {_described(result)}; a function that is given alone must return a "
                    "loss, which is one number, and then its gradients"
                )
            return call
        is_result = [is_number(part) for part in result.parts]
        call._find_by_name([p.name for p in parameters], result, values)
        call._find_the_rest(parameters, result, values)
        if call.cotangents:
            call.outputs = sorted(set(call.cotangents.values()))
        else:
            taken = set(call.returned.values())
            call.outputs = [k for k, ok in enumerate(is_result) if ok and k not in taken]
            call.outputs = call.outputs or [k for k, ok in enumerate(is_result) if ok][:1]
        if not call.outputs:
            raise CannotCall(
                f"{pair.forward.name} returned {_described(result)}; its result must be an array of floating-point "
                "numbers, or one number"
            )
        return call

    def _find_by_name(self, names: Sequence[str], result: Returned, values: Mapping[str, Any]) -> None:
        """The parameters that are called after a returned value, after its gradient, or after another value."""
        places = {squeeze(name): k for k, name in enumerate(result.names) if name}
        for name in names:
            place = places.get(squeeze(name))
            of = next((places[v] for v in values_named_by(name) if v in places), None)
            if place is not None and place not in self.returned.values():
                self.returned[name] = place
            elif of is not None and is_number(result.parts[of]) and name not in values:
                self.cotangents[name] = of
        caches = {k for name, k in self.returned.items() if _is_cache(name, result.names[k])}
        for name in names:
            if name in self.returned or name in self.cotangents:
                continue
            free = self._free_results(result, caches)
            if name in values:
                self.values[name] = name
            elif is_upstream(name) and free:
                self.cotangents[name] = free[0]

    def _find_the_rest(
        self, parameters: Sequence[inspect.Parameter], result: Returned, values: Mapping[str, Any]
    ) -> None:
        """The other parameters: what is left of the returned values, a container first."""
        found = {*self.returned, *self.cotangents, *self.values}
        rest = [p for p in parameters if p.name not in found]
        for p in rest:
            used = {*self.cotangents.values(), *self.returned.values()}
            containers = [k for k, part in enumerate(result.parts) if k not in used and not is_number(part)]
            free = self._free_results(result, used)
            same = next((v for v in values if squeeze(v) == squeeze(p.name)), None)
            if same is not None:
                self.values[p.name] = same
            elif containers:
                self.returned[p.name] = containers[0]
            elif p is rest[0] and free and not self.cotangents:
                self.cotangents[p.name] = free[0]
            elif free and len(result.parts) > 1:
                self.returned[p.name] = free[-1]
            elif p.default is p.empty:
                raise CannotCall(_unclear(self.pair, p.name, result, values))

    def _free_results(self, result: Returned, used: set[int]) -> list[int]:
        """The places of returned arrays of which no parameter is the gradient."""
        taken = used | set(self.cotangents.values())
        return [k for k, part in enumerate(result.parts) if is_number(part) and k not in taken]

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
        f"{pair.backward.name}: the parameter {name!r} is neither the gradient of a result of {pair.forward.name} (it "
        f"returned {_described(result)}) nor one of its values {', '.join(values)}. Name it after what it is: dout for "
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
