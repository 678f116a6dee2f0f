"""Outcomes: what a call returned and changed, piece by piece; and whether roundings explain how two of them differ.

What is not the same at a glance is compared with what other roundings do to it, which is Monte Carlo arithmetic (Parker
1997): the recorded program runs op by op, and each rounded result is multiplied by 1 + ε u with a random u. That
happens a few times in the life of a program at most, so nothing is planned, written or compiled for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from minigrad.compiler.ir.operations import filled, function_of
from minigrad.compiler.ir.program import EXACT, Buffer, Op, Program, Value
from minigrad.compiler.refusal import CheckFailed
from minigrad.reach import alike, is_leaf, package_of
from minigrad.tensor.tensor import Tensor

TOLERANCE = {np.dtype(np.float64): 1e-7, np.dtype(np.complex128): 1e-7, np.dtype(np.float16): 2e-2}
SINGLE = 1e-3
GLANCE = 4096  # arrays of at most so many elements are compared together
CHAOTIC = 1e-4  # if roundings change an element by so much of the largest one, they may change all elements

Piece = tuple[str, Any]  # path and value
Pair = tuple[Any, Any]  # compiled, eager


def pieces(path: str, x: Any, depth: int = 0) -> Iterator[Piece]:
    """The arrays, numbers and types in something that a call returned or changed."""
    yield path, type(x)
    if type(x) is Tensor:
        yield path, x.node is None
        yield path, np.array(x.data)
        if x.grad is not None:
            yield from pieces(f"{path}.grad", x.grad, depth + 1)
    elif isinstance(x, (np.ndarray, np.generic)):
        yield path, np.array(x)
    elif isinstance(x, dict):
        for key, item in x.items():
            yield from pieces(f"{path}[{key!r}]", item, depth + 1)
    elif isinstance(x, (tuple, list)):  # before leaves: a tuple of numbers is a leaf too, but they are rounded
        for k, item in enumerate(x):
            yield from pieces(f"{path}[{k}]", item, depth + 1)
    elif is_leaf(x):
        yield path, x
    elif depth < 4 and type(getattr(x, "__dict__", None)) is dict and package_of(type(x)) != "minigrad":
        for key, item in vars(x).items():
            yield from pieces(f"{path}.{key}", item, depth + 1)


def tolerance_of(dtype: Any) -> float:
    """The relative error of rounding that is allowed in a dtype."""
    return TOLERANCE.get(dtype, SINGLE)


def differing(pairs: list[Pair]) -> list[int]:
    """The indices of the pairs that differ by more than rounding.

    Small arrays of a dtype are compared all at once first; only those that are not close are compared one by one.
    """
    close: set[int] = set()
    groups: dict[Any, list[int]] = {}
    for k, (x, y) in enumerate(pairs):
        if type(x) is np.ndarray and type(y) is np.ndarray and x.dtype.kind == "f" and 0 < x.size <= GLANCE:
            if (x.shape, x.dtype) == (y.shape, y.dtype):
                groups.setdefault(x.dtype, []).append(k)
        elif x is y and (type(x) is bool or isinstance(x, type)):
            close.add(k)
    for dtype, members in groups.items():
        close.update(_close(dtype, members, pairs))
    return [k for k, (x, y) in enumerate(pairs) if k not in close and not _is_same(x, y)]


def _close(dtype: Any, members: list[int], pairs: list[Pair]) -> list[int]:
    """The pairs of arrays whose largest difference is small relative to their largest number, and to 1."""
    x, y = (np.concatenate([pairs[k][side].ravel() for k in members]) for side in (0, 1))
    starts = np.cumsum([0, *(pairs[k][0].size for k in members[:-1])])
    with np.errstate(all="ignore"):
        difference = np.maximum.reduceat(np.abs(x - y), starts)  # NaN stays NaN, and is not small
        scale = np.minimum(np.maximum.reduceat(np.abs(y), starts), 1)
        return [members[k] for k in np.flatnonzero(difference <= tolerance_of(dtype) * scale)]


def _is_same(x: Any, y: Any) -> bool:
    """Whether two values are the same up to rounding."""
    if not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray):
        if isinstance(x, float) and isinstance(y, float):
            return _is_same(np.array(x), np.array(y))
        if isinstance(x, type) or isinstance(y, type) or not is_leaf(x):
            return x is y
        if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
            return False
        return alike(x, y) or bool(x == y)
    if (x.shape, x.dtype) != (y.shape, y.dtype):
        return False
    if x.dtype.kind not in "fc":
        return np.array_equal(x, y)
    if x.tobytes() == y.tobytes():
        return True
    tolerance = tolerance_of(x.dtype)
    with np.errstate(all="ignore"):
        if x.size and np.max(np.abs(x - y)) <= tolerance * min(float(np.max(np.abs(y))), 1.0):
            return True
        scale = np.max(np.abs(y), initial=0, where=np.isfinite(y))
        return np.allclose(x, y, rtol=tolerance, atol=tolerance * min(float(scale), 1.0), equal_nan=True)


def difference_in_words(x: Any, y: Any) -> str:
    """The difference between a compiled and an eager value, in words."""
    if not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray):
        if isinstance(x, float) and isinstance(y, float):
            return difference_in_words(np.array(x), np.array(y))
        if isinstance(x, type) or isinstance(y, type) or not is_leaf(x):
            return f"{_name(y)} eagerly, {_name(x)} compiled"
        return f"{y!r:.80} eagerly, {x!r:.80} compiled"
    if (x.shape, x.dtype) != (y.shape, y.dtype):
        return f"{y.shape} {y.dtype} eagerly, {x.shape} {x.dtype} compiled"
    with np.errstate(all="ignore"):
        rtol = tolerance_of(x.dtype)
        is_close = np.isclose(x, y, rtol, atol=0, equal_nan=True) if x.dtype.kind in "fc" else x == y
    index = np.unravel_index(int(np.argmax(~is_close)), x.shape)
    return f"{y[index]!r} eagerly, {x[index]!r} compiled, at {tuple(map(int, index))} of {x.shape} {x.dtype}"


def _name(x: Any) -> str:
    return getattr(x, "__name__", repr(x)[:60])


# Differences that rounding explains


def is_float(x: Any, y: Any) -> bool:
    """Whether two things are arrays of floating-point numbers that can be compared element by element."""
    arrays = isinstance(x, np.ndarray) and isinstance(y, np.ndarray)
    return arrays and (x.shape, x.dtype) == (y.shape, y.dtype) and x.dtype.kind in "fc"


def spread(x: Any, y: Any, known: Any = None) -> Any:
    """How far each number moves, at least as far as is known; None for anything but floating-point arrays."""
    if not is_float(x, y):
        return None
    with np.errstate(all="ignore"):
        return np.abs(x - y) if known is None else np.maximum(known, np.abs(x - y))


def within(pairs: list[Pair], indices: list[int], spreads: list[Any]) -> bool:
    """Whether the differences are at most a hundred times the distances that roundings cause."""
    if len(spreads) != len(pairs):
        return False
    for k in indices:
        (x, y), spread = pairs[k], spreads[k]
        if spread is None or not is_float(x, y) or x.shape != spread.shape:
            return False
        with np.errstate(all="ignore"):
            is_chaotic = np.max(spread, initial=0) > CHAOTIC * np.max(np.abs(y), initial=0)
            limit = np.max(spread) if is_chaotic else spread
            if not np.all(np.abs(x - y) <= 100 * limit + tolerance_of(y.dtype) * (1 + np.abs(y))):
                return False
    return True


# Other roundings


class Rounded:
    """A recorded program whose roundings can be changed. Checks are left out.

    It takes the place of the source of a program (`Specialization.adopt`, `Specialization.run`).
    """

    is_silent = False

    def __init__(self, program: Program) -> None:
        self.program = program
        self.plan = SimpleNamespace(moved={})  # kept arrays lie in their buffers
        self.functions = {op: _function(program, op) for op in program.ops if op.name not in ("input", "check")}
        self.rng: np.random.Generator | None = None  # of other roundings, if any

    def run(self, *arguments: Any) -> list[Any]:
        """Run the program: return its outputs, and store into its buffers.

        Raises:
            CheckFailed: an op raised. Nothing was stored.
        """

        def content(buffer: Buffer) -> Any:
            return buffer.array if buffer.place is None else arguments[buffer.place]

        values = {op.out: content(op.params["buffer"]) for op in self.program.ops if op.name == "input"}
        try:
            for op, function in self.functions.items():
                result = function(*[values[x] if isinstance(x, Value) else x for x in op.ins])
                if len(op.outs) > 1:
                    values |= zip(op.outs, result, strict=True)
                else:
                    values[op.out] = result if op.name in EXACT or op.out.dtype.kind != "f" else self._rounded(result)
        except Exception as error:
            raise CheckFailed(str(error)) from error
        stored = [(b, np.array(values[v])) for b, v in self.program.stores.items()]
        outputs = [np.array(values[v]) for v in self.program.outputs]
        for buffer, array in stored:
            np.copyto(content(buffer), array)
        return outputs

    def _rounded(self, x: Any) -> Any:
        """A result times random factors between 1 - ε and 1 + ε."""
        if self.rng is None:
            return x
        u = self.rng.random(x.shape, np.float64 if x.dtype.itemsize > 4 else np.float32)
        return x * np.asarray(1 + np.finfo(x.dtype).eps * (2 * u - 1), x.dtype)


def _function(program: Program, op: Op) -> Callable[..., Any]:
    """The function that computes an op from its operands."""
    if op.name == "random":
        return _random(program, op, **op.params)
    return _call(op, **op.params) if op.name == "call" else function_of(op)


def _random(program: Program, op: Op, *, generator: int, method: str, args: Any, kwargs: Any) -> Callable[..., Any]:
    source, dtype = program.generators[generator], op.out.dtype

    def random(*ins: Any) -> Any:
        if method == "shuffle":
            array = np.array(ins[0])
            source.shuffle(array, **kwargs)
            return array
        return np.asarray(getattr(source, method)(*filled(args, ins), **filled(kwargs, ins)), dtype)

    return random


def _call(op: Op, *, function: Any, args: Any, kwargs: Any) -> Callable[..., Any]:
    forms = [(v.shape, v.dtype) for v in op.outs]

    def call(*ins: Any) -> Any:
        result = function(*filled(args, ins), **filled(kwargs, ins))
        results = result if len(forms) > 1 or isinstance(result, (tuple, list)) else (result,)
        if [(np.shape(x), x.dtype) for x in results] != forms:
            raise CheckFailed("a function returns another shape or dtype than before")
        return results if len(forms) > 1 else results[0]

    return call
