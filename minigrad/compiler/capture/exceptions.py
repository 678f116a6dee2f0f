"""Exceptions about tracers or about values of this call: raised by the step, or caught by it.

C code does not accept a tracer as an array or a number. An eager step would not raise such an exception, and would not
run the handler:

    try:
        text = json.dumps(loss.item())
    except TypeError:
        text = "unknown"

And an operation may raise for the values of this call and not for those of the next, where no guard tests it:

    try:
        return np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        return np.linalg.cholesky(a + jitter)

The bytecode tells which names are in the expression that raised. If they mean strings, numbers and containers of these,
no tracer took part:

    try:
        scale = int(config.text)
    except ValueError:
        scale = 1
"""

from __future__ import annotations

import builtins
import dis
import queue
import sys
from collections import ChainMap
from collections.abc import Iterator
from contextlib import contextmanager
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, ModuleType, TracebackType
from typing import Any

from minigrad.compiler.follow.user_functions import UNKNOWN, attribute_of
from minigrad.compiler.refusal import (
    MINIGRAD,
    OWN,
    CompileError,
    HiddenAttribute,
    RecordingAborted,
    is_of_library,
    line_in,
)
from minigrad.compiler.trace import traced_builtins
from minigrad.compiler.trace.trace import Trace
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.reach import STANDARD, Reach, is_leaf, package_of
from minigrad.tensor.tensor import Tensor
from minigrad.util.bytecode import GLOBALS, instruction

# Exceptions that depend on names and keys only, which are guarded.
NAMED = (StopIteration, StopAsyncIteration, GeneratorExit, KeyError, NameError, AttributeError)
# Exceptions that do not depend on the type of an operand. Any other may be about a tracer.
ORDINARY = (*NAMED, LookupError, ArithmeticError, OSError, ImportError, queue.Empty, queue.Full)
RECORDING = (MINIGRAD, "<minigrad")  # code that works on tracers
TRACERS = ("TracerArray", "TracedNumber", "TracerGenerator", "GradProbe")
CALLS = ("CALL", "PRECALL")

# Exceptions that the step raises


def is_about_tracers(error: BaseException, numbers: list[Any]) -> bool:
    """Whether an exception may be about a tracer. The step then runs again, eagerly, and raises its own exceptions.

    C code may say anything about a tracer that it does not accept. The user's own code raises with `raise`.
    """
    if isinstance(error, (ValueError, NotImplementedError, BufferError)):
        return _is_about_operands(error)
    if not isinstance(error, (TypeError, AttributeError)):
        return False
    return bool(numbers) or any(name in str(error) for name in TRACERS) or _is_of_c_code(error)


def _is_of_c_code(error: BaseException) -> bool:
    """Whether an exception comes from C code, from Python's library, or from a tracer that hides an attribute."""
    steps = _steps(error.__traceback__)
    name = steps[-1].tb_frame.f_code.co_filename if steps else ""
    if not steps or name.startswith(OWN):  # an eager step raises what the real array or number raises
        return isinstance(error, HiddenAttribute)
    op = instruction(steps[-1].tb_frame.f_code, steps[-1].tb_lasti)
    return is_of_library(name) or name.endswith(".pyx") or op.startswith((*CALLS, "MATCH_CLASS"))


def _is_about_operands(error: BaseException) -> bool:
    """Whether C code raised an exception when a user's code called it with something that is recorded."""
    steps = _steps(error.__traceback__)
    cython = (k for k, x in enumerate(steps) if k and x.tb_frame.f_code.co_filename.endswith(".pyx"))
    steps = steps[: next(cython, None)]
    if not steps or steps[-1].tb_frame.f_code.co_filename.startswith(OWN):
        return False
    frame, offset = steps[-1].tb_frame, steps[-1].tb_lasti
    return instruction(frame.f_code, offset).startswith(CALLS) and not _are_plain(frame, offset)


def _steps(traceback: TracebackType | None) -> list[TracebackType]:
    """The frames through which an exception went, the one that raised it last."""
    steps = []
    while traceback is not None:
        steps.append(traceback)
        traceback = traceback.tb_next
    return steps


