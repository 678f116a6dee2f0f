"""Passes of the compiler are proven in exact arithmetic; planted faults are found, and the pass is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from minigrad.compiler.ir.evaluate import work
from minigrad.compiler.ir.program import ArgSlot, Buffer, Op, Program, Value
from minigrad.compiler.ir.typing import make
from minigrad.compiler.kernels import legalize
from minigrad.compiler.passes import pipeline as passes
from minigrad.compiler.passes import proof
from minigrad.compiler.passes.pipeline import optimized
from minigrad.compiler.passes.proof import ProofError, prove_equal, proven

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly

# Small programs


def inputs(*shapes: tuple[int, ...], dtype: str = "f8") -> tuple[list[Op], list[Buffer]]:
    buffers = [Buffer(f"x{k}", "argument", np.zeros(shape, dtype), k) for k, shape in enumerate(shapes)]
    return [make("input", buffer=b) for b in buffers], buffers


def pair(build: Callable[..., Any], other: Callable[..., Any], *shapes: tuple[int, ...], dtype: str = "f8") -> Any:
    """Two programs on the same buffers."""
    sources, buffers = inputs(*shapes, dtype=dtype)
    programs = []
    for function in (build, other):
        ops: list[Op] = []

        def op(name: str, *ins: Any, ops: list[Op] = ops, **params: Any) -> Value:
            ops.append(make(name, *ins, **params))
            return ops[-1].out

        out = function(op, *(source.out for source in sources))
        programs.append(Program([*sources, *ops], buffers, {}, [out], []))
    return programs


EQUAL: dict[str, Any] = {
    "distribution": (
        lambda op, x, y: op("multiply", x, op("add", x, y)),
        lambda op, x, y: op("add", op("multiply", x, x), op("multiply", y, x)),
    ),
    "a quotient": (lambda op, x, y: op("divide", x, y), lambda op, x, y: op("multiply", x, op("divide", 1.0, y))),
    "thirds": (lambda op, x, y: op("divide", x, 3.0), lambda op, x, y: op("multiply", x, 1 / 3)),
    "a root squared": (
        lambda op, x, y: op("square", op("sqrt", op("multiply", x, x))),
        lambda op, x, y: op("multiply", x, x),
    ),
    "a sum of exponents": (
        lambda op, x, y: op("exp", op("add", x, y)),
        lambda op, x, y: op("multiply", op("exp", x), op("exp", y)),
    ),
    "folded constants": (
        lambda op, x, y: op("multiply", op("multiply", x, 0.7978845608028654), 0.8862269254527579),
        lambda op, x, y: op("multiply", x, 0.7978845608028654 * 0.8862269254527579),
    ),
    "a folded logarithm": (
        lambda op, x, y: op("multiply", x, op("log", op("full", shape=(), dtype=np.dtype("f8"), value=3.0))),
        lambda op, x, y: op("multiply", x, float(np.log(3.0))),
    ),
    "a maximum": (
        lambda op, x, y: op("maximum", x, y),
        lambda op, x, y: op("where", op("greater", x, y), x, y),
    ),
    "rows and columns": (
        lambda op, x, y: op("transpose", op("sum", op("multiply", x, y), axes=(0,)), axes=(1, 0)),
        lambda op, x, y: op("sum", op("transpose", op("multiply", y, x), axes=(1, 0)), axes=(1,)),
    ),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equal_programs_are_proven_equal(name: str) -> None:
    report = prove_equal(*pair(*EQUAL[name], (3, 4), (3, 4)))
    assert not report.inexact
    assert report.elements >= 4


DIFFERENT: dict[str, Any] = {
    "a constant off by 1e-12": (
        lambda op, x, y: op("multiply", x, 0.7978845608028654),
        lambda op, x, y: op("multiply", x, 0.7978845608028654 * (1 + 1e-12)),
    ),
    "an epsilon of 1e-12": (
        lambda op, x, y: op("sqrt", op("add", op("multiply", x, x), 1e-12)),
        lambda op, x, y: op("sqrt", op("multiply", x, x)),
    ),
    "a term of 1e-9": (lambda op, x, y: op("add", x, op("multiply", y, 1e-9)), lambda op, x, y: op("add", x, 0.0)),
    "another function": (lambda op, x, y: op("sin", x), lambda op, x, y: op("tanh", x)),
    "a strict comparison": (
        lambda op, x, y: op("cast", op("greater_equal", x, x), dtype=np.dtype("f8")),
        lambda op, x, y: op("cast", op("greater", x, x), dtype=np.dtype("f8")),
    ),
    "an axis": (
        lambda op, x, y: op("broadcast", op("sum", x, axes=(0,)), shape=(4, 4)),
        lambda op, x, y: op("broadcast", op("reshape", op("sum", x, axes=(1,)), shape=(1, 4)), shape=(4, 4)),
    ),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_different_programs_are_refused(name: str) -> None:
    with pytest.raises(ProofError, match=r"rewriting changes output 0 .* the first op that (differs|is missing) is"):
        prove_equal(*pair(*DIFFERENT[name], (4, 4), (4, 4)))


def test_random_labels_are_in_range() -> None:
    def picked(op: Any, x: Any, labels: Any) -> Any:
        return op("gather", op("cast", x, dtype=np.dtype("f8")), labels, index=(ArgSlot(0), 1))

    report = prove_equal(*pair(picked, picked, (3, 2), (3,), dtype="i8"))
    assert report.elements == 3


def test_floats_are_compared_where_nothing_is_exact() -> None:
    def off(by: float) -> Any:
        return lambda op, x: op("multiply", op("nextafter", x, 2.0), by)

    report = prove_equal(*pair(off(1.0), off(1.0 + 1e-12), (3,)))
    assert "nextafter has no exact meaning" in report.inexact
    assert "to 1e-07 only" in str(report)
    with pytest.raises(ProofError):
        prove_equal(*pair(off(1.0), off(1.001), (3,)))


def test_draws_and_stores_are_compared() -> None:
    sources, buffers = inputs((3,))
    params = {"generator": 0, "method": "random", "args": (3,), "kwargs": {}}
    draws = [Op("random", [], params, [((3,), "f8")]) for _ in range(2)]
    out = make("subtract", draws[0].out, draws[1].out)
    before = Program([*sources, *draws, out], buffers, {buffers[0]: out.out}, [], [None])
    swapped = Program([*sources, *draws[::-1], out], buffers, {buffers[0]: out.out}, [], [None])
    with pytest.raises(ProofError, match="the store to 'x0'"):
        prove_equal(before, swapped)
    fewer = make("negative", draws[0].out)
    with pytest.raises(ProofError, match="the draws differ, first random"):
        prove_equal(before, Program([*sources, draws[0], fewer], buffers, {buffers[0]: fewer.out}, [], [None]))
    with pytest.raises(ProofError, match="in one of the programs only"):
        prove_equal(before, Program([*sources, *draws], buffers, {}, [], [None]))


def test_a_store_of_the_old_content_may_be_removed() -> None:
    sources, buffers = inputs((2, 2))
    turned = make("transpose", sources[0].out, axes=(1, 0))
    back = make("transpose", turned.out, axes=(1, 0))
    without = Program(sources, buffers, {}, [sources[0].out], [])
    for stored, is_proven in ((back, True), (turned, False)):
        stores = Program([*sources, turned, back], buffers, {buffers[0]: stored.out}, [sources[0].out], [])
        for pair in ((stores, without), (without, stores)):
            if is_proven:
                prove_equal(*pair)
            else:
                with pytest.raises(ProofError, match="in one of the programs only"):
                    prove_equal(*pair)


# Faults in passes


def model_step() -> Any:
    """A training step with batch normalization, dropout, two losses and Adam."""
    model = nn.Sequential(nn.Linear(3, 6, rng=0), nn.BatchNorm(6), nn.Tanh(), nn.Dropout(0.2, rng=1), nn.Linear(6, 4))
    optimizer = optim.Adam(model.parameters(), lr=0.01, global_clipnorm=1.0)

    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = F.huber_loss(model(x), labels) + F.mse_loss(model(2 * x), labels - x.mean())
        loss.backward()
        optimizer.step()
        return loss

    return step


def run() -> None:
    """Compile a step whose loss depends on every sign. (Softmax does not change if all logits do alike.)"""
    rng = np.random.default_rng(0)
    programmed(model_step(), rng.normal(size=(5, 3)), rng.normal(size=(5, 4)))


def programmed(step: Any, *arguments: Any) -> str:
    """The source of a step's program, which is made when it is read."""
    compiled = mg.compile(step, backend="numpy")
    with np.errstate(all="ignore"):  # where floating-point errors raise, a step runs eagerly
        compiled(*arguments)
    return str(compiled.source)


