"""The trace: what tracer arrays do is carried out on their real arrays and written down as lines of a program.

A traced call is a real call: the arrays of the user are changed for real. Where something cannot be recorded, the trace
stops recording and the tracer arrays go on as the real arrays that they stand for, so the call is right in any case.
"""

from __future__ import annotations

import sys
import threading
import warnings
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

import numpy as np

from minigrad.compiler.follow.flow import NOTHING
from minigrad.compiler.ir.checks import CLOSE, close_calls, errors_raise
from minigrad.compiler.ir.program import ArgSlot, Buffer, Literal, Op, Value
from minigrad.compiler.ir.typing import make
from minigrad.compiler.ir.view_memory import Memory, Step, viewed
from minigrad.compiler.refusal import CompileError, Stopped, instead, place, refuse
from minigrad.compiler.trace import access, ufuncs, writes
from minigrad.compiler.trace.generator_states import Draws
from minigrad.compiler.trace.numbers import TracedNumber, pinned
from minigrad.compiler.trace.opaque import arrays_in, bare, opaque, opaque_op
from minigrad.compiler.trace.outside import OutsideArrays
from minigrad.compiler.trace.promotion import check_promotion
from minigrad.compiler.trace.provenance import note
from minigrad.compiler.trace.records import NUMERIC
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.engine.tracing import active
from minigrad.reach import is_leaf
from minigrad.reach.guards import Predicate

DOUBLE = np.dtype(np.float64)
PARAMETER = {"reshape": "shape", "broadcast": "shape", "transpose": "axes", "slice": "bounds"}  # of views
WRITING = frozenset(
    {np.copyto, np.put, np.place, np.putmask, np.put_along_axis, np.fill_diagonal}
)  # and return nothing
# Beside narrower arrays a Python number has their dtype in some functions, and its own in others. Of all that are in
# neither set, such a number is a constant.
WEAK = WRITING | {np.where, np.clip, np.full_like, np.nan_to_num, np.isclose}
STRONG = frozenset({np.searchsorted, np.digitize, np.interp, np.quantile, np.percentile, np.isin, np.append})
COMPUTED = 1 << 20  # numbers of inputs from here on are those of expressions
FUNCTIONS: dict[Any, Callable[..., Any]] = {}  # how NumPy functions are recorded; filled by functions.py


def _recorded(handler: Callable[..., Any]) -> Any:
    """A handler that records what it does if the trace is open, and does it on real arrays in any case."""
    without = WITHOUT[handler.__name__]

    def record(trace: Trace, *args: Any, **kwargs: Any) -> Any:
        if not trace.open:
            return without(*args, **kwargs)
        try:  # handlers take options out of dictionaries that the call without them needs
            return handler(trace, *(dict(x) if type(x) is dict else x for x in args), **kwargs)
        except CompileError as error:
            trace.stop(error)
        except Exception as error:
            trace.let_go()
            result = without(*args, **kwargs)  # raises what the user would see
            trace.stop(CompileError(f"mg.compile: {type(error).__name__}: {error}, at {place()}"))
            return result
        return without(*args, **kwargs)

    return record


WITHOUT: dict[str, Callable[..., Any]] = {
    "recorded": lambda ufunc, method, inputs, options: getattr(ufunc, method)(*bare(inputs), **bare(options)),
    "_function": lambda function, args, kwargs: function(*bare(args), **bare(kwargs)),
    "getitem": lambda x, index: x.mg_array[bare(index)],
    "setitem": lambda x, index, new: x.mg_array.__setitem__(bare(index), bare(new)),
    "cast": lambda x, dtype, casting, copy: x.mg_array.astype(dtype, casting=casting, copy=copy),
    "rewritten": lambda function, x, args, kwargs: function(x.mg_array, *bare(args), **bare(kwargs)),
    "shuffle": lambda generator, x, axis: generator.shuffle(x.mg_array, axis),
    "draw": lambda generator, method, args, kwargs: getattr(generator, method)(*bare(args), **bare(kwargs)),
}