# Exceptions that the step catches


class CaughtExceptions:
    """Notes the first exception about something recorded that a step catches."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.refusal: CompileError | None = None
        self.profile = sys.getprofile()

    def on_call(self, frame: FrameType, event: str, _: Any) -> Any:
        """The trace function for new frames, for sys.settrace."""
        if frame.f_code.co_filename.startswith(OWN) or not frame.f_code.co_exceptiontable:
            return None
        frame.f_trace_lines = False
        return self.on_event

    def on_event(self, frame: FrameType, event: str, raised: Any) -> Any:
        """The trace function for a frame that has handlers."""
        if event == "exception" and issubclass(raised[0], RecordingAborted):
            sys.setprofile(self.profile)  # Python removed it when it raised; it watches calls in `finally` too
        elif event == "exception" and self.refusal is None and self.trace.open:
            kind, error, traceback = raised
            if _may_depend_on_arrays(kind, traceback):
                name = AttributeError.__name__ if kind is HiddenAttribute else kind.__name__
                self.refusal = CompileError(
                    f"mg.compile: the step catches {name}: {error}, which may depend on the values of this call, or on "
                    f"a tracer that replaces an array or a number, at {line_in(frame)}\n"
                    "Hint: do it outside of the step."
                )
        return self.on_event


@contextmanager
def watching_exceptions(trace: Trace, reach: Reach) -> Iterator[None]:
    """Watch exceptions that the step catches inside the block, if it can catch any.

    A debugger's or a coverage tool's own trace function is put back afterwards.

    Raises:
        CompileError: it caught one about something recorded. What it did since then, an eager step may not do.
    """
    if not _can_catch(reach):
        yield
        return
    caught, outer = CaughtExceptions(trace), sys.gettrace()
    sys.settrace(caught.on_call)
    try:
        yield
        if caught.refusal is not None:
            raise caught.refusal
    finally:
        if sys.gettrace() == caught.on_call:  # else the step itself has set another one
            sys.settrace(outer)


def _can_catch(reach: Reach) -> bool:
    """Whether code that the step reaches has handlers: the user's, or that of a module of Python's library."""
    return any(_has_handlers(f.__code__) for f in reach.functions) or any(_is_of_python(x) for _, x in reach.refs)


def _is_of_python(x: Any) -> bool:
    """Whether x is a module or function of Python's library that is written in Python."""
    if type(x) is ModuleType:
        return package_of(x) in STANDARD and str(getattr(x, "__file__", "")).endswith(".py")
    return type(x) is FunctionType and package_of(x) in STANDARD


def _has_handlers(code: CodeType) -> bool:
    return bool(code.co_exceptiontable) or any(_has_handlers(x) for x in code.co_consts if isinstance(x, CodeType))


def _may_depend_on_arrays(kind: type[BaseException], traceback: Any) -> bool:
    """Whether an exception may be about the values, or the type, of something that a tracer replaces.

    Whether a `raise` of the user's runs depends on branches, and these are recorded.
    """
    if issubclass(kind, HiddenAttribute):
        return True
    steps = _steps(traceback)
    while len(steps) > 1 and steps[-1].tb_frame.f_code.co_filename == traced_builtins.__file__:
        steps.pop()  # the replacement of int() has called it
    names = [step.tb_frame.f_code.co_filename for step in steps]
    k = max((k for k, name in enumerate(names) if not name.startswith(OWN) and not is_of_library(name)), default=-1)
    frame, offset = (steps[k].tb_frame, steps[k].tb_lasti) if k >= 0 else _caller(steps[0].tb_frame)
    if k == len(steps) - 1 and instruction(frame.f_code, offset).startswith(("RAISE", "RERAISE")):
        return False
    if any(name.startswith(RECORDING) for name in names[k + 1 :]):
        return not issubclass(kind, NAMED)
    ordinary = NAMED if any(name.startswith(OWN) for name in names[k + 1 :]) else ORDINARY
    return not issubclass(kind, ordinary) and not _are_plain(frame, offset)


