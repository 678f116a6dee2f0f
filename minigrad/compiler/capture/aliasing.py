"""Memory and objects that several places share: what must stay shared, and what must not overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from minigrad.compiler.capture.state import StateCapture
from minigrad.compiler.ir.view_memory import Memory, owner
from minigrad.compiler.refusal import CompileError, unsupported, user_line
from minigrad.compiler.trace.opaque import arrays_in
from minigrad.compiler.trace.trace import Trace
from minigrad.reach import NUMERIC, Row, StateRef, package_of
from minigrad.tensor.tensor import Tensor

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
