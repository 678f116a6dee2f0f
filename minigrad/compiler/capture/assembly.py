"""Assembly of a recording from a finished trace: the program, its inputs, and memory that several places share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from minigrad.compiler.capture.effects import recipe_of
from minigrad.compiler.capture.recording import Recording
from minigrad.compiler.capture.state import StateCapture
from minigrad.compiler.capture.static_checks import writes_json
from minigrad.compiler.ir.program import Buffer, Program, Value
from minigrad.compiler.ir.view_memory import Memory, owner, sharing
from minigrad.compiler.refusal import CompileError, unsupported, user_line
from minigrad.compiler.trace.generators import GeneratorSlot
from minigrad.compiler.trace.trace import Trace
from minigrad.compiler.trace.tracer_operators import arrays_in
from minigrad.reach import NUMERIC, Row, StateRef, package_of
from minigrad.tensor.tensor import Tensor


def assemble(recording: Recording, trace: Trace, capture: StateCapture, leaves: list[Any], result: Any) -> None:
    """Fill a recording with the program of a call that was recorded to its end, and returned a result with tracers.

    Raises:
        CompileError: no program can do what the call did.
    """
    reach = capture.reach
    capture.drop_unread_gradients()
    recipe = recording.recipe = recipe_of(trace, capture, leaves, result)
    stores = {**recipe.kept, **_stores(trace, capture)}
    base = len(capture.arguments) + len(capture.arrays)
    for buffer in trace.buffers:
        if buffer.place is not None and buffer.place < 0:
            recording.number_arguments.append(~buffer.place)
            buffer.place = base + len(recording.number_arguments) - 1
    check_overlaps(trace)
    trace.check_contents()
    ops = [*trace.inputs, *trace.ops]
    program = Program(ops, trace.buffers, stores, recipe.outputs, trace.generators, recipe.scalars)
    recording.program = program
    recording.rows = [*reach.rows, *trace.contents_read, *layouts(capture), *shared_gradients(capture)]
    recording.numbers, recording.arrays, recording.arguments = capture.numbers, capture.arrays, capture.arguments
    recording.expressions, recording.predicates = trace.expressions, trace.predicates
    recording.tied, recording.is_written = tied(capture), writes_json(reach)
    recording.sharing = sharing([x.value for x in capture.arrays] + leaves)
    recording.owned, recording.objects, recording.keep = capture.owned, reach.held, (reach.seen, capture.owned)
    recording.pinned = {capture.numbers[k].identity for k in trace.pinned}
    read = {op.params["buffer"].place for op in trace.inputs}
    recording.used_arrays = {
        j  # also those of which code may only read the shape
        for j, x in enumerate(capture.arrays)
        if x.number in read or not (isinstance(x.ref.key, str) and x.ref.key not in reach.read)
    }
    number = {id(leaf): k for k, leaf in reversed(list(enumerate(leaves)))}
    recording.grads_read = [
        (ref.holder, None if id(ref.holder) in reach.seen else number[id(ref.holder)], value is None)
        for ref, value in capture.replaced
        if ref.is_grad and id(ref.holder) in capture.grads_read
    ]
    recording.generator_leaves = [
        (g, capture.argument_generators[id(x)])
        for g, x in enumerate(trace.generators)
        if id(x) in capture.argument_generators
    ]
    for g, _ in recording.generator_leaves:
        program.generators[g] = GeneratorSlot(program.generators[g])
    recording.parameters = _roots_of_parameters(capture, stores)
    recording.scratch = {key for key, is_scratch in capture.scratch.items() if is_scratch}


def check_fetched(recording: Recording, capture: StateCapture) -> None:
    """Check that no gradient of a fetched Tensor is read or written: it belongs to the Tensor of this call.

    Raises:
        CompileError: one is. The Tensor must not be fetched then.
    """
    touched = {id(ref.holder) for ref, _, _ in capture.changes if ref.is_grad} | capture.grads_read
    for x in capture.arrays:
        if not x.ref.is_grad and type(x.value) is Tensor and id(x.value) in touched:
            recording.read.add(x.ref.identity)
            recording.again = True
            raise CompileError(
                f"mg.compile: {x.ref.path} is another Tensor from call to call, and the step uses its gradient.\n"
                "Hint: keep the Tensor, and change its data."
            )


def _stores(trace: Trace, capture: StateCapture) -> dict[Buffer, Value]:
    """The buffers that the program writes, with their final values."""
    stores: dict[Buffer, Value] = {}
    for memory in trace.memories.values():
        scratch = capture.scratch.get(id(memory.array), False)
        if memory.buffer is None and memory.version and not scratch:
            memory.buffer = Buffer(trace.names[id(memory.array)], "state", memory.array)
            trace.buffers.append(memory.buffer)
        if memory.buffer is not None and scratch:
            memory.buffer.kind = "scratch"
        if memory.buffer is not None and memory.version and not scratch:
            assert memory.value is not None
            stores[memory.buffer] = memory.value
    return stores


def _roots_of_parameters(capture: StateCapture, stores: dict[Buffer, Value]) -> list[Any]:
    """The written arrays that hold Tensors' data. Tapes that have kept them must notice the change."""
    tensors = {
        id(owner(value))
        for ref, value in capture.reach.refs
        if ref.kind == "slot" and ref.key == "data" and type(value) is np.ndarray
    }
    return [b.array for b in stores if b.kind == "state" and id(owner(b.array)) in tensors]


