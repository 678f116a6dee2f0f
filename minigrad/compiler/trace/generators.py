"""Random generators of a recorded step: tracer Generators, draws, and the states between them.

Draws in a row are new. Draws from an earlier state are repetitions: `mg.checkpoint` resets the global generator and
runs a function again; the program then has one draw, and uses it twice. No program sets any other state.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import ArgSlot, Op, Value
from minigrad.compiler.refusal import OWN, CompileError, stop, unsupported, user_line
from minigrad.compiler.trace.number_arithmetic import pinned
from minigrad.compiler.trace.recorded_calls import templates
from minigrad.compiler.trace.traced_number import TracedNumber
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.compiler.trace.tracer_operators import bare
from minigrad.reach import NUMERIC, alike, is_leaf


class Draws:
    """The draws of one recording, in order, with the states from which they were drawn."""

    def __init__(self) -> None:
        self.frontier: dict[int, tuple[Any, Any]] = {}  # by id: a bit generator, and its state after its last new draw
        self.before: Any = None
        self.known: list[tuple[int, Any, Any, Value]] = []  # bit generator, state before, call, value

    def watch(self, generator: np.random.Generator) -> None:
        """Record draws of this generator from here on."""
        bits = generator.bit_generator
        self.frontier.setdefault(id(bits), (bits, bits.state))

    def repeated(self, generator: Any, *call: Any) -> Value | None:
        """The value of an earlier draw that is repeated now, None for a new one.

        Raises:
            CompileError: the state is that of neither a new draw nor an earlier one.
        """
        bits = generator.bit_generator
        self.watch(generator)
        self.before = bits.state
        if equal(self.before, self.frontier[id(bits)][1]):
            return None
        for key, state, known, value in self.known:
            if key == id(bits) and equal(state, self.before) and equal(known, call):
                return value
        return unsupported("the state of a Generator is set in the step", "set it outside of the step")

    def add(self, value: Value, generator: Any, *call: Any) -> None:
        """Add a new draw."""
        bits = generator.bit_generator
        self.known.append((id(bits), self.before, call, value))
        self.frontier[id(bits)] = bits, bits.state

    def check(self) -> None:
        """Check that all generators are in the states in which a program leaves them.

        Raises:
            CompileError: the step has set the state of one, or drawn from it unseen.
        """
        for bits, state in self.frontier.values():
            if not equal(bits.state, state):
                raise CompileError(
                    f"mg.compile: the state of a Generator ({type(bits).__name__}) is set in the step, or it draws in "
                    f"a way that cannot be recorded, at {user_line()}\nHint: set states outside of the step."
                )


def equal(x: Any, y: Any) -> bool:
    """Whether two states, with arrays in dictionaries and tuples, are equal."""
    if isinstance(x, dict) and isinstance(y, dict):
        return x.keys() == y.keys() and all(equal(x[k], y[k]) for k in x)
    if isinstance(x, (tuple, list)) and isinstance(y, (tuple, list)):
        if len(x) > 16:  # that of the module random: plain numbers
            return bool(x == y)
        return len(x) == len(y) and all(map(equal, x, y))
    if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
        return bool(np.array_equal(x, y))
    return x is y or (is_leaf(x) and alike(x, y))


# What is recorded


def draw(trace: Any, generator: Any, method: str, args: Any, kwargs: Any) -> Any:
    """Record a draw from a generator, which each call of the program repeats."""
    if method == "bytes":
        unsupported("rng.bytes draws no array", "draw integers: rng.integers(0, 256, n, dtype=np.uint8)")
    ins, operands = templates(trace, _parameters(method, args, kwargs), (TracerArray, TracedNumber))
    args, kwargs = bare(args), bare(kwargs)
    again = trace.draws.repeated(generator, method, args, kwargs)
    if again is not None and ins:  # operands that are equal now may differ in later calls
        unsupported(f"rng.{method} of computed arrays is repeated from an earlier state", "use constant parameters")
    drawn = getattr(generator, method)(*args, **kwargs)
    if again is not None:
        return _as_drawn(trace, drawn, again)
    if np.asarray(drawn).dtype.kind not in NUMERIC:
        stop(trace, f"rng.{method} draws objects that are not numbers", "draw an index")
        return drawn  # stopping earlier would skip the draw, and later would repeat it
    value = _drawn(trace, generator, method, ins, operands, drawn)
    trace.draws.add(value, generator, method, args, kwargs)
    return _as_drawn(trace, drawn, value)


def _parameters(method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a draw. Integers (sizes, numbers of trials) are constants, except the range of `integers`."""
    has_range = method == "integers" and "dtype" not in kwargs and len(args) <= 3
    names, count = (("low", "high"), 2) if has_range else ((), 0)
    return {
        "args": (*args[:count], *pinned(args[count:], (int,))),
        "kwargs": {name: x if name in names else pinned(x, (int,)) for name, x in kwargs.items()},
    }


