"""Arrays from outside of a step: which memory each lies in, and the tracer that stands for it."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from minigrad.compiler.ir.layout import elements_in, where_in
from minigrad.compiler.ir.program import Buffer, Op, Value
from minigrad.compiler.ir.typing import make
from minigrad.compiler.ir.view_memory import Memory, Step, owner, viewed
from minigrad.compiler.refusal import CompileError
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.reach import Row

PINNED = 1 << 16  # bytes of an array whose elements are compared before each call


class OutsideArrays:
    """The arrays that existed before a step, or that it got from no place, as tracer arrays, with their names."""

    def __init__(self) -> None:
        self.undo: Any = None  # copies arrays before they are written
        self.contents_read: list[Row] = []  # arrays whose elements decide
        self.memories_read: list[Memory] = []  # theirs
        self.scalars: dict[int, Any] = {}  # identities of places, by the id of the memory of the NumPy scalar there
        self.inputs: list[Op] = []
        self.buffers: list[Buffer] = []
        self.memories: dict[int, Memory] = {}  # of arrays that existed before, by id; of arguments by -1 - number
        self.by_owner: dict[int, list[Memory]] = {}  # those of them that are no arguments, by the owner of the bytes
        self.known: dict[int, TracerArray] = {}  # by the id of the real array
        self.names: dict[int, str] = {}  # of owners
        self.view_names: dict[int, str] = {}  # by the id of the tracer array, which `known` keeps
        self.constants: list[Any] = []  # keeps ids from being used again
        self.origins: list[tuple[Buffer, weakref.ref[Any]]] = []  # constants, and the arrays that had their content
        self.contents: dict[int, tuple[TracerArray, bytes]] = {}  # of constants, by the id of the array

    def remember(self, x: TracerArray) -> None:
        """The real array of x may be written from here on: what it holds is copied, if that is not done yet."""
        if self.undo is not None:
            self.undo.keep(x)

    def let_go(self) -> None:
        """Any array from outside may be written unseen from here on."""
        if self.undo is not None:
            self.undo.keep_all()

    def pin_array(self, x: TracerArray) -> bool:
        """Let the elements of an array of the state decide about the program: guards compare them before each call.

        False for an array that the step computes, was given or has written: it differs from call to call.
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

    def state(self, array: Any, name: str) -> TracerArray:
        """The tracer array for one of the user's arrays; always the same for the same array."""
        found = self.known.get(id(array))
        if found is None:
            memory, steps = self._located(array)
            root = memory.array
            if not steps or id(root) not in self.names:
                self.names[id(root)] = name
            found = TracerArray(self, root, memory)
            for step in steps:
                part = array if step[0] == "elements" else viewed(found.mg_array, step)
                found = TracerArray(self, part, memory, found, step)
            found.mg_array = array
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

    def argument(self, array: Any, name: str, number: int) -> TracerArray:
        """The tracer array for an argument, which is another array in each call.

        Each argument has a memory of its own, also where two are one array: `check_overlaps` looks at that.
        """
        memory = Memory(array, None, Buffer(name, "argument", array, number), is_outside=True)
        self.buffers.append(memory.buffer)
        self.memories[-1 - number] = memory
        found = self.known[id(array)] = TracerArray(self, array, memory)
        self.constants.append(array)
        return found

    def name_of(self, x: TracerArray) -> str:
        """What an array from outside is called."""
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
            found = self.contents[id(array)] = TracerArray(self, copy, Memory(copy, None, buffer)), content
            self.constants.append(array)
        return found[0]

    def input_of(self, buffer: Buffer) -> Value:
        """The first value of a buffer."""
        op = make("input", buffer=buffer)
        op.out.name = buffer.name
        self.inputs.append(op)
        return op.out
