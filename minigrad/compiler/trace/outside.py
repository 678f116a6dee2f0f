"""Arrays from outside a step: the memory of each, and the tracer that represents it."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import Buffer, Op, Value
from minigrad.compiler.ir.typing import make
from minigrad.compiler.ir.view_memory import Memory, Step, elements_in, owner, viewed, where_in
from minigrad.compiler.refusal import CompileError
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.reach import Row

PINNED = 1 << 16  # bytes; arrays up to this size may decide, as guards compare their elements


class OutsideArrays:
    """The arrays that existed before a step, or that it got from unknown places, as tracer arrays with names.

    Attributes:
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

    def __init__(self) -> None:
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