# Memory that several places share: what must stay shared, and what must not overlap


WORK: Any = 10_000  # candidates in the test whether two arrays share an element; beyond, they are assumed to


def shared_gradients(capture: StateCapture) -> list[Row]:
    """Rows of gradients that were read and that another place holds too: not inputs, so they must not change."""
    rows = []
    for ref, value in capture.replaced:
        if ref.is_grad and id(value) in capture.shared_grads and id(ref.holder) in capture.grads_read:
            rows.append(Row("slots", ref.holder, {"_grad": value}, ref.path))
            rows.append(Row("slots", value, {"data": value.data}, ref.path))
    return rows


def tied(capture: StateCapture) -> list[tuple[int, StateRef]]:
    """Places whose arrays share memory with a fetched array, with its number: they must share it in each call."""
    data = {id(ref.holder): x for ref, x in capture.replaced if ref.key == "data"}  # of Tensors, which hold tracers now

    def array_of(x: Any) -> Any:
        return data.get(id(x), x.data) if type(x) is Tensor else x

    memories = {id(owner(a)): j for j, x in enumerate(capture.arrays) if type(a := array_of(x.value)) is np.ndarray}
    own = {x.ref.identity for x in capture.arrays}
    own |= {(id(x.value), "data") for x in capture.arrays if type(x.value) is Tensor}
    places = []
    for ref, value in capture.reach.refs if memories else ():
        array = array_of(value)
        if type(array) is np.ndarray and ref.identity not in own and id(owner(array)) in memories:
            places.append((memories[id(owner(array))], ref))
        elif ref.identity not in capture.fetched and (isinstance(value, tuple) or _holds_objects(value)):
            inside = {id(owner(x)): x for x in arrays_in(_items(value)) if type(x) is np.ndarray}  # they do not change
            places += [
                (memories[key], StateRef((x,), 0, "index", ref.path)) for key, x in inside.items() if key in memories
            ]
    return places


def _holds_objects(x: Any) -> bool:
    return type(x) is np.ndarray and x.dtype.kind == "O"


def _items(x: Any) -> Any:
    return x.ravel().tolist() if _holds_objects(x) else x


def layouts(capture: StateCapture) -> list[Row]:
    """Rows of shapes, dtypes and writeable flags of the user's arrays, which code can assign.

    Nobody assigns those of Tensors and optimizers. Their writeable flag counts where the step writes them.
    """
    rows = {}
    for ref, value in capture.reach.refs:
        if type(value) is not np.ndarray:
            continue
        is_of_library = type(ref.holder) is Tensor or package_of(type(ref.owner)) == "minigrad"
        if is_of_library and id(value) not in capture.trace.targets:
            continue
        if ".flats." not in ref.path and value.dtype.kind in NUMERIC and ref.identity not in capture.fetched:
            held = value.shape, value.dtype, value.flags.writeable
            rows[id(value)] = Row("layout", value, held, ref.path)
    return list(rows.values())


