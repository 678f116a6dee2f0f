"""Exceptions that a recorded step catches itself: of C code, which takes no tracer for an array or a number.

An eager step would not see them, and would not run the handler:

    try:
        text = json.dumps(loss.item())
    except TypeError:
        text = "unknown"
"""

from __future__ import annotations

import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

from minigrad.compiler.artifact import is_raised_by_python
from minigrad.compiler.refusal import OWN, CompileError, place_in
from minigrad.compiler.system import Stopped
from minigrad.compiler.trace import Trace
from minigrad.reach import Reach

# What has nothing to do with the type of an operand: every other exception may be about a tracer.
ORDINARY = (StopIteration, StopAsyncIteration, GeneratorExit, LookupError, NameError, AttributeError, ArithmeticError)
ORDINARY += (OSError, ImportError, queue.Empty, queue.Full)  # type: ignore[assignment]


class Caught:
    """The first exception that C code raised while a step was recorded.

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
            if not issubclass(kind, ORDINARY) and not is_raised_by_python(traceback):
                self.refusal = CompileError(
                    f"mg.compile: the step catches {kind.__name__}: {error}, which an eager step may not see, as a "
                    f"tracer stands for an array or a number, at {place_in(frame)}\nHint: do it outside of the step."
                )
        return self.look

    def check(self) -> None:
        """Whether no such exception was caught.

        Raises:
            CompileError: one was. What the step did since then, an eager step may not do.
        """
        if self.refusal is not None:
            raise self.refusal


@contextmanager
def catching(trace: Trace, reach: Reach) -> Iterator[None]:
    """Look for exceptions that the step catches, if it can catch any.

    A debugger's or a coverage tool's own trace function is put back afterwards.
    """
    caught = Caught(trace)
    if not any(_has_handlers(function.__code__) for function in reach.functions):
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


def _has_handlers(code: CodeType) -> bool:
    return bool(code.co_exceptiontable) or any(_has_handlers(x) for x in code.co_consts if isinstance(x, CodeType))
