"""The trace: what tracer arrays do is executed on their real arrays and recorded as ops of a program.

A traced call is a real call: the user's arrays are really changed. Where something cannot be recorded, the trace stops
recording, and the tracer arrays go on as the real arrays that they represent. So the call is right in any case.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import CodeType
from typing import Any, NoReturn

import numpy as np

from minigrad.compiler.follow.flow import NOTHING
from minigrad.compiler.follow.user_functions import is_in_branch
from minigrad.compiler.ir.checks import CLOSE, close_calls, errors_raise
from minigrad.compiler.ir.program import Op, Value
from minigrad.compiler.refusal import CompileError, RecordingAborted, own_hint, stop, user_line
from minigrad.compiler.trace import (
    elements,
    generators,
    recorded_calls,
    traced_number,
)
from minigrad.compiler.trace.functions import FUNCTIONS
from minigrad.compiler.trace.number_arithmetic import pinned
from minigrad.compiler.trace.recorded_calls import opaque
from minigrad.compiler.trace.recorded_program import RecordedProgram
from minigrad.compiler.trace.traced_number import TracedNumber
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.compiler.trace.tracer_operators import bare
from minigrad.engine.tracing import active
from minigrad.reach.guards import Predicate


def _recorded(handler: Callable[..., Any]) -> Any:
    """A method that calls a handler while the trace is open, and computes with real arrays where that fails."""
    without = WITHOUT_RECORDING[handler.__name__]

    def record(trace: Trace, *args: Any, **kwargs: Any) -> Any:
        if not trace.open:
            return without(*args, **kwargs)
        try:  # handlers remove options from dictionaries that the call without recording needs
            return handler(trace, *(dict(x) if type(x) is dict else x for x in args), **kwargs)
        except CompileError as error:
            trace.stop(error)
        except Exception as error:
            trace.let_go()
            result = without(*args, **kwargs)  # raises what an eager step would
            trace.stop(CompileError(f"mg.compile: {type(error).__name__}: {error}, at {user_line()}"))
            return result
        return without(*args, **kwargs)

    return record


WITHOUT_RECORDING: dict[str, Callable[..., Any]] = {
    "recorded": lambda ufunc, method, inputs, options: getattr(ufunc, method)(*bare(inputs), **bare(options)),
    "_function": lambda function, args, kwargs: function(*bare(args), **bare(kwargs)),
    "getitem": lambda x, index: x.mg_array[bare(index)],
    "setitem": lambda x, index, new: x.mg_array.__setitem__(bare(index), bare(new)),
    "cast": lambda x, dtype, casting, copy: x.mg_array.astype(dtype, casting=casting, copy=copy),
    "rewritten": lambda function, x, args, kwargs: function(x.mg_array, *bare(args), **bare(kwargs)),
    "shuffle": lambda generator, x, axis: generator.shuffle(x.mg_array, axis),
    "draw": lambda generator, method, args, kwargs: getattr(generator, method)(*bare(args), **bare(kwargs)),
}


class Trace(RecordedProgram):
    """Records ops, the buffers that they read, and the memory of every array that takes part.

    Args:
        strict: raise where something cannot be recorded, instead of going on without recording.
        annotated: whether each op gets a note of what it is for.
        caller: the code that calls the step.

    Attributes:
        refusal: the first thing that could not be recorded.
        aborted: why the recording was aborted: the step was about to do what it must not.
        generators: those that the program draws from.
        predicates: decisions on numbers that change from call to call.
        pinned: inputs that are constants after all.
        targets: ids of arrays that are written, and of those of which they are views.
        printed: texts that the step prints, with the file and whether to flush.
        is_foreign: whether another thread has used a tracer meanwhile; `is_elsewhere`: or this one, in another context.
        followed: calls that take numbers out of arrays which can be traced.
    """

    def __init__(self, strict: bool = False, annotated: bool = True, caller: CodeType | None = None) -> None:
        super().__init__(annotated)
        self.strict, self.caller = strict, caller
        self.recording = True
        self.refusal: CompileError | None = None
        self.aborted: CompileError | None = None
        self.generators: list[Any] = []
        self.draws = generators.Draws()
        self.predicates: list[Predicate] = []
        self.pinned: set[int] = set()
        self.targets: set[int] = set()
        self.printed: list[tuple[str, Any, bool]] = []
        self.is_foreign = self.is_elsewhere = False
        self.thread = threading.get_ident()
        self.followed = NOTHING
        self.type_builtin: Any = None  # replaces `type`, if anything does

    # Whether it records

    @property
    def open(self) -> bool:
        """Whether what happens now, in this thread, belongs to the program."""
        if not self.recording:
            return False
        if active.get() is self:
            return True
        if not self.is_foreign:
            self.is_foreign = True
            self.is_elsewhere = threading.get_ident() == self.thread
            self.let_go()
        return False

    def stop(self, error: CompileError) -> None:
        """Record nothing from here on, because of this error.

        Raises:
            CompileError: the trace is strict.
        """
        if self.refusal is None:
            self.refusal = error
            error.is_branch = is_in_branch(sys._getframe(1), self.caller)
        self.let_go()
        self.recording = False
        if self.strict:
            raise self.refusal

    def spoil(self, error: CompileError) -> None:
        """Record nothing from here on, where an exception of the user's is about to be raised."""
        if self.open:
            self.refusal = self.refusal or error
            self.let_go()
            self.recording = False

    def close(self) -> None:
        """End the recording after the call, and print what the step has printed."""
        self.recording, self.undo = False, None
        for text, file, flush in self.printed:
            print(text, end="", file=file, flush=flush)

    def abort(self, what: str, hint: str) -> NoReturn:
        """Abort and undo the recording, so that the step runs eagerly: it is about to do what it must not do now.

        Raises:
            RecordingAborted: always.
        """
        if self.aborted is None:
            self.aborted = CompileError(f"mg.compile: {what}\nHint: {hint}.")
            self.aborted.is_branch = is_in_branch(sys._getframe(1), self.caller)
        raise RecordingAborted

    def check_aborted(self) -> None:
        """Raise the reason if the recording was aborted and the step has swallowed the exception.

        Raises:
            CompileError: it has.
        """
        if self.aborted is not None:
            raise self.aborted

    # Decisions

    def decide(self, value: Value, outcome: bool) -> bool:
        """Note a decision of the step, which every later call checks. Returns the outcome.

        Args:
            value: of any dtype, with one element. The decision is whether it differs from 0.
            outcome: the decision now.
        """
        if (hint := own_hint()) is not None:
            stop(self, "the step decides by values of arrays", hint)
        if self.open:
            if value.shape:
                value = self.emit("reshape", value, shape=())
            if value.dtype.kind != "b":
                value = self.emit("not_equal", value, 0)
            for op in close_calls(value):
                self._check_distance(op)
            self.add(Op("check", (value,), {"low": outcome, "high": outcome, "decides": True}, ()))
        return outcome

    def _check_distance(self, op: Op) -> None:
        """Leave a comparison to the step itself where its two sides are closer than roundings move them."""
        x, y = op.ins
        distance = self.emit("absolute", self.emit("subtract", x, y))
        scale = self.emit("add", *(self.emit("absolute", z) if isinstance(z, Value) else abs(z) for z in (x, y)))
        dtype = next(z.dtype for z in op.operands if z.dtype.kind == "f")
        relative, absolute = CLOSE.get(dtype.itemsize, CLOSE[8])
        bound = self.emit("add", self.emit("multiply", scale, relative), absolute)
        is_close = self.emit("less_equal", distance, bound)
        if is_close.shape:
            is_close = self.emit("any", is_close, axes=tuple(range(is_close.ndim)))
        self.add(Op("check", (is_close,), {"low": False, "high": False}, ()))

    # What is recorded

    memory_after, opaque, check = elements.memory_after, opaque, elements.check
    fitted, writable, written = elements.fitted, elements.writable, elements.written
    taken, number = traced_number.taken, traced_number.number
    rewritten, rewrite = elements.rewritten, _recorded(elements.rewritten)
    getitem, setitem, cast = _recorded(elements.getitem), _recorded(elements.setitem), _recorded(elements.cast)
    draw, shuffle = _recorded(generators.draw), _recorded(generators.shuffle)
    _ufunc = _recorded(recorded_calls.recorded)

    def ufunc(self, ufunc: Any, method: str, inputs: Any, options: Any) -> Any:
        """Call a ufunc or one of its methods."""
        if self.open:
            if method == "__call__" and not errors_raise():  # almost every call
                result = recorded_calls.plain(self, ufunc, inputs, options)
                if result is not NotImplemented:
                    return result
            try:
                inputs = traced_number.of_ufunc(self, inputs) if method == "__call__" else pinned(inputs)
            except CompileError as error:
                self.stop(error)
            if errors_raise():
                hint = "put np.errstate around the call of the compiled function, which then runs eagerly"
                stop(self, "floating-point errors raise, and a program ignores them", hint)
        return self._ufunc(ufunc, method, inputs, options)

    def function(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Call a NumPy function that is not a ufunc."""
        if not all(issubclass(kind, (TracerArray, np.ndarray, np.generic, TracedNumber)) for kind in types):
            return NotImplemented
        if any(type(x) is TracedNumber for x in (*args, *kwargs.values())) and self.open:
            args, kwargs = traced_number.of_function(self, function, args, kwargs)
        return self._function(function, args, kwargs)

    @_recorded
    def _function(self, function: Any, args: Any, kwargs: Any) -> Any:
        handler = FUNCTIONS.get(function)
        if handler is not None:
            result = handler(self, *args, **kwargs)
            if result is not NotImplemented:
                return result
        if kwargs.get("out") is not None:
            others = {name: x for name, x in kwargs.items() if name != "out"}
            return self.written(kwargs["out"], function(*args, **others), True)
        return self.opaque(function, args, kwargs)
