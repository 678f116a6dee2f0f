"""Different memories of a step that are the same bytes: seen at the end of a recording, by their addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from minigrad.compiler.refusal import CompileError, place, refuse

if TYPE_CHECKING:
    from minigrad.compiler.ir.view_memory import Memory
    from minigrad.compiler.trace.trace import Trace

WORK: Any = 10_000  # for the question whether two arrays share an element; where that is not enough, they are taken to


def check_overlaps(trace: Trace) -> None:
    """Refuse a step that writes into bytes which it reads or writes as another array as well.

    Views of one array are parts of one memory, and need no such check. This is for arrays over one buffer from outside
    of NumPy (np.frombuffer twice, mmap, ctypes), for views of another dtype (x.real, x.view(int)), and for one array
    as two arguments. If nothing is written there, they do no harm.

    Args:
        trace: a recording whose stores are known: it needs the number of writes of each memory.

    Raises:
        CompileError: two memories overlap, and one of them is written; or a constant is a part of an argument.
    """
    spans: list[tuple[int, int, int, Memory]] = []
    for memory in trace.memories.values():
        if (memory.buffer is not None or memory.version) and memory.array.size:
            low, high = byte_bounds(memory.array)
            spans.append((low, high, len(spans), memory))
        if memory.version and overlaps_itself(memory.array):
            refuse(
                f"the step writes into an array of shape {memory.array.shape} of which several elements are the same "
                "memory",
                "give the step a copy of it",
            )
    spans.sort(key=lambda span: span[:3])
    open_spans: list[tuple[int, Memory]] = []  # those that reach beyond the beginning of the present one
    for low, high, _, memory in spans:
        open_spans = [(end, other) for end, other in open_spans if end > low]
        for _, other in open_spans:
            if _matters(memory, other) and share(memory.array, other.array):
                _refuse(trace, other, memory)
        open_spans.append((high, memory))


def share(a: Any, b: Any) -> bool:
    """Whether two arrays have bytes in common; if that is hard to find out, whether they might.

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
    """Whether two elements of an array are the same memory, as in broadcast arrays and sliding windows.

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
    """Whether it would show that two memories are one."""
    is_argument = [m.buffer is not None and m.buffer.kind == "argument" for m in (a, b)]
    is_constant = [m.buffer is not None and m.buffer.kind == "state" and m.buffer.name == "constant" for m in (a, b)]
    stale = any(is_argument) and any(is_constant)  # a later call has another argument
    return bool(a.version or b.version or stale)


def _refuse(trace: Trace, a: Memory, b: Memory) -> None:
    names = [m.buffer.name if m.buffer is not None else trace.names.get(id(m.array), "array") for m in (a, b)]
    told = [f"{n} ({m.array.shape}, {m.array.dtype})" for n, m in zip(names, (a, b), strict=True)]
    error = CompileError(
        f"mg.compile: {told[0]} and {told[1]} lie in the same memory, and the step writes into it, at {place()}\nHint: "
        "use one array and views of it of the same dtype (x[1:], x.T, x.reshape), or pass a copy of one of them."
    )
    error.again = error.once = True  # an optimizer puts replaced parameters back into its own memory, in one call
    error.places = {m.buffer.place for m in (a, b) if m.buffer is not None and m.buffer.kind == "argument"}
    raise error
