"""no_grad, enable_grad and scope: whether operations are recorded, and under which name."""

from __future__ import annotations

from contextlib import ContextDecorator
from contextvars import ContextVar, Token
from typing import Any

from minigrad.node import mode

# The path of scopes, remembered apart from the mode so that enable_grad inside no_grad finds it again.
_path: ContextVar[str] = ContextVar("minigrad_scope", default="")


class _Mode(ContextDecorator):
    """A context manager, also a decorator, that may be entered several times, one inside another."""

    def __init__(self) -> None:
        self._tokens: list[Token[str | None]] = []

    def _new(self) -> str | None:
        raise NotImplementedError

    def __enter__(self) -> None:
        self._tokens.append(mode.set(self._new()))

    def __exit__(self, *exception: Any) -> None:
        mode.reset(self._tokens.pop())


class no_grad(_Mode):
    """Nothing is recorded inside: `with no_grad():` or `@no_grad()`. Leaves may be written in place."""

    def _new(self) -> None:
        return None


class enable_grad(_Mode):
    """Operations are recorded inside, also within no_grad."""

    def _new(self) -> str:
        return _path.get()


class scope(_Mode):
    """Lines recorded inside belong to this scope: `with mg.scope("encoder"):`. Scopes nest, joined by a slash.

    Printed tapes and pictures group lines by scope; modules open one for each of their children.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        if not isinstance(name, str) or not name:
            raise ValueError(f"scope: {name!r} is not a name; give a non-empty string")
        self.name = name
        self._paths: list[Token[str]] = []

    def __enter__(self) -> None:
        outer = _path.get()
        self._paths.append(_path.set(f"{outer}/{self.name}" if outer else self.name))
        super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        _path.reset(self._paths.pop())

    def _new(self) -> str | None:
        return None if mode.get() is None else _path.get()


def current_scope() -> str:
    """The path of the scopes that are open, "" outside of all."""
    return _path.get()


def open_scope(name: str) -> tuple[Token[str], Token[str | None] | None]:
    """What entering scope(name) does, at a third of the cost: modules do it at every call. close_scope undoes it."""
    outer = _path.get()
    path = f"{outer}/{name}" if outer else name
    return _path.set(path), None if mode.get() is None else mode.set(path)


def close_scope(tokens: tuple[Token[str], Token[str | None] | None]) -> None:
    """Leave the scope that open_scope opened."""
    path, recording = tokens
    _path.reset(path)
    if recording is not None:
        mode.reset(recording)


def is_grad_enabled() -> bool:
    """Whether operations are being recorded."""
    return mode.get() is not None
