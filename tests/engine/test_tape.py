"""The tape as text, its invariants, its length, and what it keeps alive."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.engine import tape, tracing
from minigrad.engine.node import Node


def leaf(*shape: int, name: str) -> mg.Tensor:
    return mg.Tensor(np.ones(shape), requires_grad=True).named(name)


def assert_printed(printed: mg.Tape, expected: str) -> None:
    assert [line.rstrip() for line in str(printed).splitlines()] == dedent(expected).strip("\n").splitlines()
    printed.check()


# Golden tapes


def test_batch_norm_printed() -> None:
    x, gamma, beta = leaf(8, 3, name="x"), leaf(3, name="gamma"), leaf(3, name="beta")
    mu = mg.name("mu", x.mean(axis=0), label="μ")
    var = mg.name("var", ((x - mu) ** 2).mean(axis=0), label="σ²")
    xhat = mg.name("xhat", (x - mu) / np.sqrt(var + 1e-5), label="x̂")
    expected = """
         1  x      leaf                   (8, 3)  float64
         2  gamma  leaf                   (3,)    float64
         3  beta   leaf                   (3,)    float64
         4  mu     mean(x, axis=0)        (3,)    float64
         5  %5     subtract(x, mu)        (8, 3)  float64
         6  %6     square(%5)             (8, 3)  float64
         7  var    mean(%6, axis=0)       (3,)    float64
         8  %8     subtract(x, mu)        (8, 3)  float64
         9  %9     add(var, 1e-05)        (3,)    float64
        10  %10    sqrt(%9)               (3,)    float64
        11  xhat   divide(%8, %10)        (8, 3)  float64
        12  %12    multiply(gamma, xhat)  (8, 3)  float64
        13  %13    add(%12, beta)         (8, 3)  float64
    """
    assert_printed(mg.Tape(gamma * xhat + beta), expected)


def test_a_small_network_printed() -> None:
    """Equal names are distinguished by their scope, and by their place where that is equal too."""
    x = np.ones((4, 2), dtype=np.float32)
    with mg.scope("hidden"):
        w = mg.Tensor(np.ones((2, 3), np.float32), requires_grad=True).named("w")
        h = np.tanh(x @ w).named("h")
    with mg.scope("out"):
        v, b, c = leaf(3, 1, name="w"), leaf(1, name="b"), leaf(name="b")
        loss = (h @ v + b - c).mean().named("loss")
    expected = """
         1  hidden/w  leaf                        (2, 3)  float32
         2  %2        matmul(const4×2, hidden/w)  (4, 3)  float32
         3  h         tanh(%2)                    (4, 3)  float32
         4  out/w     leaf                        (3, 1)  float64
         5  out/b#5   leaf                        (1,)    float64
         6  out/b#6   leaf                        ()      float64
         7  %7        matmul(h, out/w)            (4, 1)  float64
         8  %8        add(%7, out/b#5)            (4, 1)  float64
         9  %9        subtract(%8, out/b#6)       (4, 1)  float64
        10  loss      mean(%9)                    ()      float64
    """
    assert_printed(mg.Tape(loss), expected)


def test_an_einsum_printed() -> None:
    out = np.einsum("bij,bjk,kk->ki", leaf(2, 3, 4, name="a"), leaf(2, 4, 5, name="b"), leaf(5, 5, name="c"))
    expected = """
        1  a   leaf                              (2, 3, 4)  float64
        2  b   leaf                              (2, 4, 5)  float64
        3  c   leaf                              (5, 5)     float64
        4  %4  einsum_diagonal(c, spec=kk->k)    (5,)       float64
        5  %5  contract(a, b, spec=bij,bjk->ik)  (3, 5)     float64
        6  %6  contract(%4, %5, spec=k,ik->ki)   (5, 3)     float64
    """
    assert_printed(mg.Tape(out), expected)


def test_indexing_printed() -> None:
    x = leaf(4, 5, name="x")
    y = x[1:, ::-1] * 1.0
    y[0] = x[[0, 0, 2, 1, 3], 2]
    y[np.array([True, False, True])] = 7.5
    s = np.concatenate([y, x[..., None, 0, :]], axis=0).max(axis=1, keepdims=True)
    expected = """
        1  x   leaf                                     (4, 5)  float64
        2  %2  getitem(x, index=(1:, ::-1))             (3, 5)  float64
        3  %3  multiply(%2, 1)                          (3, 5)  float64
        4  %4  getitem(x, index=(<int64[5]>, 2))        (5,)    float64
        5  %5  set_index(%3, %4, index=0)               (3, 5)  float64
        6  %6  set_index(%5, 7.5, index=<bool[3]>)      (3, 5)  float64
        7  %7  getitem(x, index=(..., None, 0, :))      (1, 5)  float64
        8  %8  concat(%6, %7, axis=0, stops=(0, 3, 4))  (4, 5)  float64
        9  %9  max(%8, axis=1, keepdims=True)           (4, 1)  float64
    """
    assert_printed(mg.Tape(s, y), expected)


def test_constants_printed() -> None:
    """Python numbers are shown; of arrays those that were kept, by their shapes."""
    x = leaf(2, 3, name="x")
    expected = """
        1  x   leaf                      (2, 3)  float64
        2  %2  divide(2, x)              (2, 3)  float64
        3  %3  power(x, 3)               (2, 3)  float64
        4  %4  add(%2, %3)               (2, 3)  float64
        5  %5  where(const2×3, x, 0.25)  (2, 3)  float64
        6  %6  subtract(%4, %5)          (2, 3)  float64
        7  %7  add(%6, ·)                (2, 3)  float64
        8  %8  sum(%7, axis=(0, 1))      ()      float64
    """
    y = 2 / x + x**3 - np.where(x.data > 0, x, 0.25) + np.ones(3)
    assert_printed(mg.Tape(y.sum(axis=(0, 1))), expected)


def test_a_tape_after_backward_is_still_printed() -> None:
    x = leaf(2, name="x")
    y = (3.0 * x * np.ones(2)).sum()
    before = str(mg.Tape(y))
    y.backward()
    after = str(mg.Tape(y))
    assert "multiply(3, x)" in before
    assert "multiply(3, x)" in after
    assert "multiply(%2, const2)" in before
    assert "multiply(%2, ·)" in after


# Its lines


def test_a_tape_is_a_sequence_of_the_nodes_that_its_outputs_need() -> None:
    x, y = leaf(2, name="x"), leaf(2, name="y")
    a = x * y
    b = a + x
    np.exp(b)
    t = mg.Tape(b, a)
    assert len(t) == 4
    assert list(t) == t.nodes == [x.node, y.node, a.node, b.node]
    assert t[-1] is b.node
    assert t.leaves == [x.node, y.node]
    assert t.outputs == (b.node, a.node)
    assert repr(t) == "<Tape of 4 nodes, 2 of them leaves>"
    t.check()


def test_a_tape_of_a_constant_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"Tape.*requires_grad=True"):
        mg.Tape(mg.Tensor([1.0]))
    with pytest.raises(ValueError, match=r"Tape: \(300, 2\) float64 \(ndarray\) was not computed"):  # not its elements
        mg.Tape(np.ones((300, 2)))


def test_check_names_a_node_out_of_order() -> None:
    x = leaf(2, name="x")
    y = x * x
    t = mg.Tape(y)
    y.node.serial = 0
    with pytest.raises(AssertionError, match="multiply"):
        t.check()


def test_check_names_a_node_with_missing_residuals() -> None:
    x = leaf(2, name="x")
    y = x * x
    y.node.residuals = ()
    with pytest.raises(AssertionError, match="has 0 residuals"):
        mg.Tape(y).check()


def test_only_what_a_rule_needs_is_kept() -> None:
    """A product with a constant keeps the constant alone; a sum keeps nothing; exp keeps its value."""
    x = leaf(3, name="x")
    c = np.full(3, 2.0)
    assert [v is None for v in (x * c).node.residuals] == [True, False]
    assert (x + c).node.residuals == ()
    y = np.exp(x)
    assert y.node.residuals[0] is y.data
    assert x.sum().node.residuals == ()


# Its length


@pytest.fixture
def no_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_a_million_nodes() -> None:
    """Forward, both walks, and the release of the chain, none by recursion."""
    length = 1_000_000
    x = mg.Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(length // 2):
        y = y + 1.0
        y = -y
    lines = mg.Tape(y)
    assert len(lines) == length + 1
    part = lines[: length // 5]
    assert tape.push(part, {x.node: np.ones(())})[part[-1]] == -1.0
    del lines, part
    y.backward()
    assert x.grad.item() == 1.0
    del y


# What it keeps alive


def network(x: Any, w: mg.Tensor, v: mg.Tensor) -> mg.Tensor:
    h = np.tanh(x @ w)
    h = (h - h.mean(axis=0)) / np.sqrt(h.var(axis=0) + 1e-5)
    return np.square(h @ v).mean()


def test_the_memory_of_a_training_loop_is_flat(no_gc: None) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 8))
    w, v = mg.Tensor(rng.normal(size=(8, 16)), requires_grad=True), mg.Tensor(np.ones((16, 1)), requires_grad=True)

    def step() -> None:
        for t in (w, v):
            t.grad = None
        network(x, w, v).backward()
        with mg.no_grad():
            for t in (w, v):
                t -= 0.01 * t.grad

    for _ in range(20):
        step()
    tracemalloc.start()
    try:
        for _ in range(100):  # until Python's free lists are full
            step()
        first = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            step()
        grown = tracemalloc.get_traced_memory()[0] - first
    finally:
        tracemalloc.stop()
    assert grown < 4096


def live_nodes() -> int:
    return sum(type(x) is Node for x in gc.get_objects())


@pytest.mark.parametrize("create_graph", [False, True])
def test_no_reference_cycles(create_graph: bool, no_gc: None) -> None:
    """With the collector off, the last name that goes takes everything with it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 3))
    w, v = (
        mg.Tensor(rng.normal(size=(3, 4)), requires_grad=True),
        mg.Tensor(rng.normal(size=(4, 1)), requires_grad=True),
    )
    before = live_nodes()
    loss = network(x, w, v).retain_grad()
    loss.backward(create_graph=create_graph)
    assert live_nodes() > before
    line, gradient = weakref.ref(loss.node), weakref.ref(w.grad)
    if create_graph:
        (w.grad * w.grad).sum().backward()
    w.grad = v.grad = None
    assert gradient() is None
    del loss
    assert line() is None
    assert live_nodes() == before
    leaf_line = weakref.ref(w.node)
    del w
    assert leaf_line() is None