class Trace(OutsideArrays):
    """Ops, the buffers that they came from, and the memory of every array that took part.

    Args:
        strict: raise where something cannot be recorded, instead of going on without recording.
        annotated: whether each op gets a note of what it is for.
    """

    def __init__(self, strict: bool = False, annotated: bool = True) -> None:
        super().__init__()
        self.strict, self.annotated = strict, annotated
        self.recording = True
        self.refusal: Exception | None = None  # the first thing that could not be recorded
        self.targets: set[int] = set()  # ids of arrays that are written, and of those that they are views of
        self.printed: list[tuple[str, Any, bool]] = []  # texts, where to, and whether at once
        self.kind_of: Any = None  # what stands for `type`, if anything does
        self.halted: CompileError | None = None  # what must not have happened
        self.followed = NOTHING  # calls that take numbers out of arrays which can be traced
        self.is_in_branch: Callable[[FrameType | None], bool] = lambda frame: False
        self.is_foreign = False  # whether another thread has used a tracer array meanwhile
        self.is_elsewhere = False  # or this thread has, in another context
        self.thread = threading.get_ident()
        self.predicates: list[Predicate] = []  # decisions on numbers that change from call to call
        self.pinned: set[int] = set()  # inputs that are constants after all
        self.tracers: list[weakref.ref[Any]] = []
        self.expressions: list[Any] = []  # numbers that are computed before the program runs
        self.numbers: list[weakref.ref[Any]] = []  # and traced numbers
        self.ops: list[Op] = []
        self.described: dict[Any, str] = {}  # lines of the tape, in words
        self.generators: list[Any] = []
        self.draws = Draws()
        self.promoted: set[str] = set()

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

    def stop(self, error: Exception) -> None:
        """Record nothing from here on, because of this.

        Raises:
            CompileError: the trace is strict.
        """
        if self.refusal is None:
            self.refusal = error
            if isinstance(error, CompileError):
                error.is_branch = self.is_in_branch(sys._getframe(1))
        self.let_go()
        self.recording = False
        if self.strict:
            raise self.refusal

    def spoil(self, error: Exception) -> None:
        """Record nothing from here on, where the user's own exception is about to be raised."""
        if self.open:
            self.refusal = self.refusal or error
            self.let_go()
            self.recording = False

    def close(self) -> None:
        """The call is over: nothing is recorded any more, and what it printed is printed."""
        self.recording, self.undo = False, None
        for text, file, flush in self.printed:
            print(text, end="", file=file, flush=flush)

    def halt(self, what: str, hint: str) -> NoReturn:
        """Undo the recording, and run the step eagerly: what it does now, it must not do.

        Raises:
            Stopped: always.
        """
        if self.halted is None:
            self.halted = CompileError(f"mg.compile: {what}\nHint: {hint}.")
            self.halted.is_branch = self.is_in_branch(sys._getframe(1))
        raise Stopped

    def check_halted(self) -> None:
        """Whether the recording was not halted.

        Raises:
            CompileError: it was, and something has taken the exception.
        """
        if self.halted is not None:
            raise self.halted

    def pin(self, number: TracedNumber) -> None:
        """A number that changes from call to call is used in a way that makes it a constant."""
        if number.mg_key is not None:
            self.pinned.add(number.mg_key)

    def decide(self, value: Value, outcome: bool) -> bool:
        """What the step decides by a value of the program: a check of every later call. `outcome` itself.

        Args:
            value: of any dtype, with one element: whether it is other than 0 is the decision.
            outcome: how it was decided now.
        """
        if self.open and (hint := instead()) is not None:
            error = f"mg.compile: the step decides by values of arrays, at {place()}\nHint: {hint}."
            self.stop(CompileError(error))
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
        """A comparison whose two sides are closer than roundings move them is left to the step itself."""
        x, y = op.ins
        apart = self.emit("absolute", self.emit("subtract", x, y))
        scale = self.emit("add", *(self.emit("absolute", z) if isinstance(z, Value) else abs(z) for z in (x, y)))
        dtype = next(z.dtype for z in op.operands if z.dtype.kind == "f")
        relative, absolute = CLOSE.get(dtype.itemsize, CLOSE[8])
        bound = self.emit("add", self.emit("multiply", scale, relative), absolute)
        is_close = self.emit("less_equal", apart, bound)
        if is_close.shape:
            is_close = self.emit("any", is_close, axes=tuple(range(is_close.ndim)))
        self.add(Op("check", (is_close,), {"low": False, "high": False}, ()))

    def taken(self, x: TracerArray, frame: FrameType | None, kind: type | None = None) -> Any:
        """The number in an array of one element, traced; None if it cannot be.

        Args:
            x: the array.
            frame: of the user's function that asks for the number.
            kind: float or int if that was called.
        """
        if frame is None or x.size != 1 or not self.open or not self.followed.has(frame):
            return None
        real = x.mg_array.item() if kind is None else kind(x.mg_array.item())
        if type(real) not in (int, float) or x.dtype.itemsize > 8 or x.dtype == np.uint64:
            return None
        try:
            return self.number(x, real)
        except CompileError as error:
            self.stop(error)
            return None

    def number(self, x: TracerArray, real: Any) -> TracedNumber:
        """The number in an array of one element, as a traced one."""
        value = x.mg_value if not x.shape else self.emit("reshape", x.mg_value, shape=())
        if type(real) is int and x.dtype.kind == "f":
            self.add(Op("check", (value,), {"low": -(2.0**62), "high": 2.0**62}, ()))
        dtype = DOUBLE if type(real) is float else np.dtype(np.int64)
        return TracedNumber(
            self, real, None, lambda: value if value.dtype == dtype else self.emit("cast", value, dtype=dtype)
        )

    # Values

    def emit(self, name: str, *ins: Value | Literal, **params: Any) -> Value:
        """Write an op down."""
        return self.add(make(name, *ins, **params)).out

    def add(self, op: Op) -> Op:
        """Write an op down, with a note of what it is for."""
        if self.annotated:
            op.note = note(self.described)
        self.ops.append(op)
        if self.annotated:  # a recording that confirms another one has been told
            check_promotion(op, self.promoted)
        return op

    def present(self, x: TracerArray) -> Value:
        """The value of an array now."""
        if x.mg_parent is None:
            return self.input(x.mg_memory) if x.mg_memory.value is None else x.mg_memory.value
        assert x.mg_step is not None
        name, given = x.mg_step
        if name == "call":
            return opaque_op(self, *given, x.mg_array).out
        if name == "elements":
            index = self.constant(given).mg_value
            value = self.emit("gather", x.mg_parent.mg_value, index, index=(ArgSlot(0),))
            value.name = self.view_names.get(id(x))
            return value
        form = x.mg_array.shape, x.mg_array.dtype
        value = self.add(Op(name, (x.mg_parent.mg_value,), {PARAMETER[name]: given}, (form,))).outs[0]
        value.name = self.view_names.get(id(x))
        return value

    memory_after = writes.memory_after

    def operand(self, x: Any) -> Value | Literal:
        """The value of an operand, or the literal."""
        if isinstance(x, TracerArray):
            if x.mg_trace is not self:
                refuse("an array of another step that is being compiled takes part", "return it from that step")
            return x.mg_value
        if type(x) in (bool, int, float, complex):
            return x  # type: ignore[no-any-return]
        if type(x) is TracedNumber:
            return x.mg_value  # type: ignore[no-any-return]
        if isinstance(x, np.generic):
            return self.emit("full", shape=(), dtype=x.dtype, value=x.item())
        return self.constant(x if isinstance(x, np.ndarray) else np.asarray(x)).mg_value

    def computed(self, expression: Any, real: Any) -> Value:
        """An input of the program that Python computes from its numbers: integers of any size, and their quotients."""
        buffer = Buffer("number", "argument", np.asarray(real), place=~(COMPUTED + len(self.expressions)))
        self.expressions.append(expression)
        self.buffers.append(buffer)
        return self.input_of(buffer)

    def fresh(self, array: Any, value: Value) -> TracerArray:
        """A tracer array with memory of its own."""
        is_scalar = isinstance(array, np.generic)
        if isinstance(array, (str, bytes)) or np.asarray(array).dtype.kind not in NUMERIC:
            refuse(f"an array of {np.asarray(array).dtype} is made", "compute with numbers inside of the step")
        array = np.asarray(array)
        made = TracerArray(self, array, Memory(array, value))
        made.mg_is_scalar = is_scalar
        return made

    def view(self, x: TracerArray, steps: list[Step], another: bool = False) -> TracerArray:
        """A view of x; where the real array must be copied for it, one with memory of its own.

        Without steps x itself, unless another array is asked for.
        """
        if x.mg_is_scalar and (steps or another):  # an array that is made of a scalar has memory of its own
            x = self.fresh(x.mg_array.copy(), self.emit("copy", x.mg_value))
        if another and not steps:
            return TracerArray(self, x.mg_array.view(), x.mg_memory, x, ("reshape", x.shape))
        for step in steps:
            array = viewed(x.mg_array, step)
            if array.size and not np.may_share_memory(array, x.mg_array):
                key = "shape" if step[0] == "reshape" else "axes"
                x = self.fresh(array, self.emit(step[0], x.mg_value, **{key: step[1]}))
            else:
                x = TracerArray(self, array, x.mg_memory, x, step)
        return x

    def fitted(self, x: Any, shape: tuple[int, ...], dtype: Any) -> Value:
        """x as a write takes it: in this shape and dtype."""
        v = self.stored(x, dtype)
        if not isinstance(v, Value):
            return self.emit("full", shape=shape, dtype=np.dtype(dtype), value=v)
        if v.ndim > len(shape):
            v = self.emit("reshape", v, shape=v.shape[v.ndim - len(shape) :])
        if v.dtype != dtype:
            v = self.emit("cast", v, dtype=np.dtype(dtype))
        return v if v.shape == shape else self.emit("broadcast", v, shape=shape)

    def stored(self, x: Any, dtype: Any) -> Value | Literal:
        """What is written into an array of a dtype: a Python number that integers cannot hold is a constant."""
        is_number = type(x) is TracedNumber
        return self.operand(x.mg_pinned() if is_number and not self.holds(np.dtype(dtype), x) else x)

    def writable(self, x: Any, what: str) -> TracerArray:
        """The target of a write, if it is known. What its memory holds is remembered."""
        part = x
        while isinstance(part, TracerArray):
            self.targets.add(id(part.mg_array))
            part = part.mg_parent
        if not isinstance(x, TracerArray):
            refuse(
                f"{what} writes into an array of shape {np.shape(x)} that the compiler was not shown",
                "make it inside the step with np.zeros_like(x, shape=...), or name the object that holds it: "
                "mg.compile(step, state=[...])",
            )
        if x.mg_step is not None and x.mg_step[0] == "call":
            writes.refuse_write()
        if x.mg_memory.buffer is not None and x.mg_memory.buffer.is_constant:
            refuse(
                f"{what} writes into an array of shape {x.shape} that no place holds",
                "make it inside the step with np.zeros_like(x, shape=...)",
            )
        self.remember(x)
        return x

    # What is recorded

    opaque = opaque
    rewritten, rewrite = writes.rewritten, _recorded(writes.rewritten)
    getitem, setitem = _recorded(access.getitem), _recorded(access.setitem)
    cast, draw = _recorded(access.cast), _recorded(access.draw)
    shuffle = _recorded(access.shuffle)
    check, check_index = access.check, access.check_index

    def ufunc(self, ufunc: Any, method: str, inputs: Any, options: Any) -> Any:
        """A ufunc or one of its methods."""
        if self.open:
            if method == "__call__" and not errors_raise():  # almost every call
                made = ufuncs.plain(self, ufunc, inputs, options)
                if made is not NotImplemented:
                    return made
            try:
                inputs = self.weakened(inputs) if method == "__call__" else pinned(inputs)
            except CompileError as error:
                self.stop(error)
            if errors_raise():
                self.stop(
                    CompileError(
                        f"mg.compile: floating-point errors raise at {place()}, and a program ignores them.\nHint: put "
                        "np.errstate around the call of the compiled function, which runs eagerly then."
                    )
                )
        return self._ufunc(ufunc, method, inputs, options)

    _ufunc = _recorded(ufuncs.recorded)

    def weakened(self, operands: Any) -> Any:
        """The operands with arrays in place of traced numbers, in the dtype that a Python number would take."""
        if not any(type(x) is TracedNumber for x in operands):
            return operands
        others = [x.dtype for x in operands if type(x) is not TracedNumber and hasattr(x, "dtype")]
        return tuple(self._weak(x, others) if type(x) is TracedNumber else x for x in operands)

    def _weak(self, number: TracedNumber, dtypes: list[Any]) -> Any:
        """A number beside arrays of some dtypes: an array, or a constant if it is no integer that theirs can hold."""
        dtype = np.result_type(*dtypes, number.real) if dtypes else number.dtype
        return self.array_of(number, dtypes) if self.holds(dtype, number) else number.mg_pinned()

    def holds(self, dtype: Any, number: TracedNumber) -> bool:
        """Whether an integer dtype can hold a number, in every call. NumPy refuses Python numbers that do not fit."""
        if dtype.kind not in "iu" or (dtype == np.int64 and type(number.real) is int):
            return True
        low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        fits = bool(low <= number.real <= high)
        if number.mg_expression is not None:
            return bool(number.mg_decide(lambda n: low <= n <= high))
        if fits:  # the largest float below 2**63 is 2**63 - 1024
            bounds = (low, high) if type(number.real) is int else (float(low), float(np.nextafter(high + 1.0, 0)))
            self.add(Op("check", (number.mg_value,), {"low": bounds[0], "high": bounds[1]}, ()))
        return fits

    def array_of(self, number: TracedNumber, dtypes: list[Any]) -> TracerArray:
        """An array without axes in place of a number, of the dtype that it has beside these."""
        dtype = np.result_type(*dtypes, number.real) if dtypes else number.dtype
        if type(number.real) is int and dtype.kind == "f" and number.mg_expression is not None:
            value = self.computed(_as_float(number.mg_expression), float(number.real))
        else:
            value = number.mg_value
        value = value if value.dtype == dtype else self.emit("cast", value, dtype=dtype)
        return self.fresh(np.asarray(number.real, dtype), value)

    def _without_numbers(self, x: Any, dtypes: list[Any]) -> Any:
        """Arguments of a function: floats become arrays, integers (axes, sizes) constants."""
        if type(x) is TracedNumber:
            return x.mg_pinned() if type(x.real) is int else self.array_of(x, dtypes)
        if type(x) in (tuple, list):
            return type(x)(self._without_numbers(part, dtypes) for part in x)
        if type(x) is dict:
            return {k: self._without_numbers(part, dtypes) for k, part in x.items()}
        return x

    def function(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """A NumPy function that is no ufunc."""
        if not all(issubclass(kind, (TracerArray, np.ndarray, np.generic, TracedNumber)) for kind in types):
            return NotImplemented
        if any(type(x) is TracedNumber for x in (*args, *kwargs.values())) and self.open:
            args, kwargs = self._with_arrays(function, args, kwargs)
        return self._function(function, args, kwargs)

    def _with_arrays(self, function: Any, args: Any, kwargs: Any) -> Any:
        """The arguments with arrays in place of numbers, if the function gives the same of them, else constants."""
        dtypes = [x.dtype for x in arrays_in(args)]
        is_strong = function in STRONG
        if any(dtype.itemsize < DOUBLE.itemsize for dtype in dtypes) and not is_strong and function not in WEAK:
            return pinned(args), pinned(kwargs)
        if function in WRITING and args and hasattr(args[0], "dtype"):
            numbers = [x for x in (*args, *kwargs.values()) if type(x) is TracedNumber]
            if not all(self.holds(args[0].dtype, x) for x in numbers):
                return pinned(args), pinned(kwargs)
        dtypes = [] if is_strong else dtypes
        made = self._without_numbers(args, dtypes), self._without_numbers(kwargs, dtypes)
        if function in WRITING or kwargs.get("out") is not None:
            return made
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                expected, found = function(*bare(args), **bare(kwargs)), function(*bare(made[0]), **bare(made[1]))
            except Exception:  # the call itself says why
                return pinned(args), pinned(kwargs)
        return made if _form(found) == _form(expected) else (pinned(args), pinned(kwargs))

    @_recorded
    def _function(self, function: Any, args: Any, kwargs: Any) -> Any:
        record = FUNCTIONS.get(function)
        if record is not None:
            result = record(self, *args, **kwargs)
            if result is not NotImplemented:
                return result
        if kwargs.get("out") is not None:
            others = {name: x for name, x in kwargs.items() if name != "out"}
            return self.written(kwargs["out"], function(*args, **others), True)
        return self.opaque(function, args, kwargs)

    def written(self, out: Any, result: Any, mask: Any) -> Any:
        """out, after the result was written into it."""
        target: Any = self.writable(out, "out=")
        np.copyto(target, result, casting="same_kind", where=mask)
        return out


def _form(x: Any) -> Any:
    """What arrays, or tuples and lists of them, are like but for their elements."""
    if isinstance(x, (tuple, list)):
        return type(x), [*map(_form, x)]
    return (
        (type(x), x.shape, x.dtype) if isinstance(x, (np.ndarray, np.generic)) else (type(x), x if is_leaf(x) else None)
    )


def _as_float(expression: Any) -> Any:
    def converted(inputs: Any) -> float:
        return float(expression(inputs))

    converted.form = ("float", expression.form)  # type: ignore[attr-defined]
    return converted
