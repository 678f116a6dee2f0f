"""Random steps that read and write one memory through many views, compiled against eager."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import interpreted
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import minigrad as mg

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly

CALLS = 4  # of which two are recordings


@pytest.fixture(scope="module", autouse=True)
def _by_python() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        interpreted.use(patch)
        yield


# Programs as data: arrays, views of them, and statements that name arrays by their number. Numbers are multiples of
# powers of 2, so that sums are exact in any order.


@dataclass
class Base:
    shape: tuple[int, ...]
    order: tuple[int, ...]  # of the axes in memory
    dtype: str

    def make(self) -> Any:
        array = np.arange(np.prod(self.shape, dtype=int)).reshape([self.shape[k] for k in self.order])
        return np.ascontiguousarray(array.astype(self.dtype)).transpose(np.argsort(self.order)) + 0


@dataclass
class Program:
    bases: list[Base]
    argument: Base
    views: list[tuple[int, list[Any]]] = field(default_factory=list)  # the number of an array, and how it is viewed
    statements: list[Any] = field(default_factory=list)


def applied(x: Any, op: Any) -> Any:
    """A view, or what a user believes to be one: reshape and ravel copy where the layout demands it."""
    kind, *options = op
    if kind == "index":
        return x[options[0]]
    if kind == "transpose":
        return x.transpose(options[0])
    if kind == "reshape":
        return x.reshape(options[0])
    if kind == "windows":
        return np.lib.stride_tricks.sliding_window_view(x, options[0], axis=-1)
    return {"ravel": np.ravel, "flip": np.flip, "diagonal": np.diagonal, "split": lambda y: np.array_split(y, 2)[1]}[
        kind
    ](x)


class Step:
    """A program as a user would write it: some views are made before the step, some in it."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.arrays = [base.make() for base in program.bases]
        for source, ops in program.views:
            array = self.arrays[source]
            for op in ops:
                array = applied(array, op)
            self.arrays.append(array)

    def __call__(self, x: Any) -> Any:
        arrays, results = [*self.arrays, x], []
        for kind, *names in self.program.statements:
            if kind == "view":
                arrays.append(applied(arrays[names[0]], names[1]))
            elif kind == "new":
                arrays.append(NEW[names[1]](arrays[names[0]]))
            elif kind == "result":
                results.append(RESULTS[names[1]](arrays[names[0]]))
            else:
                STATEMENTS[kind](arrays[names[0]], *(self.operand(arrays, arrays[names[0]], y) for y in names[1:]))
        return results

    def operand(self, arrays: list[Any], beside: Any, y: Any) -> Any:
        """An array, fitted to the one that it is combined with; or a number."""
        if not isinstance(y, tuple):
            return y
        if y[0] == "index":
            return y[1]
        array = arrays[y[1]]
        if y[0] == "computed":
            array = array * 2 - 1
        try:
            fits = np.broadcast_shapes(array.shape, beside.shape) == beside.shape
        except ValueError:
            fits = False
        return array if fits else array.max()


NEW: dict[str, Any] = {
    "copy": lambda x: x.copy(),
    "np.copy": np.copy,
    "computed": lambda x: x * 1,
    "turned": lambda x: x[::-1] + 1,
    "zeros_like": np.zeros_like,
    "full_like": lambda x: np.full_like(x, 3),
    "twice": lambda x: np.concatenate([x.reshape(-1), x.reshape(-1)]),
    "astype": lambda x: x.astype(np.float64),
    "take": lambda x: np.take(x, [0, -1], axis=x.ndim - 1),
}
RESULTS: dict[str, Any] = {
    "itself": lambda x: x * 1,
    "view": lambda x: x[...],
    "sum": lambda x: x.sum(),
    "turned": lambda x: x.T - 1,
}


def add(x: Any, y: Any) -> None:
    x += y


def subtract(x: Any, y: Any) -> None:
    x -= y


def double(x: Any) -> None:
    x *= 2


def assign(x: Any, index: Any, y: Any) -> None:
    x[index] = y.max() if hasattr(y, "max") and not is_whole(index) else y


def add_to(x: Any, index: Any, y: Any) -> None:
    x[index] += y.max() if hasattr(y, "max") and not is_whole(index) else y


def is_whole(index: Any) -> bool:
    return index is Ellipsis


