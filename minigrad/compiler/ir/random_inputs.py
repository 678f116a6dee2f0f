"""Random inputs for programs, as exact arrays: the same for each program that is evaluated on them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minigrad.compiler.ir.evaluate import Array, Evaluator
from minigrad.compiler.ir.operations import filled
from minigrad.compiler.ir.program import Buffer, Op, Program, Value
from minigrad.exact import Exact, Inexact, constants, draw, rational
from minigrad.exact.field import P
from minigrad.exact.random_rationals import SCALE
from minigrad.exact.tables import FUNCTIONS

FEW = 256  # a constant array of at most so many different numbers is taken as it is
COUNTS = 8  # integers that are not indices are below


class Sample:
    """Random content for everything that a program reads.

    Floating-point buffers are random rationals; positive ones where a state holds no negative number. Integers are
    small, so that they are valid indices. Constants keep their content.

    Args:
        program: the program whose buffers get content.
        seed: of the random numbers.
        positive: whether all numbers are positive, so that roots and logarithms are finite.
        scale: a number by which all are divided.
        limit: integers are below it, and below the limit that indexing sets.
        exponents: whether residues modulo Q are kept, for which exp is a homomorphism.
        exact: whether arrays are exact; otherwise they are the floats.
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
        self.evaluator = Evaluator(self.content, self.draw, self.call, exact)

    def values(self, program: Program) -> tuple[dict[Value, Array], list[Any]]:
        """All values of a program, and what it draws from each generator, in order."""
        self.sequence = []
        with constants(self.evaluator.constants):
            values = self.evaluator.values(program)
        return values, sorted(self.sequence, key=lambda key: key[:2])

    def content(self, buffer: Buffer) -> Array:
        """What a buffer holds at the beginning."""
        if buffer not in self.contents:
            number = len(self.contents)
            rng = np.random.default_rng([self.seed, number])
            array = self._content(buffer, rng)
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
        params = op.params
        if is_known(params["function"]) and any(isinstance(x, Exact) for x in ins):
            try:
                result = params["function"](*filled(params["args"], ins), **filled(params["kwargs"], ins))
            except (Inexact, TypeError, ValueError):
                result = None
            results = result if isinstance(result, (tuple, list)) else (result,)
            if [_kind(r) for r in results] == [v.dtype.kind for v in op.outs]:
                return results
        key = (params["function"], repr(params["args"]), repr(params["kwargs"]), *(fingerprint(x) for x in ins))
        if key not in self.results:
            reals = [x.real if isinstance(x, Exact) else x for x in ins]
            text = repr((params["function"].__name__, *key[1:]))
            rng = np.random.default_rng(list(hashlib.blake2b(text.encode(), digest_size=16).digest()))
            try:
                with np.errstate(all="ignore"):
                    result = params["function"](*filled(params["args"], reals), **filled(params["kwargs"], reals))
            except Exception:  # np.linalg.cholesky refuses random operands: any function will do for the proof
                result = None
            results = result if isinstance(result, (tuple, list)) else (result,)
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
    sources: dict[Value, frozenset[Buffer]] = {}
    limits: dict[Buffer, int] = {}
    for op in program.ops:
        if op.name in ("gather", "scatter", "call"):
            arrays = op.operands[1:] if op.name != "call" else op.operands
            size = min((n for v in op.operands[:1] for n in v.shape), default=1)
            for buffer in _all_sources(arrays, sources):
                limits[buffer] = min(limits.get(buffer, size), size)
        buffers = frozenset(_all_sources(op.operands, sources))
        if op.name == "input" and op.out.dtype.kind in "iu":
            buffers = frozenset({op.params["buffer"]})
        for v in op.outs:
            sources[v] = buffers if v.dtype.kind in "iu" else frozenset()
    return limits


def _all_sources(values: Sequence[Value], sources: dict[Value, frozenset[Buffer]]) -> Iterator[Buffer]:
    for v in values:
        yield from sources[v]
