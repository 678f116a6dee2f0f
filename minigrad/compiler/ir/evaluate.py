"""The values of programs, op by op, on random inputs: exact arrays, or plain ones, for proofs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.compiler.ir.operations import filled, function_of
from minigrad.compiler.ir.program import Buffer, Op, Program, Value
from minigrad.exact import Constants, Exact, Inexact, constants, draw, rational
from minigrad.exact.field import P
from minigrad.exact.products import bilinear
from minigrad.exact.random_rationals import SCALE
from minigrad.exact.tables import FUNCTIONS
from minigrad.exact.tables import UFUNCS as EXACT_UFUNCS
from minigrad.ops.special import WHOLE

Array = Any  # an exact array, a plain one of bools or integers, or any plain one where nothing is exact
FLOATS = {"where": (1, 2), "gather": (0,), "scatter": (0, 1)}  # which operands are numbers like the result
FEW = 256  # a constant array of at most so many different numbers is taken as it is
COUNTS = 8  # integers that are not indices are below


class Sample:
    """Random content for everything that programs read, the same for each, and the values that they compute from it.

    Floating-point buffers are random rationals; positive ones where a state holds no negative number. Integers are
    small, so that they are valid indices. Constants keep their content.

    Args:
        program: the program whose buffers get content.
        seed: of the random numbers.
        positive: whether all numbers are positive, so that roots and logarithms are finite.
        scale: a number by which all are divided.
        limit: integers are below it, and below the limit that indexing sets.
        exponents: whether residues modulo Q are kept, for which exp is a homomorphism.
        exact: whether floating-point values are exact arrays; otherwise they are plain arrays of float64.
    """

    def __init__(
        self,
        program: Program,
        seed: int,
        *,
        positive: bool = False,
        scale: int = 1,
        limit: int = COUNTS,
        exponents: bool = False,
        exact: bool = True,
    ) -> None:
        self.positive, self.scale, self.exponents, self.exact = positive, scale, exponents, exact
        self.seed, self.limit, self.limits = seed, limit, index_limits(program)
        self.contents: dict[Buffer, Array] = {}
        self.numbers: dict[Any, Array] = {}  # of each op `random`
        self.results: dict[Any, list[Array]] = {}  # of each op `call`
        self.sequence: list[Any] = []
        self.constants = Constants()
        self.fixed: set[Value] = set()  # values that are computed from literals only
        self.known: dict[Op, tuple[list[Array], tuple[Array, ...]]] = {}  # by op: operands and results

    def values(self, program: Program) -> tuple[dict[Value, Array], list[Any]]:
        """All values of a program, and what it draws from each generator, in order.

        An op with the operands that it had in another program is not computed again.

        Raises:
            Inexact: an operation is not known in exact arithmetic.
            Redraw: a comparison or a root cannot be decided for these inputs.
        """
        self.sequence = []
        values: dict[Value, Array] = {}
        with constants(self.constants):
            for op in program.ops:
                ins = [values[x] if isinstance(x, Value) else x for x in op.ins]
                before = self.known.get(op)
                if (
                    before is None
                    or op.name == "random"
                    or any(x is not y for x, y in zip(before[0], ins, strict=True))
                ):
                    before = self.known[op] = ins, self._computed(op, ins)
                for v, result in zip(op.outs, before[1], strict=True):
                    if np.shape(result) != v.shape:
                        raise AssertionError(f"{op} computes an array of shape {np.shape(result)}")
                    values[v] = result
        return values, sorted(self.sequence, key=lambda key: key[:2])

    def _computed(self, op: Op, ins: list[Array]) -> tuple[Array, ...]:
        if op.name == "input":
            return (self.content(op.params["buffer"]),)
        if op.name == "random":
            return (self.draw(op, ins),)
        if op.name == "check":  # has no value; which checks a pass may remove is tested with the pass
            return ()
        if op.name == "call":
            return tuple(self.call(op, ins))
        dtype = op.out.dtype
        if dtype.kind not in "biuf":
            raise Inexact(f"{op.name} of dtype {dtype}")
        if dtype.kind == "f":
            which = FLOATS.get(op.name, range(len(ins)))
            ins = [self.number(x) if k in which else x for k, x in enumerate(ins)]
        with np.errstate(all="ignore"):
            result = self._operation(op, ins)
        if not isinstance(result, Exact):
            return (np.asarray(result, np.float64 if dtype.kind == "f" else dtype),)
        self._learn(op, result)
        return (result,)

    def number(self, x: Any) -> Array:
        """An operand of an op whose value is floating-point."""
        if not self.exact:
            return np.asarray(x, np.float64)
        if isinstance(x, Exact):
            return x
        number = Exact.of(x)
        if type(x) is float and number.q is not None:
            self.constants.learn(x, int(number.p), int(number.q))
        return number

    def _learn(self, op: Op, result: Exact) -> None:
        """Note the value of an op on literals: a pass may compute it."""
        if all(x in self.fixed for x in op.operands) and result.size and op.name != "concatenate":
            self.fixed.add(op.out)
            q = None if result.q is None else int(result.q.flat[0])
            self.constants.learn(float(result.real.flat[0]), int(result.p.flat[0]), q if q is None or q >= 0 else None)

    def _operation(self, op: Op, ins: list[Array]) -> Array:
        if op.name in EXACT_OPS:
            return EXACT_OPS[op.name](self, op, *ins, **op.params)
        try:
            function = function_of(op)
        except KeyError:
            raise Inexact(op.name) from None
        return function(*ins)

    def content(self, buffer: Buffer) -> Array:
        """What a buffer holds at the beginning."""
        if buffer not in self.contents:
            array = self._content(buffer, np.random.default_rng([self.seed, len(self.contents)]))
            self.contents[buffer] = array if self.exact or not isinstance(array, Exact) else array.real
        return self.contents[buffer]

    def _content(self, buffer: Buffer, rng: np.random.Generator) -> Array:
        kind, array = buffer.dtype.kind, buffer.array
        if kind not in "biuf":
            raise Inexact(f"an array of dtype {buffer.dtype}")
        if buffer.is_constant and array is not None and (kind != "f" or len(np.unique(array)) <= FEW):
            return Exact.of(array) if kind == "f" else np.array(array)
        if kind == "b":
            return rng.integers(0, 2, buffer.shape).astype(bool)
        if kind in "iu":
            limit = self.limits.get(buffer)
            low, high = (1, self.limit) if limit is None else (0, min(limit, self.limit))
            return rng.integers(min(low, high - 1), max(high, 1), buffer.shape).astype(buffer.dtype)
        positive = self.positive or (array is not None and bool((array >= 0).all()))
        return draw(rng, buffer.shape, positive=positive, exponents=self.exponents, scale=self.scale)

    def draw(self, op: Op, ins: Sequence[Array]) -> Array:
        """The value of an op `random`: the same for the same generator, order, method and arguments."""
        params = op.params
        k = params["generator"]
        order = sum(key[0] == k for key in self.sequence)
        operands = tuple(map(fingerprint, ins))
        key = (k, order, params["method"], repr(params["args"]), repr(params["kwargs"]), *operands)
        self.sequence.append(key)
        if key not in self.numbers:
            rng = np.random.default_rng([self.seed, k, order, 1])
            if ins:  # any distribution will do: the method's own for random operands would prove nothing more
                numbers: Array = _random_array(op.out.shape, op.out.dtype.kind, rng)
            else:
                numbers = np.asarray(getattr(rng, params["method"])(*params["args"], **params["kwargs"]))
            if numbers.dtype.kind == "f" and self.exact:
                numbers = rational(np.rint(numbers.astype(np.float64) * SCALE), SCALE, self.exponents)
            self.numbers[key] = numbers if numbers.dtype.kind != "f" or self.exact else numbers.astype(np.float64)
        return self.numbers[key]

    def call(self, op: Op, ins: Sequence[Array]) -> Sequence[Array]:
        """The values of a function without an op of its own, such as np.cumsum.

        They are exact where exact arithmetic knows the function. Otherwise residues are a pseudo-random function of the
        parameters and the operands' residues, and floats are those that the function computes from the operands'.
        Integers and bools are then those of the first program.
        """
        params, function = op.params, op.params["function"]
        if is_known(function) and any(isinstance(x, Exact) for x in ins):
            results = _results(op, ins, (Inexact, TypeError, ValueError))
            if [_kind(r) for r in results] == [v.dtype.kind for v in op.outs]:
                return results
        key = (function, repr(params["args"]), repr(params["kwargs"]), *(fingerprint(x) for x in ins))
        if key not in self.results:
            text = repr((function.__name__, *key[1:]))
            rng = np.random.default_rng(list(hashlib.blake2b(text.encode(), digest_size=16).digest()))
            # np.linalg.cholesky refuses random operands: any function will do for the proof
            results = _results(op, [x.real if isinstance(x, Exact) else x for x in ins], (Exception,))
            if [(np.shape(r), _kind(r)) for r in results] != [(v.shape, v.dtype.kind) for v in op.outs]:
                results = [_random_array(v.shape, v.dtype.kind, rng) for v in op.outs]
            self.results[key] = [self._result(np.asarray(r), rng) for r in results]
        return self.results[key]

    def _result(self, real: Any, rng: np.random.Generator) -> Array:
        if not self.exact or real.dtype.kind in "biu":
            return real
        if real.dtype.kind != "f":
            raise Inexact(f"a function whose result is {real.dtype}")
        return Exact(real.astype(np.float64), rng.integers(0, P, real.shape))


def _results(op: Op, ins: Sequence[Array], refusals: tuple[type[Exception], ...]) -> Sequence[Array]:
    """The arrays that the function of an op `call` returns; none if it refuses the operands."""
    args, kwargs = filled(op.params["args"], ins), filled(op.params["kwargs"], ins)
    try:
        with np.errstate(all="ignore"):
            result = op.params["function"](*args, **kwargs)
    except refusals:
        return ()
    return result if isinstance(result, (tuple, list)) else (result,)


def is_known(function: Any) -> bool:
    """Whether exact arrays may know a NumPy function, or a method of a ufunc."""
    return isinstance(getattr(function, "__self__", function), np.ufunc) or function in FUNCTIONS


def _kind(x: Array) -> str:
    return getattr(getattr(x, "dtype", None), "kind", "")


def _random_array(shape: tuple[int, ...], kind: str, rng: np.random.Generator) -> Array:
    if kind in "biu":
        return np.asarray(rng.integers(0, 2, shape)).astype(np.dtype({"b": "?", "i": "i8", "u": "u8"}[kind]))
    real = rng.normal(size=shape)
    return np.asarray(real + 1j * rng.normal(size=shape) if kind == "c" else real)


def fingerprint(x: Array) -> bytes:
    """A digest of the shape and the residues or elements of an array."""
    content = x.p if isinstance(x, Exact) else np.asarray(x)
    digest = hashlib.blake2b(repr((np.shape(x), content.dtype.str)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(content).tobytes())
    return digest.digest()


def index_limits(program: Program) -> dict[Buffer, int]:
    """For each buffer of integers that is used as an index: the size of the smallest axis that it may index."""
    sources: dict[Value, set[Buffer]] = {}
    limits: dict[Buffer, int] = {}
    for op in program.ops:
        if op.name in ("gather", "scatter", "call"):
            size = min((n for v in op.operands[:1] for n in v.shape), default=1)
            for buffer in set[Buffer]().union(*(sources[v] for v in op.operands[op.name != "call" :])):
                limits[buffer] = min(limits.get(buffer, size), size)
        buffers = set[Buffer]().union(*(sources[v] for v in op.operands))
        if op.name == "input":
            buffers = {op.params["buffer"]}
        sources |= {v: buffers if v.dtype.kind in "iu" else set() for v in op.outs}
    return limits


def _full(self: Sample, op: Op, *, shape: Any, dtype: Any, value: Any) -> Array:
    if op.out.dtype.kind != "f":
        return np.full(shape, value, dtype)
    return np.broadcast_to(self.number(value), shape)


def _convolution(self: Sample, op: Op, x: Array, y: Array, *, function: Any, settings: Any, shape: Any) -> Array:
    if isinstance(x, Exact):
        return bilinear(function, x, y, **dict(settings))
    return function(x, y, **dict(settings))


def _opaque(self: Sample, op: Op, x: Array) -> Array:
    return EXACT_UFUNCS[op.name](x) if isinstance(x, Exact) else WHOLE[op.name](x)


EXACT_OPS: dict[str, Callable[..., Array]] = {  # where exact arrays need something else than NumPy's function
    "full": _full,
    **dict.fromkeys(WHOLE, _opaque),
    "where": lambda self, op, c, x, y: np.where(c, x, y),
    "cast": lambda self, op, x, *, dtype: x if np.dtype(dtype).kind == "f" else x.astype(dtype),
    "convolution": _convolution,
    "copy": lambda self, op, x: x,
}


def work(program: Program) -> int:
    """How many elements a proof has to compute: those of all values, and of products a part of the terms."""
    total = 0
    for op in program.ops:
        total += sum(v.size for v in (*op.outs, *op.operands))
        if op.name == "matmul":
            total += op.out.size * op.operands[0].shape[-1] // 16
        elif op.name == "convolution":
            x, y = op.operands
            total += max(x.size * y.size, op.out.size * min(x.size, y.size)) // 64
    return total