def pick(x: Any, index: Any, y: Any) -> None:
    x[..., index] = y.min() if hasattr(y, "min") else y


def pick_and_add(x: Any, index: Any, y: Any) -> None:
    x[..., index] += y.min() if hasattr(y, "min") else y


def add_at(x: Any, index: Any, y: Any) -> None:
    np.add.at(x, (..., index), y.min() if hasattr(y, "min") else y)


def masked(x: Any, y: Any) -> None:
    x[x > y.max() if hasattr(y, "max") else x > y] = 1


def moved(x: Any) -> None:
    np.add(x[1:], x[:-1], out=x[1:])


def reversed_(x: Any) -> None:
    x[...] = x[::-1]


def swap(x: Any, y: Any) -> None:
    t = np.copy(x)
    x[...] = y
    if getattr(y, "shape", ()) == t.shape and y.shape:
        y[...] = t


STATEMENTS: dict[str, Any] = {
    "add": add,
    "subtract": subtract,
    "double": double,
    "assign": assign,
    "add_to": add_to,
    "maximum": lambda x, y: np.maximum(x, y, out=x),
    "out": lambda x, y, z: np.subtract(y, z, out=x, casting="unsafe") if np.ndim(y) or np.ndim(z) else None,
    "copyto": lambda x, y, z: np.copyto(x, y, where=x > z, casting="unsafe"),
    "where_out": lambda x, y: np.add(x, y, out=x, where=x < 5),
    "pick": pick,
    "pick_and_add": pick_and_add,
    "add_at": add_at,
    "masked": masked,
    "moved": moved,
    "cumsum": lambda x: np.cumsum(x % 4, axis=0, out=x),
    "reversed": reversed_,
    "swap": swap,
}
PARTS = [..., 0, -1, slice(1, None), slice(None, None, -1), slice(None, None, 2), (..., 0), (..., slice(0, 1)), None]
DTYPES = ["f8", "f8", "f4", "i8"]
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


@st.composite
def programs(draw: Any) -> Program:
    """Programs that eager mode accepts; the arrays of the step are followed by what is made of them."""

    def base(dtype: str) -> Base:
        shape = draw(shapes)
        order = draw(st.permutations(range(len(shape)))) if draw(st.booleans()) else range(len(shape))
        return Base(shape, tuple(order), dtype)

    dtype = draw(st.sampled_from(DTYPES))
    made = Program([base(dtype) for _ in range(draw(st.integers(1, 2)))], base(dtype))
    arrays = [b.make() for b in made.bases]
    for _ in range(draw(st.integers(1, 5))):
        source = draw(st.integers(0, len(arrays) - 1))
        array, ops = arrays[source], []
        for _ in range(draw(st.integers(1, 3))):
            ops.append(draw_view(draw, array))
            array = applied(array, ops[-1])
        if np.may_share_memory(array, arrays[source]):
            arrays.append(array)
            made.views.append((source, ops))
    arrays.append(made.argument.make())
    for _ in range(draw(st.integers(1, 10))):
        made.statements.append(draw_statement(draw, arrays))
    return made


