"""no_grad, enable_grad and scope: whether operations are recorded, and under which name."""

from __future__ import annotations

from contextlib import ContextDecorator
from contextvars import ContextVar, Token
from typing import Any

from minigrad.node import mode

# While operations are recorded, the mode is the path of scopes; while they are not, the path is here.
_path: ContextVar[str] = ContextVar("minigrad_scope", default="")


class _Mode(ContextDecorator):
    """A context manager, also a decorator, that may be entered several times, one inside another."""

    def __init__(self) -> None:
        self._tokens: list[list[Token[Any]]] = []

    def _enter(self) -> list[Token[Any]]:
        raise NotImplementedError

    def __enter__(self) -> None:
        self._tokens.append(self._enter())

    def __exit__(self, *exception: Any) -> None:
        for token in reversed(self._tokens.pop()):
            token.var.reset(token)


class no_grad(_Mode):
    """Nothing is recorded inside: `with no_grad():` or `@no_grad()`. Leaves may be written in place."""

    def _enter(self) -> list[Token[Any]]:
        return [_path.set(current_scope()), mode.set(None)]


class enable_grad(_Mode):
    """Operations are recorded inside, also within no_grad."""

    def _enter(self) -> list[Token[Any]]:
        return [mode.set(current_scope())]


class scope(_Mode):
    """Lines recorded inside belong to this scope: `with mg.scope("encoder"):`. Scopes nest, joined by a slash.

    Printed tapes and pictures group lines by scope; modules open one for each of their children.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        if not isinstance(name, str) or not name:
            raise ValueError(f"scope: {name!r} is not a name; give a non-empty string")
        self.name = name

    def _enter(self) -> list[Token[Any]]:
        return [open_scope(self.name)]


def current_scope() -> str:
    """The path of the scopes that are open, "" outside of all."""
    path = mode.get()
    return _path.get() if path is None else path


def open_scope(name: str) -> Token[Any]:
    """Enter a scope without the cost of a context manager: modules do it at every call.

    Returns:
        A token. `token.var.reset(token)` leaves the scope.
    """
    path = mode.get()
    if path is None:
        path = _path.get()
        return _path.set(f"{path}/{name}" if path else name)
    return mode.set(f"{path}/{name}" if path else name)


def is_grad_enabled() -> bool:
    """Whether operations are being recorded."""
    return mode.get() is not None
