"""The program of a compiled step and its checker."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.compiler.ir.operations import FUNCTIONS, filled
from minigrad.compiler.ir.program import ArgSlot, Buffer, Op, Program, Value
from minigrad.compiler.ir.typing import RESULTS, Malformed, check, make

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly

RNG = np.random.default_rng(0)


def x_y(dtype: str = "f4") -> tuple[list[Op], list[Buffer]]:
    buffers = [Buffer("x", "argument", np.zeros((3, 4), dtype), 0), Buffer("w", "state", np.zeros(4, dtype))]
    return [make("input", buffer=b) for b in buffers], buffers


def program(ops: list[Op], buffers: list[Buffer], out: Value) -> Program:
    return Program(ops, buffers, {}, [out], [])


FLOATS = [("f4", "f4"), ("f4", "f8"), ("i8", "f4"), ("f4", 2), ("f4", 2.0), (2.5, "f8"), ("i4", 2), ("i4", 2.0)]


@pytest.mark.parametrize("kinds", FLOATS, ids=str)
@pytest.mark.parametrize("name", ["add", "divide", "power", "less", "maximum"])
def test_promotion_is_numpys(name: str, kinds: Any) -> None:
    arrays = [np.ones((2, 3), k) if isinstance(k, str) else k for k in kinds]
    ops = [make("full", shape=a.shape, dtype=a.dtype, value=1) for a in arrays if isinstance(a, np.ndarray)]
    values = iter(op.out for op in ops)
    op = make(name, *(next(values) if isinstance(a, np.ndarray) else a for a in arrays))
    expected = getattr(np, name)(*arrays)
    assert (op.out.shape, op.out.dtype) == (expected.shape, expected.dtype)


SHAPES = {
    "sum of bool": ("sum", "?", {"axes": (0,)}, lambda x: x.sum(0, keepdims=True)),
    "sum of int8": ("sum", "i1", {"axes": (0, 1)}, lambda x: x.sum(keepdims=True)),
    "max": ("max", "f4", {"axes": (1,)}, lambda x: x.max(1, keepdims=True)),
    "slice": ("slice", "f4", {"bounds": ((0, 3, 2), (3, None, -1))}, lambda x: x[0:3:2, 3::-1]),
    "transpose": ("transpose", "f4", {"axes": (1, 0)}, lambda x: x.T),
    "gather": ("gather", "f4", {"index": (1, None)}, lambda x: x[1, None]),
    "cast": ("cast", "f4", {"dtype": np.dtype("f8")}, lambda x: x.astype("f8")),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_numpys(name: str) -> None:
    kind, dtype, params, function = SHAPES[name]
    x = make("full", shape=(3, 4), dtype=np.dtype(dtype), value=1)
    op, expected = make(kind, x.out, **params), function(np.ones((3, 4), dtype))
    assert (op.out.shape, op.out.dtype) == (expected.shape, expected.dtype)


def test_gather_with_arrays() -> None:
    x = make("full", shape=(3, 4), dtype=np.dtype("f4"), value=1)
    i = make("full", shape=(5, 1), dtype=np.dtype("i8"), value=1)
    assert make("gather", x.out, i.out, index=(ArgSlot(0), (0, 4, 2))).out.shape == (5, 1, 2)


def test_every_op_has_a_function() -> None:
    """Only inputs need more than operands. The functions are compared with NumPy's by proofs and audits."""
    assert FUNCTIONS.keys() == RESULTS.keys() - {"input"}


def test_operands_fill_the_slots_of_arguments() -> None:
    assert filled(((ArgSlot(1), 2), {"axis": ArgSlot(0)}, [3]), "ab") == (("b", 2), {"axis": "a"}, [3])


def test_the_checker_accepts_a_valid_program() -> None:
    ops, buffers = x_y()
    y = make("multiply", ops[0].out, ops[1].out)
    checked = check(Program([*ops, y], buffers, {buffers[1]: ops[1].out}, [y.out], []))
    assert len(checked) == 1
    assert "multiply(%1, %2)" in str(checked)


def unordered() -> Program:
    ops, buffers = x_y()
    y = make("exp", ops[0].out)
    return program([y, *ops], buffers, y.out)


def twice() -> Program:
    ops, buffers = x_y()
    return program([*ops, ops[0]], buffers, ops[0].out)


