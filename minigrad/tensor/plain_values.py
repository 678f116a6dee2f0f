"""Plain values out of a Tensor: NumPy arrays, Python numbers and lists.

A plain value has no history, so where a gradient might get lost unnoticed the conversion is refused. `float(t)` asks
for the number, but `math.exp(t)` and `array[k] = t` lose the gradient, and all of them call Tensor.__float__: Python's
float() and the C code of NumPy and of math call it in the same way. They differ only in the instruction that the
caller executes. So `refuse_lost_gradient` looks at that instruction, once for each place in the code, and only for a
Tensor whose gradient would be lost. Which function is called is not in the instruction either, so it is looked up by
its name in the caller's frame.
"""

from __future__ import annotations

import dis
import inspect
import math
import operator
import sys
from types import BuiltinFunctionType, CodeType, FrameType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minigrad.engine.node import Node, mode

CONVERSIONS = (float, int, complex)
CONVERSION_NAMES = frozenset(f.__name__ for f in CONVERSIONS)
PREDICATES = (math.isnan, math.isinf, math.isfinite, math.isclose)  # the answer has no gradient
LOADS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FAST", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS")
ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
MOST_SITES = 4096  # that are cached


def _conversion(kind: type) -> Any:
    def convert(self: Any) -> Any:
        if self.node is not None and mode.get() is not None:
            refuse_lost_gradient(self)
        return kind(self.item())

    return convert


class PlainValues:
    """The methods of Tensor that return plain values."""

    __slots__ = ()

    if TYPE_CHECKING:
        data: Any
        node: Node | None

        @property
        def shape(self) -> tuple[int, ...]: ...  # noqa: D102

    def numpy(self) -> Any:
        """The value as a NumPy array that cannot be written to."""
        data = self.data
        view = data.view() if isinstance(data, np.ndarray) else np.asarray(data)
        view.flags.writeable = False
        return view

    def item(self) -> Any:
        """The value of a one-element Tensor as a Python number."""
        if self.data.size != 1:
            raise ValueError(f"item: a Tensor of shape {self.shape} is not a single number; use .numpy() or .tolist()")
        return self.data.item()

    def tolist(self) -> Any:
        """The value as nested lists of Python numbers."""
        return self.data.tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if self.node is not None:
            raise TypeError(
                f"NumPy requested the bare values of a Tensor of shape {self.shape} that requires grad, and the "
                "gradient would be lost. Use t.numpy() or t.detach() for the values; to combine Tensors use "
                "mg.stack([t, u]) or mg.concat, and mg's functions where NumPy's do not pass Tensors on."
            )
        return np.array(self.data if copy else self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        np.asarray(self)  # refuses a Tensor that requires grad
        return np.asarray(self.data).__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return np.asarray(self.data).__dlpack_device__()

    __float__: Any = _conversion(float)
    __int__: Any = _conversion(int)
    __complex__: Any = _conversion(complex)

    def __round__(self, ndigits: int | None = None) -> Any:
        if self.data.size != 1:
            raise TypeError(
                f"round() of a Tensor of shape {self.shape} is not a single number; use "
                f"mg.round(t, decimals={ndigits or 0})"
            )
        if self.node is not None and mode.get() is not None:
            refuse_lost_gradient(self)
        return round(self.data.item(), ndigits)

    def __trunc__(self) -> int:
        if self.data.size != 1:
            raise TypeError(f"math.trunc of a Tensor of shape {self.shape} is not a single number; use mg.trunc(t)")
        if self.node is not None and mode.get() is not None:
            refuse_lost_gradient(self)
        return math.trunc(float(self.data.item()))

    def __index__(self) -> int:
        return operator.index(self.item())

    def __bool__(self) -> bool:
        if self.data.size != 1:
            raise ValueError(
                f"the truth value of a Tensor of shape {self.shape} is ambiguous; use mg.all(t), mg.any(t) or mg.where"
            )
        return bool(self.data)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)


# What the caller of Tensor.__float__ does


class Site(NamedTuple):
    """An instruction of the caller: its name; the name of what it calls; the names that it passes as values."""

    operation: str
    callee: tuple[str, ...]
    passed: frozenset[str]


_sites: dict[tuple[int, int], tuple[CodeType, Site]] = {}