def _caller(frame: FrameType) -> tuple[FrameType, int]:
    """The frame that has called code of Python's library, and its present instruction."""
    while is_of_library(frame.f_code.co_filename) and frame.f_back is not None:
        frame = frame.f_back
    return frame, frame.f_lasti


# Operands of an expression that raised

# Instructions whose operands are all computed within the source range of the instruction.
SPANNING = ("CALL", "BINARY_", "UNARY_", "COMPARE_OP", "CONTAINS_OP", "GET_ITER", "FOR_ITER")
NAMES = GLOBALS | {"LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_DEREF"}
ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
OTHERS = ("LOAD_", "MAKE_", "COPY", "SWAP", "YIELD", "SEND")  # and LOAD_CONST
SHAPE = frozenset({"shape", "ndim", "dtype", "size"})  # attributes of an array that guards compare
MANY = 10_000  # items of a container that are looked at


def _are_plain(frame: FrameType, offset: int) -> bool:
    """Whether no operand of the user's expression that ends at an instruction is or contains what is recorded."""
    code = list(dis.get_instructions(frame.f_code))
    k = max(k for k, op in enumerate(code) if op.offset <= offset)  # a suspended frame may be behind its call
    if not code[k].opname.startswith(SPANNING):
        return False
    if code[k].opname == "FOR_ITER":  # its source range is the whole loop
        k = max((j for j in range(1, k) if code[j].opname == "GET_ITER"), default=1) - 1
    span = _span(code[k])
    inside = [op for op in code if _is_within(_span(op), span)]
    for j, op in enumerate(inside):
        if op.opname in NAMES:
            value = ChainMap(frame.f_locals, frame.f_globals, vars(builtins)).get(op.argval, UNKNOWN)
            for after in inside[j + 1 :]:
                if after.opname not in ATTRIBUTES:
                    break
                value = _attribute(value, after.argval)
            if not is_plain(value):
                return False
        elif op.opname.startswith(OTHERS) and op.opname not in ATTRIBUTES and op.opname != "LOAD_CONST":
            return False
    return bool(inside)


def _span(op: dis.Instruction) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Where the expression of an instruction begins and ends in the source."""
    at = op.positions
    if at is None or at.lineno is None or at.col_offset is None or at.end_lineno is None or at.end_col_offset is None:
        return None
    return (at.lineno, at.col_offset), (at.end_lineno, at.end_col_offset)


def _is_within(inner: Any, outer: Any) -> bool:
    return None not in (inner, outer) and outer[0] <= inner[0] and inner[1] <= outer[1]


def _attribute(x: Any, name: str) -> Any:
    """An attribute, if no code of the user's decides what it is."""
    if (value := attribute_of(x, name)) is not UNKNOWN:
        return value
    if name in SHAPE and type(x) in (TracerArray, Tensor):
        return None
    return None if is_plain(x) and type(x) is not ModuleType else UNKNOWN  # a method of C code


def is_plain(x: Any, left: int = MANY) -> bool:
    """Whether x is immutable, a container of such objects, or code that takes no part in what is recorded."""
    kind = type(x)  # not isinstance: tracers claim the class of the real object
    if kind in (list, tuple, set, frozenset, dict):
        parts = [*x, *x.values()] if kind is dict else list(x)
        return len(parts) <= left and all(is_plain(y, left // (len(parts) or 1)) for y in parts)
    if kind.__module__ == traced_builtins.__name__:  # replaces float or int while a step is recorded
        return True
    if kind in (FunctionType, BuiltinFunctionType, ModuleType, type):
        owner = getattr(x, "__self__", None)
        is_known = package_of(x) in STANDARD | {"builtins", "numpy"}
        is_known |= getattr(x, "__module__", None) == traced_builtins.__name__
        return is_known or (owner is not None and is_plain(owner, left))
    return x is not UNKNOWN and is_leaf(x)