def sign(op: Op) -> Op | None:
    return make("add", *op.ins) if op.name == "subtract" and op.out.dtype.kind == "f" else None


def dropped(op: Op) -> Op | None:
    is_sum = op.name == "add" and all(isinstance(x, Value) and x.shape == op.out.shape for x in op.ins)
    return make("copy", op.operands[0]) if is_sum and op.out.dtype.kind == "f" and op.out.ndim else None


def constant(op: Op) -> Op | None:
    numbers = [x for x in op.ins if type(x) is float and x not in (0.0, 1.0)]
    if op.name not in ("add", "multiply") or not numbers or not op.out.ndim:
        return None
    return make(op.name, *(x * (1 + 1e-12) if x in numbers else x for x in op.ins))


def axis(op: Op) -> Op | None:
    """The factors of a product of square matrices swapped: the shapes still fit."""
    if op.name != "matmul" or op.out.ndim != 2 or len({*op.operands[0].shape, *op.operands[1].shape}) > 1:
        return None
    return make("matmul", *op.operands[::-1])


FAULTS = {"wrong sign": sign, "dropped term": dropped, "a constant off by 1e-12": constant}


def faulty(change: Any, fault: Callable[[Op], Op | None], skip: int = 0) -> Any:
    """A pass with a fault in the (skip + 1)-th op to which it applies."""

    def wrong(program: Program) -> Program:
        program = change(program)
        new: dict[Value, Value] = {}
        ops, left = [], skip
        for op in program.ops:
            ins = [new.get(x, x) if isinstance(x, Value) else x for x in op.ins]
            copy = Op(op.name, ins, op.params, [(v.shape, v.dtype) for v in op.outs], op.note)
            planted = fault(copy) if left >= 0 and copy.outs else None
            if planted is not None and planted.out.shape == copy.out.shape:
                copy, left = (planted, -1) if left == 0 else (copy, left - 1)
            new.update(zip(op.outs, copy.outs, strict=True))
            ops.append(copy)
        assert left < 0, "the fault was not planted"
        return program.replaced(lambda v: new.get(v, v), ops)

    return wrong