def refuse_lost_gradient(t: Any) -> None:
    """Raise an error unless the caller of Tensor.__float__ (or __int__, __complex__) asks for a number.

    Raises:
        TypeError: the gradient would be lost. The message says how, and what to write.
    """
    frame = sys._getframe(2)
    code, offset = frame.f_code, frame.f_lasti
    cached = _sites.get((id(code), offset))
    if cached is None or cached[0] is not code:
        if len(_sites) > MOST_SITES:
            _sites.clear()
        cached = _sites[id(code), offset] = code, _site(code, offset)
    site = cached[1]
    called = _resolved(frame, site.callee)
    if _asks_for_number(site, called, frame):
        return
    name = ".".join(site.callee)
    if site.operation == "STORE_SUBSCR":
        how = "was written into an element of a plain array"
    elif isinstance(called, BuiltinFunctionType) and called.__module__ in ("math", "cmath"):
        how = f"was given to {called.__module__}.{called.__name__}, which takes plain numbers"
    else:
        how = f"was turned into a plain number{f' by {name}' if name else ''}"
    raise TypeError(
        f"a Tensor of shape {t.shape} that requires grad {how}, and the gradient would be lost. Use mg's functions "
        "(mg.exp for math.exp), mg.stack([t, u]) for an array of several, or write into a Tensor: h = mg.zeros(3); "
        "h[0] = t. For the value alone use float(t) or t.item()."
    )


def _asks_for_number(site: Site, called: Any, frame: FrameType) -> bool:
    """Whether the caller asks for the number explicitly."""
    if any(called is f for f in (*CONVERSIONS, *PREDICATES)):
        return True
    if site.callee[-1:] in (("__float__",), ("__int__",), ("__complex__",)):
        return True
    if site.operation == "BINARY_OP":  # "%.3f" % t
        return True
    # map(float, losses): the caller is the code that iterates, and float was passed as a value
    passed = site.passed
    if site.operation.startswith(("CALL", "PRECALL")):
        return bool(passed & CONVERSION_NAMES) and getattr(called, "__module__", None) == "builtins"
    if frame.f_code.co_name.startswith("<") and frame.f_back is not None:  # a comprehension, which may iterate over it
        passed = passed | _passed(_instructions(frame.f_back.f_code))
    return site.operation != "STORE_SUBSCR" and bool(passed & CONVERSION_NAMES)


def _instructions(code: CodeType) -> list[dis.Instruction]:
    return [op for op in dis.get_instructions(code) if op.opname not in ("CACHE", "EXTENDED_ARG", "PUSH_NULL")]


def _site(code: CodeType, offset: int) -> Site:
    instructions = _instructions(code)
    here = max(k for k, op in enumerate(instructions) if op.offset <= offset)  # the offset may be in its inline cache
    op = instructions[here]
    if not op.opname.startswith(("CALL", "PRECALL")):
        return Site(op.opname, (), _passed(instructions))
    start, end = _span(op)
    within = [other for other in instructions[:here] if start <= _span(other)[0] and _span(other)[1] <= end]
    callee: tuple[str, ...] = ()
    for other in within:
        if _span(other) == (start, end) or _span(other)[0] != start:
            continue
        name = other.argval[0] if isinstance(other.argval, tuple) else other.argval
        if other.opname.startswith(LOADS):
            callee = (str(name),)
        elif other.opname in ATTRIBUTES and callee:
            callee = (*callee, str(name))
        elif other.opname.startswith("CALL"):
            callee = ()
    return Site(op.opname, callee, _passed(within))


def _span(op: dis.Instruction) -> tuple[tuple[int, int], tuple[int, int]]:
    """Line and column of the begin and the end of an instruction's source."""
    source = op.positions
    if source is None or source.lineno is None or source.col_offset is None:
        return (0, 0), (0, 0)
    end = source.end_lineno or source.lineno, source.end_col_offset or source.col_offset
    return (source.lineno, source.col_offset), end


def _passed(instructions: list[dis.Instruction]) -> frozenset[str]:
    """Global names that are loaded, but not called by the next call."""
    calls = {_span(op)[0] for op in instructions if op.opname.startswith("CALL")}
    return frozenset(
        str(op.argval)
        for op in instructions
        if op.opname in ("LOAD_GLOBAL", "LOAD_NAME") and (_span(op)[0] not in calls or _span(op)[0] == (0, 0))
    )


def _resolved(frame: FrameType, names: tuple[str, ...]) -> Any:
    """The value of a dotted name in a frame; None if that is unknown without running other code."""
    if not names:
        return None
    first, *attributes = names
    code = frame.f_code
    if first in (*code.co_varnames, *code.co_freevars, *code.co_cellvars):
        value = frame.f_locals.get(first)
    else:
        own = () if code.co_flags & inspect.CO_OPTIMIZED else (frame.f_locals,)  # of a module or a class
        value = next((s[first] for s in (*own, frame.f_globals, frame.f_builtins) if first in s), None)
    for name in attributes:
        if not isinstance(value, (ModuleType, type)):
            return None
        value = getattr(value, name, None)
    return value
