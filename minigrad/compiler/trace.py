"""The trace: what listening arrays do is carried out on their real arrays and written down as lines of a program.

The first call of a compiled step is step 1: the arrays of the user are changed for real. Until the step has been heard
to its end, a copy of each that is written is kept, so that a refusal leaves everything as it was.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.compiler import access, notes, ufuncs, writes
from minigrad.compiler.layout import elements_in, where_in
from minigrad.compiler.listening import Listening, Memory, Step
from minigrad.compiler.memory import owner, viewed
from minigrad.compiler.opaque import bare, opaque, opaque_line
from minigrad.compiler.program import Buffer, Line, Literal, Place, Value
from minigrad.compiler.refusal import place, refuse
from minigrad.compiler.rules import make

FUNCTIONS: dict[Any, Callable[..., Any]] = {}  # how NumPy functions are heard; filled by functions.py


class Trace:
    """Lines, the buffers that they came from, and the memory of every array that took part."""

    def __init__(self) -> None:
        self.open = True
        self.inputs: list[Line] = []
        self.lines: list[Line] = []
        self.buffers: list[Buffer] = []
        self.generators: list[Any] = []
        self.states: list[Any] = []
        self.memories: dict[int, Memory] = {}  # of arrays that existed before, by id; of arguments by -1 - number
        self.by_owner: dict[int, list[Memory]] = {}  # those of them that are no arguments, by the owner of the bytes
        self.known: dict[int, Listening] = {}  # by the id of the real array
        self.names: dict[int, str] = {}  # of owners
        self.view_names: dict[Listening, str] = {}
        self.before: dict[int, tuple[Memory, Any]] = {}  # what written memories held at first
        self.constants: list[Any] = []  # keeps ids from being used again
        self.promoted: set[str] = set()

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
                self.view_names[found] = name
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
        return self.view_names.get(x) or (buffer.name if buffer else self.names.get(id(x.memory.array), "leaf"))

    def input(self, memory: Memory) -> Value:
        """The first value of an array from outside."""
        if memory.buffer is None:
            memory.buffer = Buffer(self.names.get(id(memory.array), "constant"), "state", memory.array)
            self.buffers.append(memory.buffer)
        line = make("input", buffer=memory.buffer)
        line.out.name = memory.buffer.name
        self.inputs.append(line)
        memory.value = line.out
        return line.out

    def find_constants(self) -> None:
        """When the step is over: arrays that it made without being heard, and that nobody but the trace still holds.

        An index such as np.arange(n) is made anew in each call, with the same content.
        """
        if not hasattr(sys, "getrefcount"):
            return
        probe = self.state(np.empty(1), "constant").memory
        self.input(probe)
        alone = sys.getrefcount(probe.array)
        self.buffers.remove(probe.buffer)
        self.inputs.pop()
        for memory in self.memories.values():
            if memory.buffer is not None and memory.buffer.kind == "state":
                memory.buffer.is_constant = sys.getrefcount(memory.array) <= alone

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
        if np.dtype("f4") in kinds and line.outs[0].dtype == np.float64 and line.op not in ("cast", "call"):
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
            index = self.state(given, "constant").value
            value = self.emit("gather", x.parent.value, index, index=(Place(0),))
            value.name = self.view_names.get(x)
            return value
        key = {"reshape": "shape", "broadcast": "shape", "transpose": "axes", "slice": "bounds"}[op]
        value = self.emit(op, x.parent.value, **{key: given})
        value.name = self.view_names.get(x)
        return value

    memory_after = writes.memory_after

    def operand(self, x: Any) -> Value | Literal:
        """The value of an operand, or the literal."""
        if isinstance(x, Listening):
            if x.trace is not self:
                refuse("an array of another step that is being compiled takes part", "return it from that step")
            return x.value
        if type(x) in (bool, int, float, complex):
            return x  # type: ignore[no-any-return]
        if isinstance(x, np.generic):
            return self.emit("full", shape=(), dtype=x.dtype, value=x.item())
        if not isinstance(x, np.ndarray):
            x = np.asarray(x)
        return self.state(x, "constant").value

    def fresh(self, array: Any, value: Value) -> Listening:
        """A listening array with memory of its own."""
        array = np.asarray(array)
        return Listening(self, array, Memory(array, value))

    def view(self, x: Listening, steps: list[Step]) -> Listening:
        """A view of x; where the real array must be copied for it, one with memory of its own."""
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
        memory = x.memory
        if memory.is_outside and id(memory) not in self.before:
            self.before[id(memory)] = (memory, np.copy(memory.array))
        return x

    # What is heard

    opaque, ufunc = opaque, ufuncs.heard
    getitem, setitem, cast, draw = access.getitem, access.setitem, access.cast, access.draw

    def function(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """A NumPy function that is no ufunc."""
        if not self.open:
            return function(*bare(args), **bare(kwargs))
        if not all(issubclass(kind, (Listening, np.ndarray, np.generic)) for kind in types):
            return NotImplemented
        heard = FUNCTIONS.get(function)
        if heard is not None:
            result = heard(self, *args, **kwargs)
            if result is not NotImplemented:
                return result
        if kwargs.get("out") is not None:
            return self.written(kwargs.pop("out"), function(*args, **kwargs), True)
        return self.opaque(function, args, kwargs)

    def written(self, out: Any, result: Any, mask: Any) -> Any:
        """out, after the result was written into it."""
        target: Any = self.writable(out, "out=")
        np.copyto(target, result, casting="same_kind", where=mask)
        return out

    def undo(self) -> None:
        """Put back what was written, and the generators."""
        for memory, array in reversed(self.before.values()):  # two memories may overlap
            np.copyto(memory.array, array)
        for generator, state in zip(self.generators, self.states, strict=True):
            generator.bit_generator.state = state
