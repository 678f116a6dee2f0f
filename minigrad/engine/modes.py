"""no_grad, enable_grad and scope: whether operations are recorded, and under which name."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextvars import ContextVar
from typing import Any, Self, TypeVar, overload

from minigrad.engine.node import mode

F = TypeVar("F", bound=Callable[..., Any])

# The path of scopes while operations are not recorded. While they are, the mode is the path.
_path: ContextVar[str] = ContextVar("minigrad_scope", default="")

State = tuple[str | None, str]  # the values of `mode` and `_path`

# The blocks that are open in this context, each with the state before it.
_blocks: ContextVar[tuple[tuple[_Mode, State], ...]] = ContextVar("minigrad_blocks", default=())


class _Mode:
    """A context manager, also a decorator. It may be entered several times, and by several threads at once.

    Blocks may end in any order, as those in generators do. Blocks that were entered later go on as if this one had
    never been open.
    """

    def _state(self, before: State) -> State:
        """The state inside, from the one outside."""
        raise NotImplementedError

    def __enter__(self) -> None:
        outside = suspended()
        before = outside[0]
        try:
            _blocks.set((*_blocks.get(), (self, before)))
            _set(self._state(before))
        except BaseException:  # an interrupt: the block was not entered
            resumed(outside)
            raise

    def __exit__(self, *exception: Any) -> None:
        blocks = None
        try:
            blocks = _blocks.get()
            resumed(self._outside(blocks))
        except BaseException:  # an interrupt: try again
            resumed(self._outside(_blocks.get() if blocks is None else blocks))
            raise

    def _outside(self, blocks: tuple[tuple[_Mode, State], ...]) -> tuple[State, Any]:
        """The modes after this block has ended, from the blocks that are open."""
        if blocks and blocks[-1][0] is self:
            return blocks[-1][1], blocks[:-1]
        k = next((k for k in reversed(range(len(blocks))) if blocks[k][0] is self), None)
        if k is None:
            return suspended()  # entered in another context, which has ended
        state, later = blocks[k][1], []
        for other, _ in blocks[k + 1 :]:
            later.append((other, state))
            state = other._state(state)
        return state, (*blocks[:k], *later)

    def __call__(self, function: F) -> F:
        """The function with this mode while its body runs: also that of a generator or of a coroutine."""
        run: F = _decorated(function, self)
        return run


def _set(state: State) -> None:
    mode.set(state[0])
    _path.set(state[1])


class _Switch(_Mode):
    """A mode without arguments: `@no_grad` is `@no_grad()`."""

    @overload
    def __new__(cls) -> Self: ...
    @overload
    def __new__(cls, function: F) -> F: ...  # type: ignore[misc]  # as a decorator it returns the function
    def __new__(cls, function: Any = None) -> Any:
        """The mode, or the function with this mode around it."""
        self = super().__new__(cls)
        return self if function is None else self(function)


class no_grad(_Switch):
    """Nothing is recorded inside: `with no_grad():`, `@no_grad()` or `@no_grad`. Leaves may be written in place.

    A decorated generator or coroutine records nothing while its body runs; between its steps the mode is that of its
    caller.
    """

    def _state(self, before: State) -> State:
        return None, before[1] if before[0] is None else before[0]


class enable_grad(_Switch):
    """Operations are recorded inside, also within no_grad: a block, or a decorator with or without parentheses."""

    def _state(self, before: State) -> State:
        return (before[1] if before[0] is None else before[0]), before[1]


class scope(_Mode):
    """Nodes recorded inside belong to this scope: `with mg.scope("encoder"):`. Scopes nest, joined by a slash.

    Printed tapes and pictures group nodes by scope; modules open one for each of their children.
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not name:
            raise ValueError(f"scope: {name!r} is not a name; give a non-empty string")
        self.name = name

    def _state(self, before: State) -> State:
        path = before[1] if before[0] is None else before[0]
        inside = f"{path}/{self.name}" if path else self.name
        return (None, inside) if before[0] is None else (inside, before[1])


def current_scope() -> str:
    """The path of the scopes that are open, "" outside of all."""
    path = mode.get()
    return _path.get() if path is None else path


def open_path() -> tuple[ContextVar[Any], str]:
    """The variable that holds the path of the open scopes, and the path.

    Modules open a scope at every call, without the cost of a context manager: `variable.set(inside)`, and at the end
    `variable.set(path)`.
    """
    path = mode.get()
    return (_path, _path.get()) if path is None else (mode, path)


def is_grad_enabled() -> bool:
    """Whether operations are being recorded."""
    return mode.get() is not None


def suspended() -> tuple[State, Any]:
    """The modes of this context, for `resumed`."""
    return (mode.get(), _path.get()), _blocks.get()


def resumed(modes: tuple[State, Any]) -> None:
    """Restore what `suspended` returned."""
    state, blocks = modes
    _set(state)
    _blocks.set(blocks)


# Functions that run in a mode: plain ones, generators, coroutines and asynchronous generators. The body of a generator
# runs after the call, in pieces, and between them other code runs. So each piece is entered and left separately: before
# it the modes of the body are restored, after it those of the caller.


def _decorated(function: Any, mode: _Mode) -> Any:
    """The function with a mode around its body.

    Raises:
        TypeError: this is not a function.
    """
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(_decorated(function.__func__, mode))
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


def _plain(function: Any, mode: _Mode) -> Any:
    @functools.wraps(function)
    def run(*args: Any, **options: Any) -> Any:
        with mode:
            return function(*args, **options)

    return run


def _generator(function: Any, mode: _Mode) -> Any:
    @functools.wraps(function)
    def run(*args: Any, **options: Any) -> Generator[Any, Any, Any]:
        return (yield from _stepped(function(*args, **options), _Body(mode)))

    return run


def _coroutine(function: Any, mode: _Mode) -> Any:
    @functools.wraps(function)
    async def run(*args: Any, **options: Any) -> Any:
        return await _awaited(function(*args, **options), _Body(mode))

    return run


def _async_generator(function: Any, mode: _Mode) -> Any:
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

    def __init__(self, mode: _Mode) -> None:
        self._mode = mode
        self._inside: Any = None

    def __enter__(self) -> None:
        self._outside = suspended()
        if self._inside is None:
            self._mode.__enter__()
        else:
            resumed(self._inside)

    def __exit__(self, *exception: Any) -> None:
        self._inside = suspended()
        resumed(self._outside)


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