@pytest.mark.parametrize("skip", [0, 1, 2, 4])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", passes.PASSES)
def test_a_planted_fault_is_found_and_the_pass_is_named(
    name: str, fault: str, skip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip = min(skip, 1) if fault == "dropped term" else skip
    monkeypatch.setitem(passes.PASSES, name, faulty(passes.PASSES[name], FAULTS[fault], skip))
    with pytest.raises(ProofError, match=rf"^{name} changes .* the first op that (differs|is missing) is"):
        run()


def test_copied_ops_without_a_fault_are_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above fail because of the fault, not because ops are copied."""

    def again(op: Op) -> Op | None:
        return make(op.name, *op.ins) if op.name == "add" else None

    for name, change in passes.PASSES.items():
        monkeypatch.setitem(passes.PASSES, name, faulty(change, again))
    run()


def test_a_wrong_axis_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(passes.PASSES, "algebra", faulty(passes.PASSES["algebra"], axis))
    square = np.arange(9.0).reshape(3, 3)
    with pytest.raises(ProofError, match=r"^algebra changes output 0"):
        programmed(lambda x, y: mg.tanh(x @ y), square, square + 1)


def test_a_fault_in_the_form_for_kernels_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(legalize, "legalized", faulty(legalize.legalized, sign))
    with pytest.raises(ProofError, match=r"^the form for kernels changes"):
        run()


@pytest.mark.parametrize("fault", FAULTS)
def test_verify_proves_outside_of_a_block(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = []
    monkeypatch.setattr(
        "minigrad.compiler.specialization.optimized", lambda p, verify: programs.append(p) or optimized(p)
    )
    run()
    token = proof.watching.set(None)
    try:
        optimized(programs[0], verify=True)
        monkeypatch.setitem(passes.PASSES, "algebra", faulty(passes.PASSES["algebra"], FAULTS[fault]))
        optimized(programs[0])
        with pytest.raises(ProofError, match=r"^algebra"):
            optimized(programs[0], verify=True)
    finally:
        proof.watching.reset(token)


def test_large_programs_are_skipped_and_counted() -> None:
    with proven(limit=10) as watch:
        run()
    assert not watch.reports
    assert len(watch.skipped) == 1
    assert watch.skipped[0] > 10


def test_every_program_of_a_test_is_proven() -> None:
    """The fixture in conftest.py watches."""
    watch = proof.watching.get()
    assert watch is not None
    run()
    assert [report.name for report in watch.reports] == [*passes.PASSES, "the form for kernels"]
    assert not any(report.inexact for report in watch.reports)


def test_work_counts_elements() -> None:
    before, _ = pair(lambda op, x, y: op("add", x, y), lambda op, x, y: x, (3, 4), (3, 4))
    assert work(before) == 12 * 5