def test_no_cycle_through_push_hooks_and_item_assignment(no_gc: None) -> None:
    before = live_nodes()
    x = mg.Tensor(np.ones((3, 2)), requires_grad=True)
    y = x * 2.0
    y[0] = x[1] * 3.0
    y.register_hook(lambda v: None)
    z = np.exp(y).sum()
    tape.push(mg.Tape(z).nodes, {x.node: mg.Tensor(np.ones((3, 2)))}, record=True)
    z.backward(create_graph=True)
    x.grad = None
    references = [weakref.ref(t) for t in (x, y, z)]
    del x, y, z
    assert [reference() for reference in references] == [None] * 3
    assert live_nodes() == before


def test_an_error_in_a_rule_leaves_nothing_behind(no_gc: None) -> None:
    before = live_nodes()
    x = mg.Tensor(np.array([0.0, 1.0]), requires_grad=True)
    y = np.sqrt(x).sum()
    with pytest.raises(FloatingPointError):
        y.backward(create_graph=True)
    assert mg.is_grad_enabled()
    del x, y
    assert live_nodes() == before


def test_backward_releases_residuals(no_gc: None) -> None:
    x = mg.Tensor(np.ones(1000), requires_grad=True)
    y = np.exp(x)
    z = (y * y).sum()
    kept = weakref.ref(y.data)
    line = y.node
    del y
    assert kept() is not None
    z.backward()
    assert kept() is None
    assert line.residuals is None


