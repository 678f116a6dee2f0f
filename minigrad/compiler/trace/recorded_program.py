"""The program that a trace records: its ops, and the arrays that it reads and makes, with the memory of each."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import ArgSlot, Buffer, Literal, Op, Value
from minigrad.compiler.ir.typing import make
from minigrad.compiler.ir.view_memory import Memory, Step, elements_in, owner, viewed, where_in
from minigrad.compiler.refusal import CompileError, unsupported
from minigrad.compiler.trace.provenance import check_promotion, note
from minigrad.compiler.trace.recorded_calls import opaque_op
from minigrad.compiler.trace.traced_number import TracedNumber
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.reach import NUMERIC, Row

PINNED = 1 << 16  # bytes; arrays up to this size may decide, as guards compare their elements


PARAMETER = {"reshape": "shape", "broadcast": "shape", "transpose": "axes", "slice": "bounds"}  # of views
COMPUTED = 1 << 20  # numbers of inputs from here on are those of expressions


class RecordedProgram:
    """Ops, and arrays from outside the step and of its own as tracer arrays, which have names where that is possible.

    Args:
        annotated: whether each op gets a note of what it is for.

    Attributes:
        ops, expressions: of the program, and numbers that are computed before it runs.
        tracers, numbers: weak references to all tracer arrays and traced numbers.
        undo: copies arrays before they are written.
        contents_read, memories_read: arrays whose elements decide, and their memories.
        scalars: identities of places of NumPy scalars, by the id of the memory that represents them.
        inputs, buffers: of the program.
        memories: of arrays that existed before, by id; of arguments by -1 - number.
        by_owner: memories that are not arguments, by the id of the owner of the bytes.
        known: tracers by the id of the real array.
        names, view_names: of owners by id, and of tracers of views by id.
        constants: arrays that are kept alive, as their ids are in use.
        origins: buffers of constants, and the arrays that had their content.
        contents: tracers and content of constants, by the id of the array.
    """

    def __init__(self, annotated: bool) -> None:
        self.annotated = annotated
        self.ops: list[Op] = []
        self.expressions: list[Any] = []
        self.tracers: list[weakref.ref[Any]] = []
        self.numbers: list[weakref.ref[Any]] = []
        self.described: dict[Any, str] = {}  # texts of nodes of the tape
        self.promoted: set[str] = set()  # lines that a warning about float64 has named
        self.undo: Any = None
        self.contents_read: list[Row] = []
        self.memories_read: list[Memory] = []
        self.scalars: dict[int, Any] = {}
        self.inputs: list[Op] = []
        self.buffers: list[Buffer] = []
        self.memories: dict[int, Memory] = {}
        self.by_owner: dict[int, list[Memory]] = {}
        self.known: dict[int, TracerArray] = {}
        self.names: dict[int, str] = {}
        self.view_names: dict[int, str] = {}
        self.constants: list[Any] = []
        self.origins: list[tuple[Buffer, weakref.ref[Any]]] = []
        self.contents: dict[int, tuple[TracerArray, bytes]] = {}

    # Ops and values

    def emit(self, name: str, *ins: Value | Literal, **params: Any) -> Value:
        """Make an op and add it."""
        return self.add(make(name, *ins, **params)).out

    def add(self, op: Op) -> Op:
        """Add an op, with a note of what it is for."""
        if self.annotated:
            op.note = note(self.described)
        self.ops.append(op)
        if self.annotated:  # a recording that confirms another one has warned before
            check_promotion(op, self.promoted)
        return op

    def present(self, x: TracerArray) -> Value:
        """The present value of an array."""
        if x.mg_parent is None:
            return self.input(x.mg_memory) if x.mg_memory.value is None else x.mg_memory.value
        assert x.mg_step is not None
        name, params = x.mg_step
        if name == "call":
            return opaque_op(self, *params, x.mg_array).out
        if name == "elements":
            index = self.constant(params).mg_value
            value = self.emit("gather", x.mg_parent.mg_value, index, index=(ArgSlot(0),))
        else:
            form = x.mg_array.shape, x.mg_array.dtype
            value = self.add(Op(name, (x.mg_parent.mg_value,), {PARAMETER[name]: params}, (form,))).outs[0]
        value.name = self.view_names.get(id(x))
        return value

    def operand(self, x: Any) -> Value | Literal:
        """The value of an operand, or the literal."""
        if isinstance(x, TracerArray):
            if x.mg_trace is not self:
                unsupported("the step uses an array of another step that is being compiled", "return it from that step")
            return x.mg_value
        if type(x) in (bool, int, float, complex):
            return x
        if type(x) is TracedNumber:
            return x.mg_value
        if isinstance(x, np.generic):
            return self.emit("full", shape=(), dtype=x.dtype, value=x.item())
        return self.constant(x if isinstance(x, np.ndarray) else np.asarray(x)).mg_value

    def computed(self, expression: Any, real: Any) -> Value:
        """An input that Python computes from the numbers of a call: integers of any size, and their quotients."""
        buffer = Buffer("number", "argument", np.asarray(real), place=~(COMPUTED + len(self.expressions)))
        self.expressions.append(expression)
        self.buffers.append(buffer)
        return self.input_of(buffer)

    def fresh(self, array: Any, value: Value) -> TracerArray:
        """A tracer array with its own memory."""
        is_scalar = isinstance(array, np.generic)
        array = np.asarray(array)
        if array.dtype.kind not in NUMERIC:
            unsupported(f"an array of {array.dtype} is made", "compute with numbers inside of the step")
        tracer = TracerArray(self, array, Memory(array, value))
        tracer.mg_is_scalar = is_scalar
        return tracer

    def view(self, x: TracerArray, steps: list[Step], another: bool = False) -> TracerArray:
        """A view of x; an array with its own memory where NumPy must copy the real array for it.

        Without steps it is x itself, unless another array is asked for.
        """
        if x.mg_is_scalar and (steps or another):  # an array made of a scalar has its own memory
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

    # Arrays from outside

    def remember(self, x: TracerArray) -> None:
        """The real array of x may be written from here on: copy its content, if that has not been done yet."""
        if self.undo is not None:
            self.undo.keep(x)

    def let_go(self) -> None:
        """Any array from outside may be written unnoticed from here on: copy them all."""
        if self.undo is not None:
            self.undo.keep_all()

    def pin_array(self, x: TracerArray) -> bool:
        """Let the elements of an array of the state decide about the program: guards compare them before each call.

        Returns False for an array that the step computes, got as an argument or has written, which differs from call to
        call.
        """
        memory = x.mg_memory
        is_state = memory.is_outside and (memory.buffer is None or memory.buffer.kind == "state")
        if not is_state or memory.version or x.mg_array.nbytes > PINNED:
            return False
        self.remember(x)
        self.contents_read.append(Row("content", x.mg_array, x.mg_array.tobytes(), self.name_of(x)))
        self.memories_read.append(memory)
        return True

    def check_contents(self) -> None:
        """Check that no array whose elements were read in Python was also written there, which is not recorded.

        Raises:
            CompileError: one was written.
        """
        for row, memory in zip(self.contents_read, self.memories_read, strict=True):
            if not memory.version and row.holder.tobytes() != row.held:
                raise CompileError(
                    f"mg.compile: {row.path} of shape {row.holder.shape} is written in Python, by way of np.asarray or "
                    "np.nditer.\nHint: write x[...] = values."
                )

    def state(self, array: Any, name: str) -> TracerArray:
        """The tracer array for one of the user's arrays: always the same for the same array."""
        tracer = self.known.get(id(array))
        if tracer is None:
            memory, steps = self._located(array)
            root = memory.array
            if not steps or id(root) not in self.names:
                self.names[id(root)] = name
            tracer = TracerArray(self, root, memory)
            for step in steps:
                part = array if step[0] == "elements" else viewed(tracer.mg_array, step)
                tracer = TracerArray(self, part, memory, tracer, step)
            tracer.mg_array = array
            self.known[id(array)] = tracer
            self.constants.append(array)
            if steps:
                self.view_names[id(tracer)] = name
        return tracer

    def _located(self, array: Any) -> tuple[Memory, list[Step]]:
        """The memory of an array, and the steps to the array from the one that represents the memory.

        That is the owner of the bytes, or the first array that was met of another dtype.
        """
        root = owner(array)
        alike = [memory for memory in self.by_owner.get(id(root), ()) if memory.array is not root]
        for known in (root, *(memory.array for memory in alike)):
            steps = where_in(array, known)
            if steps is None and (parts := elements_in(array, known)) is not None:
                steps = [*parts[0], ("elements", parts[1])]
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

    def argument(self, array: Any, name: str, number: int) -> TracerArray:
        """The tracer array for an argument, which is another array in each call.

        Each argument has its own memory, also where two are the same array, for which `check_overlaps` tests.
        """
        memory = Memory(array, None, Buffer(name, "argument", array, number), is_outside=True)
        self.buffers.append(memory.buffer)
        self.memories[-1 - number] = memory
        tracer = self.known[id(array)] = TracerArray(self, array, memory)
        self.constants.append(array)
        return tracer

    def name_of(self, x: TracerArray) -> str:
        """The name of an array from outside."""
        buffer = x.mg_memory.buffer
        return self.view_names.get(id(x)) or (buffer.name if buffer else self.names.get(id(x.mg_memory.array), "leaf"))

    def input(self, memory: Memory) -> Value:
        """The first value of an array from outside."""
        if memory.buffer is None:
            memory.buffer = Buffer(self.names.get(id(memory.array), "constant"), "state", memory.array)
            self.buffers.append(memory.buffer)
        memory.value = self.input_of(memory.buffer)
        return memory.value

    def constant(self, array: Any) -> TracerArray:
        """The tracer array for an array that the step got from an unknown place: it is identified by its content.

        An index such as np.arange(n) is another array in each call, with the same content.
        """
        if id(array) in self.known or id(owner(array)) in self.by_owner:
            return self.state(array, "constant")
        known, content = self.contents.get(id(array)), array.tobytes()
        if known is None or known[1] != content:
            copy = np.array(array, order="C")
            buffer = Buffer("constant", "state", copy, is_constant=True)
            self.origins.append((buffer, weakref.ref(array)))
            self.buffers.append(buffer)
            known = self.contents[id(array)] = TracerArray(self, copy, Memory(copy, None, buffer)), content
            self.constants.append(array)
        return known[0]

    def input_of(self, buffer: Buffer) -> Value:
        """The first value of a buffer."""
        op = make("input", buffer=buffer)
        op.out.name = buffer.name
        self.inputs.append(op)
        return op.out