# Overlaps


def check_overlaps(trace: Trace) -> None:
    """Refuse a step that writes into bytes which it also reads or writes as another array.

    Views of one array share one memory and need no such check. It is for arrays over one buffer from outside NumPy
    (np.frombuffer twice, mmap, ctypes), for views of another dtype (x.real, x.view(int)), and for one array as two
    arguments. Where nothing is written, overlaps are harmless.

    Args:
        trace: the trace of a finished call, as the number of writes into each memory counts.

    Raises:
        CompileError: two memories overlap, and one of them is written; or a constant is a part of an argument.
    """
    spans: list[tuple[int, int, int, Memory]] = []
    for memory in trace.memories.values():
        if (memory.buffer is not None or memory.version) and memory.array.size:
            low, high = byte_bounds(memory.array)
            spans.append((low, high, len(spans), memory))
        if memory.version and overlaps_itself(memory.array):
            unsupported(
                f"the step writes into an array of shape {memory.array.shape} of which several elements are the same "
                "memory",
                "give the step a copy of it",
            )
    spans.sort(key=lambda span: span[:3])
    open_spans: list[tuple[int, Memory]] = []  # those that end behind the beginning of the present one
    for low, high, _, memory in spans:
        open_spans = [(end, other) for end, other in open_spans if end > low]
        for _, other in open_spans:
            if _matters(memory, other) and share(memory.array, other.array):
                _refuse(trace, other, memory)
        open_spans.append((high, memory))


def share(a: Any, b: Any) -> bool:
    """Whether two arrays share bytes; where that is hard to decide, whether they may.

    Example:
        >>> z = np.ones(3, complex)
        >>> share(z.real, z.imag), share(z.real, z)
        (False, True)
    """
    try:
        return bool(np.shares_memory(a, b, max_work=WORK))
    except np.exceptions.TooHardError:
        return True


def overlaps_itself(array: Any) -> bool:
    """Whether two elements of an array share memory, as in broadcast arrays and sliding windows.

    Example:
        >>> overlaps_itself(np.ones((2, 3))[:, ::2]), overlaps_itself(np.broadcast_to(np.ones(3), (2, 3)))
        (False, True)
    """
    if not array.size:
        return False
    reach = array.itemsize  # the bytes that the axes so far take
    for stride, n in sorted((abs(s), n) for s, n in zip(array.strides, array.shape, strict=True) if n > 1):
        if stride < reach:
            return not stride or bool((np.diff(np.sort(_offsets(array), axis=None)) < array.itemsize).any())
        reach += (n - 1) * stride
    return False


def _offsets(array: Any) -> Any:
    """Where each element begins, in bytes."""
    steps = [np.arange(n) * s for n, s in zip(array.shape, array.strides, strict=True)]
    return sum(np.ix_(*steps)) if steps else np.zeros(1)


def _matters(a: Memory, b: Memory) -> bool:
    """Whether an overlap of two memories could be noticed."""
    is_argument = [m.buffer is not None and m.buffer.kind == "argument" for m in (a, b)]
    is_constant = [m.buffer is not None and m.buffer.kind == "state" and m.buffer.name == "constant" for m in (a, b)]
    stale = any(is_argument) and any(is_constant)  # a later call has another argument
    return bool(a.version or b.version or stale)


def _refuse(trace: Trace, a: Memory, b: Memory) -> None:
    names = [m.buffer.name if m.buffer is not None else trace.names.get(id(m.array), "array") for m in (a, b)]
    one, other = (f"{n} ({m.array.shape}, {m.array.dtype})" for n, m in zip(names, (a, b), strict=True))
    error = CompileError(
        f"mg.compile: {one} and {other} share memory, and the step writes into it, at {user_line()}\nHint: "
        "use one array and views of it of the same dtype (x[1:], x.T, x.reshape), or pass a copy of one of them."
    )
    error.again = error.once = True  # an optimizer moves replaced parameters back into its own memory, once
    error.places = {m.buffer.place for m in (a, b) if m.buffer is not None and m.buffer.kind == "argument"}
    raise error
