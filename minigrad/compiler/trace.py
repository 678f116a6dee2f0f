"""The trace: what listening arrays do is carried out on their real arrays and written down as lines of a program.

A traced call is a real call: the arrays of the user are changed for real. Where something cannot be recorded, the trace
stops recording and the tracer arrays go on as the real arrays that they stand for, so the call is right in any case.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.compiler import access, notes, ufuncs, writes
from minigrad.compiler.checks import errors_raise
from minigrad.compiler.context import active
from minigrad.compiler.draws import Draws
from minigrad.compiler.guards import Predicate
from minigrad.compiler.layout import elements_in, where_in
from minigrad.compiler.listening import Listening, Memory, Step
from minigrad.compiler.memory import owner, viewed
from minigrad.compiler.numbers import TracedNumber
from minigrad.compiler.opaque import arrays_in, bare, opaque, opaque_line
from minigrad.compiler.program import Buffer, Line, Literal, Place, Value
from minigrad.compiler.refusal import CompileError, place, refuse
from minigrad.compiler.rules import make
from minigrad.compiler.signature import NUMERIC
from minigrad.reach import Row

PINNED = 1 << 16  # bytes of an array whose elements are compared before each call
FUNCTIONS: dict[Any, Callable[..., Any]] = {}  # how NumPy functions are recorded; filled by functions.py


def _recorded(handler: Callable[..., Any]) -> Any:
    """A handler that records what it does if the trace is open, and does it on real arrays in any case."""
    without = WITHOUT[handler.__name__]

    def record(trace: Trace, *args: Any, **kwargs: Any) -> Any:
        if not trace.open:
            return without(*args, **kwargs)
        try:
            return handler(trace, *args, **kwargs)
        except CompileError as error:
            trace.stop(error)
        except Exception as error:
            result = without(*args, **kwargs)  # raises what the user would see
            trace.stop(CompileError(f"mg.compile: {type(error).__name__}: {error}, at {place()}"))
            return result
        return without(*args, **kwargs)

    return record


WITHOUT: dict[str, Callable[..., Any]] = {
    "heard": lambda ufunc, method, inputs, options: getattr(ufunc, method)(*bare(inputs), **bare(options)),
    "_function": lambda function, args, kwargs: function(*bare(args), **bare(kwargs)),
    "getitem": lambda x, index: x.array[bare(index)],
    "setitem": lambda x, index, new: x.array.__setitem__(bare(index), bare(new)),
    "cast": lambda x, dtype, casting, copy: x.array.astype(dtype, casting=casting, copy=copy),
    "rewritten": lambda function, x, args, kwargs: function(x.array, *bare(args), **bare(kwargs)),
    "draw": lambda generator, method, args, kwargs: getattr(generator, method)(*bare(args), **bare(kwargs)),
}


class Trace:
    """Ops, the buffers that they came from, and the memory of every array that took part.

    Args:
        strict: raise where something cannot be recorded, instead of going on without recording.
    """

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict
        self.recording = True
        self.refusal: Exception | None = None  # the first thing that could not be recorded
        self.is_foreign = False  # whether another thread has used a tracer array meanwhile
        self.predicates: list[Predicate] = []  # decisions on numbers that change from call to call
        self.contents_read: list[Row] = []  # arrays whose elements decide
        self.memories_read: list[Memory] = []  # theirs
        self.scalars: dict[int, Any] = {}  # identities of places, by the id of the memory of the NumPy scalar there
        self.pinned: set[int] = set()  # inputs that are constants after all
        self.tracers: list[weakref.ref[Any]] = []
        self.inputs: list[Line] = []
        self.lines: list[Line] = []
        self.buffers: list[Buffer] = []
        self.generators: list[Any] = []
        self.draws = Draws()
        self.memories: dict[int, Memory] = {}  # of arrays that existed before, by id; of arguments by -1 - number
        self.by_owner: dict[int, list[Memory]] = {}  # those of them that are no arguments, by the owner of the bytes
        self.known: dict[int, Listening] = {}  # by the id of the real array
        self.names: dict[int, str] = {}  # of owners
        self.view_names: dict[int, str] = {}  # by the id of the listening array, which `known` keeps
        self.constants: list[Any] = []  # keeps ids from being used again
        self.origins: list[tuple[Buffer, weakref.ref[Any]]] = []  # constants, and the arrays that had their content
        self.contents: dict[int, tuple[Listening, bytes]] = {}  # of constants, by the id of the array
        self.promoted: set[str] = set()

    @property
    def open(self) -> bool:
        """Whether what happens now, in this thread, belongs to the program."""
        if not self.recording:
            return False
        if active.get() is self:
            return True
        self.is_foreign = True
        return False

    def stop(self, error: Exception) -> None:
        """Record nothing from here on, because of this.

        Raises:
            CompileError: the trace is strict.
        """
        if self.refusal is None:
            self.refusal = error
        self.recording = False
        if self.strict:
            raise self.refusal

    def pin(self, number: TracedNumber) -> None:
        """A number that changes from call to call is used in a way that makes it a constant."""
        if number.key is not None:
            self.pinned.add(number.key)

    def pin_array(self, x: Listening) -> bool:
        """Let the elements of an array of the state decide about the program: guards compare them before each call.

        False for an array that the step computes, was given or has written: it differs from call to call.
        """
        memory = x.memory
        is_state = memory.is_outside and (memory.buffer is None or memory.buffer.kind == "state")
        if not is_state or memory.version or x.array.nbytes > PINNED:
            return False
        self.contents_read.append(Row("content", x.array, x.array.tobytes(), self.name_of(x)))
        self.memories_read.append(memory)
        return True

    def check_contents(self) -> None:
        """No array whose elements were read in Python may have been written there: nobody has recorded that.

        Raises:
            CompileError: one was.
        """
        for row, memory in zip(self.contents_read, self.memories_read, strict=True):
            if not memory.version and row.holder.tobytes() != row.held:
                raise CompileError(
                    f"mg.compile: {row.path} of shape {row.holder.shape} is written in Python, by way of np.asarray or "
                    "np.nditer.\nHint: write x[...] = values."
                )

    # Arrays from outside

    def state(self, array: Any, name: str) -> Listening:
        """The listening array for one of the user's arrays; always the same for the same array."""
        found = self.known.get(id(array))
        if found is None:
            memory, steps = self._located(array)
            root = memory.array
            if not steps or id(root) not in self.names:
                self.names[id(root)] = name
            found = Listening(self, root, memory)
            for step in steps:
                part = array if step[0] == "elements" else viewed(found.array, step)
                found = Listening(self, part, memory, found, step)
            found.array = array
            self.known[id(array)] = found
            self.constants.append(array)
            if steps:
                self.view_names[id(found)] = name
        return found

    def _located(self, array: Any) -> tuple[Memory, list[Step]]:
        """The memory that an array lies in, and the steps to it from the array that the memory is known by.

        That is the owner of the bytes, or the first array that was met among those of another dtype.
        """
        root = owner(array)
        alike = [memory for memory in self.by_owner.get(id(root), ()) if memory.array is not root]
        for known in (root, *(memory.array for memory in alike)):
            steps = where_in(array, known)
            if steps is None and (found := elements_in(array, known)) is not None:
                steps = [*found[0], ("elements", found[1])]
            if steps is not None:
                return self._memory(known), steps
        return self._memory(array), []

    def _memory(self, root: Any) -> Memory:
        memory = self.memories.get(id(root))
        if memory is None:
            memory = self.memories[id(root)] = Memory(root, None, is_outside=True)
            self.by_owner.setdefault(id(owner(root)), []).append(memory)
            self.constants.append(root)
        return memory

    def argument(self, array: Any, name: str, number: int) -> Listening:
        """The listening array for an argument, which is another array in each call.

        Each argument has a memory of its own, also where two are one array: `check_overlaps` looks at that.
        """
        memory = Memory(array, None, Buffer(name, "argument", array, number), is_outside=True)
        self.buffers.append(memory.buffer)
        self.memories[-1 - number] = memory
        found = self.known[id(array)] = Listening(self, array, memory)
        self.constants.append(array)
        return found

    def name_of(self, x: Listening) -> str:
        """What an array from outside is called."""
        buffer = x.memory.buffer
        return self.view_names.get(id(x)) or (buffer.name if buffer else self.names.get(id(x.memory.array), "leaf"))

    def input(self, memory: Memory) -> Value:
        """The first value of an array from outside."""
        if memory.buffer is None:
            memory.buffer = Buffer(self.names.get(id(memory.array), "constant"), "state", memory.array)
            self.buffers.append(memory.buffer)
        memory.value = self.input_of(memory.buffer)
        return memory.value

    # Values

    def emit(self, op: str, *ins: Value | Literal, **params: Any) -> Value:
        """Write a line down."""
        return self.add(make(op, *ins, **params)).out

    def add(self, line: Line) -> Line:
        """Write a line down, with a note of what it is for."""
        line.note = notes.note()
        self.lines.append(line)
        self._check_promotion(line)
        return line

    def _check_promotion(self, line: Line) -> None:
        kinds = {v.dtype for v in line.operands}
        if (
            line.outs
            and np.dtype("f4") in kinds
            and line.outs[0].dtype == np.float64
            and line.op not in ("cast", "call")
        ):
            where = place()
            if where not in self.promoted:
                self.promoted.add(where)
                warnings.warn(
                    f"mg.compile: {line.op} of float32 and {min(map(str, kinds - {np.dtype('f4')}), default='?')} "
                    f"gives float64, at {where}\nIf that is not meant, make the other operand a Python number "
                    "(float(c)) or cast it: c.astype(x.dtype).",
                    stacklevel=2,
                )

    def present(self, x: Listening) -> Value:
        """The value of an array now."""
        if x.parent is None:
            return self.input(x.memory) if x.memory.value is None else x.memory.value
        assert x.step is not None
        op, given = x.step
        if op == "call":
            return opaque_line(self, *given, x.array).out
        if op == "elements":
            index = self.constant(given).value
            value = self.emit("gather", x.parent.value, index, index=(Place(0),))
            value.name = self.view_names.get(id(x))
            return value
        key = {"reshape": "shape", "broadcast": "shape", "transpose": "axes", "slice": "bounds"}[op]
        value = self.emit(op, x.parent.value, **{key: given})
        value.name = self.view_names.get(id(x))
        return value

    memory_after = writes.memory_after

    def operand(self, x: Any) -> Value | Literal:
        """The value of an operand, or the literal."""
        if isinstance(x, Listening):
            if x._trace is not self:
                refuse("an array of another step that is being compiled takes part", "return it from that step")
            return x.value
        if type(x) in (bool, int, float, complex):
            return x  # type: ignore[no-any-return]
        if type(x) is TracedNumber:
            return x.value  # type: ignore[no-any-return]
        if isinstance(x, np.generic):
            return self.emit("full", shape=(), dtype=x.dtype, value=x.item())
        return self.constant(x if isinstance(x, np.ndarray) else np.asarray(x)).value

    def constant(self, array: Any) -> Listening:
        """The tracer array for an array that the step did not get from any place: it is known by its content.

        An index such as np.arange(n) is another array in each call, with the same content.
        """
        if id(array) in self.known or id(owner(array)) in self.by_owner:
            return self.state(array, "constant")
        found = self.contents.get(id(array))
        content = array.tobytes()
        if found is None or found[1] != content:
            copy = np.array(array, order="C")
            buffer = Buffer("constant", "state", copy, is_constant=True)
            self.origins.append((buffer, weakref.ref(array)))
            self.buffers.append(buffer)
            found = self.contents[id(array)] = Listening(self, copy, Memory(copy, None, buffer)), content
            self.constants.append(array)
        return found[0]

    def input_of(self, buffer: Buffer) -> Value:
        """The first value of a buffer."""
        line = make("input", buffer=buffer)
        line.out.name = buffer.name
        self.inputs.append(line)
        return line.out

    def fresh(self, array: Any, value: Value) -> Listening:
        """A listening array with memory of its own."""
        is_scalar = isinstance(array, np.generic)
        if isinstance(array, (str, bytes)) or np.asarray(array).dtype.kind not in NUMERIC:
            refuse(f"an array of {np.asarray(array).dtype} is made", "compute with numbers inside of the step")
        array = np.asarray(array)
        made = Listening(self, array, Memory(array, value))
        made.is_scalar = is_scalar
        return made

    def view(self, x: Listening, steps: list[Step], another: bool = False) -> Listening:
        """A view of x; where the real array must be copied for it, one with memory of its own.

        Without steps x itself, unless another array is asked for.
        """
        if another and not steps:
            return Listening(self, x.array.view(), x.memory, x, ("reshape", x.shape))
        for step in steps:
            array = viewed(x.array, step)
            if array.size and not np.may_share_memory(array, x.array):
                key = "shape" if step[0] == "reshape" else "axes"
                x = self.fresh(array, self.emit(step[0], x.value, **{key: step[1]}))
            else:
                x = Listening(self, array, x.memory, x, step)
        return x

    def fitted(self, x: Any, shape: tuple[int, ...], dtype: Any) -> Value:
        """x as a write takes it: in this shape and dtype."""
        v = self.operand(x)
        if not isinstance(v, Value):
            return self.emit("full", shape=shape, dtype=np.dtype(dtype), value=v)
        if v.ndim > len(shape):
            v = self.emit("reshape", v, shape=v.shape[v.ndim - len(shape) :])
        if v.dtype != dtype:
            v = self.emit("cast", v, dtype=np.dtype(dtype))
        return v if v.shape == shape else self.emit("broadcast", v, shape=shape)

    def writable(self, x: Any, what: str) -> Listening:
        """The target of a write, if it is known. What its memory holds is remembered."""
        if not isinstance(x, Listening):
            refuse(
                f"{what} writes into an array of shape {np.shape(x)} that the compiler was not shown",
                "make it inside the step with np.zeros_like(x, shape=...), or name the object that holds it: "
                "mg.compile(step, state=[...])",
            )
        if x.step is not None and x.step[0] == "call":
            writes.refuse_write()
        if x.memory.buffer is not None and x.memory.buffer.is_constant:
            refuse(
                f"{what} writes into an array of shape {x.shape} that no place holds",
                "make it inside the step with np.zeros_like(x, shape=...)",
            )
        return x

    # What is heard

    opaque = opaque
    rewritten, rewrite = writes.rewritten, _recorded(writes.rewritten)
    getitem, setitem = _recorded(access.getitem), _recorded(access.setitem)
    cast, draw = _recorded(access.cast), _recorded(access.draw)
    check, check_index = access.check, access.check_index

    def ufunc(self, ufunc: Any, method: str, inputs: Any, options: Any) -> Any:
        """A ufunc or one of its methods."""
        if self.open:
            inputs = self.weakened(inputs)
            if errors_raise():
                self.stop(
                    CompileError(
                        f"mg.compile: floating-point errors raise at {place()}, and a program ignores them.\nHint: put "
                        "np.errstate around the call of the compiled function, which runs eagerly then."
                    )
                )
        return self._ufunc(ufunc, method, inputs, options)

    _ufunc = _recorded(ufuncs.heard)

    def weakened(self, operands: Any) -> Any:
        """The operands with arrays in the place of traced numbers, in the dtype that a Python number would take."""
        if not any(type(x) is TracedNumber for x in operands):
            return operands
        others = [x.dtype for x in operands if type(x) is not TracedNumber and hasattr(x, "dtype")]
        return tuple(self._array_of(x, others) if type(x) is TracedNumber else x for x in operands)

    def _array_of(self, number: TracedNumber, dtypes: list[Any]) -> Listening:
        dtype = np.result_type(*dtypes, number.real) if dtypes else number.dtype
        if dtype.kind in "iu" and dtype != np.int64:  # NumPy refuses a Python number that does not fit
            low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
            number.decide(lambda n: low <= n <= high)
        value = number.value
        value = value if value.dtype == dtype else self.emit("cast", value, dtype=dtype)
        return self.fresh(np.asarray(number.real, dtype), value)

    def _without_numbers(self, x: Any, dtypes: list[Any]) -> Any:
        """Arguments of a function: floats become arrays, integers (axes, sizes) constants."""
        if type(x) is TracedNumber:
            return x.pinned() if type(x.real) is int else self._array_of(x, dtypes)
        if type(x) in (tuple, list):
            return type(x)(self._without_numbers(part, dtypes) for part in x)
        if type(x) is dict:
            return {k: self._without_numbers(part, dtypes) for k, part in x.items()}
        return x

    def function(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """A NumPy function that is no ufunc."""
        if not all(issubclass(kind, (Listening, np.ndarray, np.generic, TracedNumber)) for kind in types):
            return NotImplemented
        if any(type(x) is TracedNumber for x in (*args, *kwargs.values())) and self.open:
            dtypes = [x.dtype for x in arrays_in(args)]
            args, kwargs = self._without_numbers(args, dtypes), self._without_numbers(kwargs, dtypes)
        return self._function(function, args, kwargs)

    @_recorded
    def _function(self, function: Any, args: Any, kwargs: Any) -> Any:
        heard = FUNCTIONS.get(function)
        if heard is not None:
            result = heard(self, *args, **kwargs)
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