def _as_drawn(trace: Any, drawn: Any, value: Value) -> Any:
    """The tracer of a draw: of an array, or of a Python number."""
    if type(drawn) is bool:
        stop(trace, "a single bool is drawn", "draw size=1")
        return drawn
    if type(drawn) not in (float, int):
        return trace.fresh(drawn, value)
    number = TracedNumber(trace, drawn, None, lambda: value)
    number.mg_cached = value  # drawn integers have 64 bits
    return number


def shuffle(trace: Any, generator: Any, x: TracerArray, axis: int) -> None:
    """Record rng.shuffle(x): a draw of the shuffled elements, which are written into x."""
    trace.writable(x, "rng.shuffle")
    if trace.draws.repeated(generator, "shuffle", bare(x), axis) is not None:
        unsupported("rng.shuffle is repeated from an earlier state", "x = x[rng.permutation(len(x))]")
    value = x.mg_value
    generator.shuffle(x.mg_array, axis)
    value = _drawn(trace, generator, "shuffle", [value], {"args": (ArgSlot(0),), "kwargs": {"axis": axis}}, x.mg_array)
    trace.draws.add(value, generator, "shuffle", bare(x), axis)
    x.mg_write(value)


def _drawn(trace: Any, generator: Any, method: str, ins: Any, operands: dict[str, Any], drawn: Any) -> Value:
    """The value of an op that draws."""
    if not any(g is generator for g in trace.generators):
        trace.generators.append(generator)
    k = next(k for k, g in enumerate(trace.generators) if g is generator)
    params = {"generator": k, "method": method, **operands}
    return trace.add(Op("random", ins, params, [(np.shape(drawn), np.asarray(drawn).dtype)])).out


# Generators


class TracerGenerator(np.random.Generator):
    """Replaces one of the user's Generators inside a traced step: it draws from the real one and records the draw."""

    minigrad_tracer = True

    def __init__(self, trace: Any, real: np.random.Generator) -> None:
        super().__init__(real.bit_generator)
        self.mg_trace, self.mg_real = trace, real

    @property  # type: ignore[misc]  # that of object may be assigned
    def __class__(self) -> type:
        """The class of the real one: type(rng) is the same as in an eager step."""
        return type(self.mg_real)

    def __eq__(self, other: object) -> bool:
        return self.mg_real is getattr(other, "mg_real", other)

    def __hash__(self) -> int:
        return hash(self.mg_real)

    @property
    def bit_generator(self) -> Any:
        """That of the real one. The step must not read its state, which is another one in each call."""
        caller = sys._getframe(1).f_code
        if "state" in caller.co_names and not caller.co_filename.startswith(OWN):
            stop(self.mg_trace, "the state of a Generator is read", "read it outside of the step")
        return self.mg_real.bit_generator

    def spawn(self, n_children: int) -> list[np.random.Generator]:
        """New generators, which would be the same in each call of a program."""
        stop(self.mg_trace, "rng.spawn makes other generators", "make them outside of the step")
        return self.mg_real.spawn(n_children)

    def __reduce__(self) -> Any:
        return self.mg_real.__reduce__()


def _drawing(name: str) -> Any:
    def draw(self: TracerGenerator, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("out") is not None:
            stop(self.mg_trace, f"rng.{name}(out=...)", "use the array that it returns")
            return getattr(self.mg_real, name)(*bare(args), **bare(kwargs))
        return self.mg_trace.draw(self.mg_real, name, args, kwargs)

    return draw


def _shuffle(self: TracerGenerator, x: Any, axis: int = 0) -> None:
    if not self.mg_trace.open:
        self.mg_real.shuffle(bare(x), axis)
    elif type(x) is TracerArray:
        self.mg_trace.shuffle(self.mg_real, x, axis)
    else:
        hint = "shuffle an array, or x = x[rng.permutation(n)]"
        stop(self.mg_trace, f"rng.shuffle writes into a {type(x).__name__}", hint)
        self.mg_real.shuffle(x, axis)


class GeneratorSlot:
    """A Generator that is an argument, and may be another one in each call of a program."""

    __slots__ = ("current",)

    def __init__(self, current: np.random.Generator) -> None:
        self.current = current

    def __getattr__(self, name: str) -> Any:
        return getattr(self.current, name)


for _name in dir(np.random.Generator):
    if not _name.startswith("_") and _name not in ("bit_generator", "spawn", "shuffle"):
        setattr(TracerGenerator, _name, _drawing(_name))
setattr(TracerGenerator, "shuffle", _shuffle)  # noqa: B010  (its type is overloaded)