def wrong_shape() -> Program:
    ops, buffers = x_y()
    y = Op("exp", [ops[0].out], {}, [((4, 3), "f4")])
    return program([*ops, y], buffers, y.out)


def wrong_dtype() -> Program:
    ops, buffers = x_y()
    y = Op("add", [ops[0].out, 1.0], {}, [((3, 4), "f8")])
    return program([*ops, y], buffers, y.out)


def numpy_literal() -> Program:
    ops, buffers = x_y()
    y = Op("add", [ops[0].out, np.float32(1)], {}, [((3, 4), "f4")])  # type: ignore[list-item]
    return program([*ops, y], buffers, y.out)


def foreign_output() -> Program:
    ops, buffers = x_y()
    return program(ops, buffers, make("exp", ops[0].out).out)


def wrong_store() -> Program:
    ops, buffers = x_y()
    return Program(ops, buffers, {buffers[1]: ops[0].out}, [], [])


def unsorted_axes() -> Program:
    ops, buffers = x_y()
    y = Op("sum", [ops[0].out], {"axes": (1, 0)}, [((1, 1), "f4")])
    return program([*ops, y], buffers, y.out)


def reshaped_wrongly() -> Program:
    ops, buffers = x_y()
    y = Op("reshape", [ops[0].out], {"shape": (5,)}, [((5,), "f4")])
    return program([*ops, y], buffers, y.out)


def two_inputs() -> Program:
    ops, buffers = x_y()
    again = make("input", buffer=buffers[0])
    return program([*ops, again], buffers, again.out)


def no_generator() -> Program:
    op = Op("random", [], {"generator": 0, "method": "random", "args": (3,), "kwargs": {}}, [((3,), "f8")])
    return program([op], [], op.out)


def unknown() -> Program:
    ops, buffers = x_y()
    y = Op("explode", [ops[0].out], {}, [((3, 4), "f4")])
    return program([*ops, y], buffers, y.out)


def set_slice_of_another_dtype() -> Program:
    ops, buffers = x_y()
    part = make("full", shape=(1, 4), dtype=np.dtype("f8"), value=0)
    steps = (("slice", ((0, 1, 1), (0, 4, 1))),)
    y = Op("set_slice", [ops[0].out, part.out], {"steps": steps}, [((3, 4), "f4")])
    return program([*ops, part, y], buffers, y.out)


BAD = [unordered, twice, wrong_shape, wrong_dtype, numpy_literal, foreign_output, wrong_store, unsorted_axes]
BAD += [reshaped_wrongly, two_inputs, no_generator, unknown, set_slice_of_another_dtype]


@pytest.mark.parametrize("broken", BAD, ids=lambda f: f.__name__)
def test_the_checker_refuses(broken: Any) -> None:
    with pytest.raises(Malformed):
        check(broken())


PARTS = {
    "side by side": [np.s_[:, :2], np.s_[:, 2:5], np.s_[:, 5:]],
    "in another order": [np.s_[2:], np.s_[:1], np.s_[1:2]],
    "with a gap": [np.s_[:, :2], np.s_[:, 3:5]],
    "corners": [np.s_[:2, :3], np.s_[2:, 3:], np.s_[:2, 3:]],
    "overlapping": [np.s_[:, :3], np.s_[:, 2:]],
    "every other": [np.s_[::2], np.s_[1::2]],
    "backward": [np.s_[::-1], np.s_[:, 1:3]],
    "rows": [0, 2],
}


@pytest.mark.parametrize("name", PARTS)
def test_gradients_of_slices_come_together(name: str) -> None:
    x = mg.Tensor(np.random.default_rng(0).normal(size=(4, 6)))

    def function(x: Any) -> Any:
        return sum((x[part] ** (k + 2)).sum() for k, part in enumerate(PARTS[name]))

    step = mg.compile(mg.grad(function), backend="numpy")
    for _ in range(2):
        np.testing.assert_allclose(step(x).numpy(), mg.grad(function)(x).numpy(), rtol=1e-12)
    steps = step.source.split("def step")[1]
    if name in ("side by side", "in another order"):
        assert "updated" not in steps  # no set_slice
        assert "sum_" not in steps
    elif name in ("with a gap", "corners", "rows"):
        assert "sum_" not in steps
