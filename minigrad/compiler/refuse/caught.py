"""Exceptions that a recorded step catches itself, and that say something about what it computes.

C code takes no tracer for an array or a number. An eager step would not see such an exception, and would not run the
handler:

    try:
        text = json.dumps(loss.item())
    except TypeError:
        text = "unknown"

And what an operation says about the values of this call it may not say in the next, where no guard asks it again:

    try:
        return np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        return np.linalg.cholesky(a + jitter)
"""

from __future__ import annotations

import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from minigrad.compiler.refusal import MINIGRAD, OWN, CompileError, HiddenAttribute, Stopped, place_in
from minigrad.compiler.refuse.artifact import is_of_library
from minigrad.compiler.refuse.operands import are_plain
from minigrad.compiler.trace import stand_ins
from minigrad.compiler.trace.trace import Trace
from minigrad.reach import Reach, package_of
from minigrad.reach.names import STANDARD
from minigrad.util.bytecode import instruction

# What only names and keys decide, and these are guarded.
NAMED = (StopIteration, StopAsyncIteration, GeneratorExit, KeyError, NameError, AttributeError)
RECORDING = (MINIGRAD, "<minigrad")  # code that works on tracers
# What has nothing to do with the type of an operand: every other exception may be about a tracer.
ORDINARY = (*NAMED, LookupError, ArithmeticError, OSError, ImportError, queue.Empty, queue.Full)


class Caught:
    """The first exception about what is recorded that a step caught.

    Args:
        trace: the trace of the step.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.refusal: CompileError | None = None
        self.profile = sys.getprofile()

    def begin(self, frame: FrameType, event: str, _: Any) -> Any:
        """What sys.settrace calls for each new frame."""
        if frame.f_code.co_filename.startswith(OWN) or not frame.f_code.co_exceptiontable:
            return None
        frame.f_trace_lines = False
        return self.look

    def look(self, frame: FrameType, event: str, raised: Any) -> Any:
        """What happens in a frame that has handlers."""
        if event == "exception" and issubclass(raised[0], Stopped):
            sys.setprofile(self.profile)  # which was taken away when it raised, and looks at calls in `finally` too
        elif event == "exception" and self.refusal is None and self.trace.open:
            kind, error, traceback = raised
            if _may_depend_on_arrays(kind, traceback):
                name = AttributeError.__name__ if kind is HiddenAttribute else kind.__name__
                self.refusal = CompileError(
                    f"mg.compile: the step catches {name}: {error}, which may depend on the values of this call, or on "
                    f"a tracer that stands for an array or a number, at {place_in(frame)}\n"
                    "Hint: do it outside of the step."
                )
        return self.look

    def check(self) -> None:
        """Whether no such exception was caught.

        Raises:
            CompileError: one was. What the step did since then, an eager step may not do.
        """
        if self.refusal is not None:
            raise self.refusal


def _may_depend_on_arrays(kind: type[BaseException], traceback: Any) -> bool:
    """Whether an exception may be about the values, or the type, of what stands for an array or a number.

    What a `raise` of the user's raises depends on branches, and these are recorded.
    """
    if issubclass(kind, HiddenAttribute):
        return True
    steps = []
    while traceback is not None:
        steps.append(traceback)
        traceback = traceback.tb_next
    while len(steps) > 1 and steps[-1].tb_frame.f_code.co_filename == stand_ins.__file__:
        steps.pop()  # what stands for int() has called it
    names = [step.tb_frame.f_code.co_filename for step in steps]
    k = max((k for k, name in enumerate(names) if not name.startswith(OWN) and not is_of_library(name)), default=-1)
    frame, offset = (steps[k].tb_frame, steps[k].tb_lasti) if k >= 0 else _caller(steps[0].tb_frame)
    if k == len(steps) - 1 and instruction(frame.f_code, offset).startswith(("RAISE", "RERAISE")):
        return False
    if any(name.startswith(RECORDING) for name in names[k + 1 :]):
        return not issubclass(kind, NAMED)
    ordinary = NAMED if any(name.startswith(OWN) for name in names[k + 1 :]) else ORDINARY
    return not issubclass(kind, ordinary) and not are_plain(frame, offset)


def _caller(frame: FrameType) -> tuple[FrameType, int]:
    """The frame that has called code of Python's library, and its present instruction."""
    while is_of_library(frame.f_code.co_filename) and frame.f_back is not None:
        frame = frame.f_back
    return frame, frame.f_lasti


@contextmanager
def catching(trace: Trace, reach: Reach) -> Iterator[None]:
    """Look for exceptions that the step catches, if it can catch any.

    A debugger's or a coverage tool's own trace function is put back afterwards.
    """
    caught = Caught(trace)
    if not _can_catch(reach):
        yield
        return
    outer = sys.gettrace()
    sys.settrace(caught.begin)
    try:
        yield
        caught.check()
    finally:
        if sys.gettrace() == caught.begin:  # else the step itself has set another
            sys.settrace(outer)


def _can_catch(reach: Reach) -> bool:
    """Whether code that the step reaches has handlers: the user's, or that of a module of Python's library."""
    if any(_has_handlers(function.__code__) for function in reach.functions):
        return True
    return any(_is_of_python(x) for _, x in reach.refs)


def _is_of_python(x: Any) -> bool:
    """Whether x is code of Python's library that is written in Python."""
    if type(x) is ModuleType:
        return x.__name__.split(".")[0] in STANDARD and str(getattr(x, "__file__", "")).endswith(".py")
    return type(x) is FunctionType and package_of(x) in STANDARD


def _has_handlers(code: CodeType) -> bool:
    return bool(code.co_exceptiontable) or any(_has_handlers(x) for x in code.co_consts if isinstance(x, CodeType))
