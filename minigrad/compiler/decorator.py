"""mg.compile: what users call."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, Concatenate, Never, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, overload

from minigrad.compiler.driver import Compiled
from minigrad.compiler.refusal import CompileError
from minigrad.engine.errors import check_not_called

P = ParamSpec("P")
Q = ParamSpec("Q")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")


class CompiledStep(Protocol[P, R_co]):
    """What type checkers see of a `Compiled`: the function's own parameters and result, also as a method."""

    source: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the step."""

    def __getattr__(self, name: str, /) -> Any: ...
    def explain(self) -> str:
        """The programs of the step: why each exists, its operations after each pass, and its memory."""

    @overload
    def __get__(self, instance: None, owner: Any = None) -> CompiledStep[P, R_co]: ...
    @overload
    def __get__(
        self: CompiledStep[Concatenate[S, Q], R_co], instance: S, owner: Any = None
    ) -> CompiledStep[Q, R_co]: ...


class Options(TypedDict, total=False):
    """Keyword arguments of `compile`, which describes them."""

    state: Iterable[Any]
    limit: int
    backend: str
    fallback: str
    audit: bool
    verify: bool


@overload
def compile(function: Callable[P, R_co], *arguments: Never, **options: Unpack[Options]) -> CompiledStep[P, R_co]: ...
@overload
def compile(
    function: None = None, *arguments: Never, **options: Unpack[Options]
) -> Callable[[Callable[P, R_co]], CompiledStep[P, R_co]]: ...
def compile(
    function: Any = None,
    *arguments: Never,
    state: Iterable[Any] = (),
    limit: int = 8,
    backend: str = "auto",
    fallback: str = "warn",
    audit: bool = True,
    verify: bool = False,
) -> Any:
    """Compile a step: it runs as a program, without the overhead of Python and the tape, and otherwise unchanged.

    Works on any function of Tensors and arrays, also on a whole training step: forward and backward pass, clipping,
    optimizer, running statistics and dropout. Every call returns what the eager function would return and leaves what
    it would leave, up to rounding; a step that cannot be compiled runs eagerly, after one warning that says why and
    where. The first two calls in every state record what the function does; later ones run the recorded program.
    docs/compile.md has the contract.

    Args:
        function: the step.
        *arguments: none; the compiled step takes them.
        state: objects that the step reads or changes and that cannot be found from its closure, globals, bound object
            and arguments.
        limit: how many programs are kept.
        backend: "numpy"; "numba", whose kernels the first calls wait for; "auto" starts with NumPy, compiles kernels
            in the background where numba is installed, and uses them once they are ready.
        fallback: "warn": what cannot be compiled runs eagerly, after one CompileWarning. "raise": it is a CompileError.
        audit: whether now and then a call runs both ways and is compared. An audited call rounds as the eager step
            does, so a run that must be repeated bit by bit needs audit=False.
        verify: prove in exact arithmetic that no optimization changes the program's results.

    Raises:
        ImportError: backend="numba", and numba is not installed.
        CompileError: the function cannot be called; or, with fallback="raise", the step does what cannot be recorded:
            it reads an array's elements in Python, has shapes that depend on values, or writes into an array that
            cannot be reached. Arrays, gradients, attributes and generators are as before the call then.

    Example:
        >>> import numpy as np
        >>> import minigrad as mg
        >>> step = mg.compile(lambda x: (x * x).sum())
        >>> [float(step(np.array([1.0, k]))) for k in (2.0, 3.0, 4.0, 5.0)]
        [5.0, 10.0, 17.0, 26.0]
    """
    check_not_called(arguments, "compile")
    if function is None:
        return functools.partial(
            compile, state=state, limit=limit, backend=backend, fallback=fallback, audit=audit, verify=verify
        )
    if not callable(function):
        raise CompileError(f"mg.compile: {function!r} cannot be called.\nHint: pass a function or module.")
    return Compiled(function, state, limit, backend, fallback, audit, verify)