def test_retain_graph_keeps_residuals() -> None:
    x = mg.Tensor(np.ones(3), requires_grad=True)
    y = np.exp(x).sum()
    for times in (1, 2, 3):
        y.backward(retain_graph=True)
        np.testing.assert_allclose(x.grad.data, times * np.e)
    y.backward()
    with pytest.raises(RuntimeError, match=r"sum .*retain_graph=True"):
        y.backward()


def test_intermediate_cotangents_do_not_outlive_the_walk(no_gc: None) -> None:
    """The peak of backward is a few arrays, not one for each line."""
    x = mg.Tensor(np.ones(100_000), requires_grad=True)
    y = x
    for _ in range(50):
        y = -y
    tracemalloc.start()
    try:
        y.sum().backward()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * x.data.nbytes


def test_a_constant_does_not_keep_its_history(no_gc: None) -> None:
    x = mg.Tensor(np.ones(3), requires_grad=True)
    with mg.no_grad():
        y = np.exp(x)
    z = np.exp(x)
    line = weakref.ref(z.node)
    d = z.detach()
    del z
    assert line() is None
    assert y.node is None
    assert d.node is None


def test_outputs_may_come_in_a_list() -> None:
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    y, z = x * 2, x * 3
    for outputs in ([y, z], (y, z)):
        assert len(mg.Tape(outputs)) == len(mg.Tape(y, z)) == 3
        assert mg.draw(outputs).source == mg.draw(y, z).source
        assert str(mg.tape_table(outputs)) == str(mg.tape_table(y, z))


def test_a_trace_sees_the_node_that_a_walk_has_reached() -> None:
    seen: list[Any] = []

    def rule(v: Any) -> Any:
        seen.append(tracing.walked.get())
        if len(seen) == 3:
            raise ZeroDivisionError
        return v

    f = mg.custom(lambda x: x + 0.0, rule, name="f")
    x = mg.Tensor(np.ones(2), requires_grad=True)
    y, z, w = f(x), f(x), f(x)
    y.sum().backward()
    token = tracing.active.set(object())
    try:
        z.sum().backward()
        assert tracing.walked.get() is None
        with pytest.raises(ZeroDivisionError):
            w.sum().backward()
        assert tracing.walked.get() is None
    finally:
        tracing.active.reset(token)
    assert seen == [None, z.node, w.node]
