"""Pairs of forward and backward functions in a module, found by their names."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from minigrad.verify.pairs.gradient_names import squeeze, values_named_by
from minigrad.verify.pairs.pair import Pair
from minigrad.verify.pairs.sites import path_of

BACKWARD = re.compile(r"^(?P<base>.*?)_?(?:backward|backprop|bwd|grad|gradient)_?(?P<rest>.*)$", re.IGNORECASE)
LOSSES = frozenset(("loss", "cost", "j", "l", "error", "objective", "totalloss", "dataloss", "nll", "mse"))
FORWARD_WORDS = ("forward", "forward_pass", "fwd", "")


class CannotMake(ValueError):
    """An object of a class cannot be made without arguments."""


@dataclass
class Found:
    """A pair in a module: its name, and what makes it."""

    name: str
    make: Callable[[], Pair]
    line: int
    forward_name: str = ""


def pairs_in(namespace: Mapping[str, Any], module: str) -> list[Found]:
    """The pairs that a module defines itself, in the order of its lines: functions, and classes with both methods."""
    found = []
    for name, value in namespace.items():
        if getattr(value, "__module__", None) != module:
            continue
        if inspect.isclass(value) and _defines(value, "forward") and _defines(value, "backward"):
            forward = inspect.unwrap(vars(value).get("forward", value.__init__))
            found.append(Found(name, _class_pair(value), forward.__code__.co_firstlineno))
        elif inspect.isfunction(value):
            forward = _forward_of(name, namespace, module)
            if forward is not None:
                make = lambda forward=forward, value=value: Pair(forward, value)
                found.append(Found(name, make, forward.__code__.co_firstlineno, forward.__name__))
            elif _returns_gradients(value):
                found.append(Found(name, partial(Pair, value), value.__code__.co_firstlineno))
    return sorted(found, key=lambda f: f.line)


def _returns_gradients(function: Any) -> bool:
    """Whether a function returns a loss and then gradients of its parameters, as in `return loss, dW`."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return False
    parameters = {squeeze(name) for name in inspect.signature(function).parameters}
    for node in ast.walk(tree):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and len(node.value.elts) > 1:
            first, *others = (path_of(part) or "" for part in node.value.elts)
            names = {squeezed for path in others for squeezed in values_named_by(path)}
            is_gradient = bool(names & parameters) or any(squeeze(path) in ("grads", "gradients") for path in others)
            return is_gradient and squeeze(first) in LOSSES
    return False


def _defines(cls: type, method: str) -> bool:
    return inspect.isfunction(getattr(cls, method, None))


def _class_pair(cls: Any) -> Callable[[], Pair]:
    def make() -> Pair:
        try:
            return Pair(cls())
        except TypeError as error:
            raise CannotMake(
                f"{cls.__name__}: it cannot be made without arguments ({error}); make an object, "
                f"layer = {cls.__name__}(...), and check it with mg.verify.check_backward(layer, None, x)"
            ) from error

    return make


def _forward_of(name: str, namespace: Mapping[str, Any], module: str) -> Any:
    match = BACKWARD.match(name)
    if match is None:
        return None
    base, rest = match.group("base"), match.group("rest")
    for word in FORWARD_WORDS:
        for candidate in (
            f"{base}_{word}_{rest}",
            f"{base}_{word}{rest}",
            f"{word}_{base}{rest}",
            f"{base}{word}{rest}",
        ):
            other = namespace.get(candidate.strip("_"))
            if inspect.isfunction(other) and other.__module__ == module and candidate.strip("_") != name:
                return other
    return None
