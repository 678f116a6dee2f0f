"""Functions that run in a mode: plain ones, generators, coroutines and asynchronous generators.

The body of a generator runs after the call, in pieces, and between them other code runs. So each piece is entered and
left separately: before it the modes of the body are restored, after it those of the caller.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, Protocol


class Mode(Protocol):
    """A context manager, with the state of all modes of this context."""

    def __enter__(self) -> None: ...
    def __exit__(self, *exception: Any) -> None: ...
    def suspended(self) -> Any:
        """The state, for `resumed`."""

    def resumed(self, state: Any) -> None:
        """Restore a state."""


def decorated(function: Any, mode: Mode) -> Any:
    """The function with a mode around its body.

    Raises:
        TypeError: this is not a function.
    """
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(decorated(function.__func__, mode))
    if not callable(function) or isinstance(function, type):
        raise TypeError(
            f"{type(mode).__name__}({function!r}): it decorates functions, or is a block: "
            f"`with mg.{type(mode).__name__}():`"
        )
    wrapper = next((wrap for is_kind, wrap in _KINDS if _is(is_kind, function)), _plain)
    return wrapper(function, mode)


def _is(is_kind: Callable[[Any], bool], function: Any) -> bool:
    call = getattr(function, "__call__", None)  # noqa: B004  (of an object, whose own body it is)
    return is_kind(function) or (not isinstance(function, type) and is_kind(call))


def _plain(function: Any, mode: Mode) -> Any:
    @functools.wraps(function)
    def run(*args: Any, **options: Any) -> Any:
        with mode:
            return function(*args, **options)

    return run


def _generator(function: Any, mode: Mode) -> Any:
    @functools.wraps(function)
    def run(*args: Any, **options: Any) -> Generator[Any, Any, Any]:
        return (yield from _stepped(function(*args, **options), _Body(mode)))

    return run


def _coroutine(function: Any, mode: Mode) -> Any:
    @functools.wraps(function)
    async def run(*args: Any, **options: Any) -> Any:
        return await _awaited(function(*args, **options), _Body(mode))

    return run


def _async_generator(function: Any, mode: Mode) -> Any:
    @functools.wraps(function)
    async def run(*args: Any, **options: Any) -> AsyncGenerator[Any, Any]:
        inner, body = function(*args, **options), _Body(mode)
        step: Any = inner.__anext__
        arguments: tuple[Any, ...] = ()
        try:
            while True:
                try:
                    value = await _awaited(step(*arguments), body)
                except StopAsyncIteration:
                    return
                try:
                    sent = yield value
                    step, arguments = inner.asend, (sent,)
                except GeneratorExit:
                    raise
                except BaseException as error:  # for the body, which may catch it
                    step, arguments = inner.athrow, (error,)
        finally:
            await _awaited(inner.aclose(), body)

    return run


class _Body:
    """The modes inside a body that runs in pieces: `with body:` for each."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._inside: Any = None

    def __enter__(self) -> None:
        self._outside = self._mode.suspended()
        if self._inside is None:
            self._mode.__enter__()
        else:
            self._mode.resumed(self._inside)

    def __exit__(self, *exception: Any) -> None:
        self._inside = self._mode.suspended()
        self._mode.resumed(self._outside)


def _stepped(body: Any, modes_of_body: _Body) -> Generator[Any, Any, Any]:
    """As `yield from body`, each piece in its own modes."""
    step, argument = body.send, None
    try:
        while True:
            try:
                with modes_of_body:
                    value = step(argument)
            except StopIteration as end:
                return end.value
            try:
                argument = yield value
                step = body.send
            except GeneratorExit:
                raise
            except BaseException as error:  # for the body, which may catch it
                step, argument = body.throw, error
    finally:
        with modes_of_body:
            body.close()


@types.coroutine
def _awaited(body: Awaitable[Any], modes_of_body: _Body) -> Generator[Any, Any, Any]:
    """As `await body`, each piece in its own modes."""
    return (yield from _stepped(_Iterated(body), modes_of_body))


class _Iterated:
    """An awaitable, with the methods of a generator."""

    def __init__(self, body: Any) -> None:
        steps = body if hasattr(body, "send") else body.__await__()
        self.send = getattr(steps, "send", lambda value: next(steps))
        self.throw = steps.throw
        self.close = steps.close


_KINDS: tuple[tuple[Callable[[Any], bool], Callable[[Any, Any], Any]], ...] = (
    (inspect.isasyncgenfunction, _async_generator),
    (inspect.iscoroutinefunction, _coroutine),
    (inspect.isgeneratorfunction, _generator),
)