def draw_view(draw: Any, x: Any) -> Any:
    kind = draw(st.sampled_from(["slice", "slice", "index", "transpose", "reshape", "newaxis", "other"]))
    if kind == "transpose" and x.ndim > 1:
        return "transpose", tuple(draw(st.permutations(range(x.ndim))))
    if kind == "reshape" and x.size:
        rows = draw(st.sampled_from([n for n in range(1, x.size + 1) if x.size % n == 0]))
        return "reshape", draw(st.sampled_from([(rows, x.size // rows), (x.size,)]))
    if kind == "index" and x.ndim > 1 and x.size:
        axis = draw(st.integers(0, x.ndim - 1))
        return "index", (slice(None),) * axis + (draw(st.integers(-x.shape[axis], x.shape[axis] - 1)),)
    if kind == "newaxis" and x.ndim < 3:
        return "index", (..., None, slice(None)) if x.ndim else (None,)
    if kind == "other" and x.size:
        kinds = ["ravel", "flip"] + ["diagonal"] * (x.ndim > 1) + ["split"] * (x.ndim > 0 and len(x) > 1)
        kinds += ["windows"] * (x.ndim > 0 and x.shape[-1] > 1)
        kind = draw(st.sampled_from(kinds))
        return (kind, 2) if kind == "windows" else (kind,)
    parts = []
    for n in x.shape:
        step = draw(st.sampled_from([1, 1, 2, -1, -2]))
        start = draw(st.integers(0, max(n - 1, 0)))
        parts.append(slice(start, None, step))
    return "index", tuple(parts) or ...


def draw_statement(draw: Any, arrays: list[Any]) -> Any:
    k = draw(st.integers(0, len(arrays) - 1))
    kind = draw(st.sampled_from(["view", "new", "new", "result", "result", "write", "write", "write", "write"]))
    if kind == "view":
        op = draw_view(draw, arrays[k])
        arrays.append(applied(arrays[k], op))
        return "view", k, op
    if kind == "new" and arrays[k].size and arrays[k].ndim:
        how = draw(st.sampled_from(sorted(NEW)))
        arrays.append(NEW[how](arrays[k]))
        return "new", k, how
    writable = [k for k, x in enumerate(arrays) if x.size and x.ndim and x.flags.writeable]
    if kind == "write" and writable:
        k = draw(st.sampled_from(writable))
        return draw_write(draw, arrays, k)
    return "result", k, draw(st.sampled_from(sorted(RESULTS)) if arrays[k].size else st.just("itself"))


def draw_write(draw: Any, arrays: list[Any], k: int) -> Any:
    x = arrays[k]
    readable = [j for j, y in enumerate(arrays) if y.size and y.dtype == x.dtype]
    alike = [j for j in readable if arrays[j].shape == x.shape]
    other = st.tuples(st.sampled_from(["array", "computed"]), st.one_of(map(st.sampled_from, (alike, readable))))
    operand = st.one_of(other, other, other, st.sampled_from([1, 2, -3]))
    kind = draw(st.sampled_from(["replace", *sorted(STATEMENTS)]))
    places = st.lists(st.integers(0, x.shape[-1] - 1), min_size=1, max_size=4)
    parts = [p for p in PARTS if x[p].size or not isinstance(p, slice)]
    match kind:
        case "double" | "reversed" | "cumsum":
            return kind, k
        case "replace":  # by what was computed before: until then, the old content is read
            return "assign", k, ("index", ...), ("array", alike[-1])
        case "swap":  # both are written
            return kind, k, ("array", draw(st.sampled_from([j for j in readable if arrays[j].flags.writeable])))
        case "moved":
            return (kind, k) if len(x) > 1 else ("double", k)
        case "assign" | "add_to":
            return kind, k, ("index", draw(st.sampled_from(parts))), draw(operand)
        case "pick" | "pick_and_add" | "add_at":
            return kind, k, ("index", draw(places)), draw(operand)
        case "out" | "copyto":
            return kind, k, draw(operand), draw(operand if kind == "out" else st.sampled_from([0, 3]))
        case _:
            return kind, k, draw(operand)


def check(program: Program, backend: str) -> None:
    """Results, and all that is left behind, of some calls; the memory changes between them as well."""
    eager, plain = Step(program), Step(program)
    compiled = mg.compile(plain, backend=backend, fallback="raise", audit=False)
    for call in range(CALLS):
        given = [program.argument.make() for _ in range(2)]
        expected, actual = eager(given[0]), compiled(given[1])
        assert len(expected) == len(actual)
        for k, (x, y) in enumerate(zip(expected, actual, strict=True)):
            same(x, y, f"result {k} of call {call + 1}")
        same(*given, f"the argument after call {call + 1}")
        for k, (x, y) in enumerate(zip(eager.arrays, plain.arrays, strict=True)):
            same(x, y, f"array {k} after call {call + 1}")
        for step in (eager, plain):
            step.arrays[0][...] = step.arrays[0] % 7
    assert sum(version.calls for version in compiled.versions) >= CALLS - 2


def same(x: Any, y: Any, what: str) -> None:
    assert type(y) is np.ndarray or np.ndim(x) == 0, what
    assert np.asarray(y).dtype == np.asarray(x).dtype, what
    np.testing.assert_array_equal(y, x, err_msg=what)


FEW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MANY = settings(FEW, max_examples=4000)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@FEW
@given(program=programs())
def test_views(backend: str, program: Program) -> None:
    check(program, backend)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["numpy", "numba"])
@MANY
@given(program=programs())
def test_many_views(backend: str, program: Program) -> None:
    check(program, backend)
