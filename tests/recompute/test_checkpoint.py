"""checkpoint: the same values and derivatives of any order, without keeping what lies between; and trees and rng."""

from __future__ import annotations

import gc
import weakref
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional
from minigrad.util import pytree
from minigrad.util.rng import generator

RNG = np.random.default_rng(3)
X, W, B = RNG.normal(size=(4, 3)), RNG.normal(size=(3, 3)), RNG.normal(size=3)
Pair = namedtuple("Pair", "left right")


def leaves() -> list[mg.Tensor]:
    return [mg.Tensor(value, requires_grad=True) for value in (X, W, B)]


def gradients(tensors: list[mg.Tensor]) -> list[Any]:
    """What backward left there; zeros where nothing arrived."""
    return [np.zeros(t.shape) if t.grad is None else t.grad.numpy() for t in tensors]


def all_close(found: Any, expected: Any) -> None:
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(f, e, rtol=1e-11, atol=1e-12)


def layer(x: Any, w: Any, b: Any) -> Any:
    return mg.tanh(x @ w + b) * x


def plain(f: Callable[..., Any]) -> Callable[..., Any]:
    return f


def deep(x: Any, w: Any, b: Any, wrap: Any) -> Any:
    """Three layers, each wrapped, and everything wrapped again."""

    def body(x: Any) -> Any:
        for _ in range(3):
            x = wrap(layer)(x, w, b)
        return x

    return wrap(body)(x)


PROGRAMS: dict[str, Callable[..., Any]] = {
    "operands": lambda x, w, b, wrap: wrap(layer)(x, w, b),
    "a closure": lambda x, w, b, wrap: wrap(lambda x: layer(x, w, b))(x),
    "a closure's result of another operation": lambda x, w, b, wrap: wrap(lambda x, v=w @ w: layer(x, v, b))(x),
    "a closure alone": lambda x, w, b, wrap: wrap(lambda: layer(x, w, b))(),
    "nested": deep,
    "several outputs": lambda x, w, b, wrap: sum(
        k * y for k, y in enumerate(wrap(lambda x: (x * b, mg.exp(x @ w), x))(x), 1)
    ),
    "an output that is not used": lambda x, w, b, wrap: wrap(lambda x: (mg.exp(x), layer(x, w, b)))(x)[1],
    "an output that is an operand": lambda x, w, b, wrap: wrap(lambda x: (x, x @ w))(x)[0] * b,
    "an output from outside": lambda x, w, b, wrap: wrap(lambda x: (w, mg.sin(x)))(x)[0] * b + x[:3],
    "the same operand twice": lambda x, w, b, wrap: wrap(lambda p, q: p * mg.sin(q) @ w + b)(x, x),
    "nested structures": lambda x, w, b, wrap: wrap(
        lambda p, *, scale: {"y": [p["x"] @ p["params"][0], p["params"][1] * scale]}
    )({"x": x, "params": (w, b)}, scale=x)["y"][0],
    "named tuples": lambda x, w, b, wrap: wrap(lambda p: Pair(p.left @ w, p.right))(Pair(x, b)).left,
    "an operand that is a constant": lambda x, w, b, wrap: wrap(layer)(X, w, b) + x,
    "a linear function": lambda x, w, b, wrap: wrap(lambda x: 2 * x + b)(x) @ w,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_gradients_equal_those_without_checkpoint(name: str) -> None:
    with_it, without = leaves(), leaves()
    y, z = PROGRAMS[name](*with_it, mg.checkpoint), PROGRAMS[name](*without, plain)
    assert np.array_equal(y.numpy(), z.numpy())
    for value in (y, z):
        (value * value).sum().backward()
    all_close(gradients(with_it), gradients(without))
    assert [t.grad is None for t in with_it] == [t.grad is None for t in without]


@pytest.mark.parametrize("name", PROGRAMS)
def test_forward_mode_and_second_order_equal_those_without_checkpoint(name: str) -> None:
    def loss(wrap: Any) -> Callable[..., Any]:
        return lambda x, w, b: (PROGRAMS[name](x, w, b, wrap) ** 2).sum()

    u = tuple(np.cos(v) for v in (X, W, B))
    _, found = mg.jvp(loss(mg.checkpoint), (X, W, B), u)
    _, expected = mg.jvp(loss(plain), (X, W, B), u)
    all_close([found], [expected])
    all_close(mg.hvp(loss(mg.checkpoint), (X, W, B), u), mg.hvp(loss(plain), (X, W, B), u))


@pytest.mark.parametrize("name", PROGRAMS)
def test_create_graph(name: str) -> None:
    """The gradient's own gradient, by backward on backward."""
    found = []
    for wrap in (mg.checkpoint, plain):
        x, w, b = leaves()
        (PROGRAMS[name](x, w, b, wrap) ** 2).sum().backward(create_graph=True)
        first = x.grad
        for t in (x, w, b):
            t.grad = None
        (first * np.sin(X)).sum().backward()
        found.append(gradients([x, w, b]))
    all_close(*found)


def test_under_no_grad_the_function_is_called_directly() -> None:
    x = leaves()[0]
    with mg.no_grad():
        y = mg.checkpoint(mg.sin)(x)
    assert not y.requires_grad
    assert np.array_equal(y.numpy(), np.sin(X))


def test_without_a_leaf_nothing_is_recorded() -> None:
    y = mg.checkpoint(lambda x: mg.sin(x) * 2)(mg.Tensor(X))
    assert not y.requires_grad
    assert np.array_equal(y.numpy(), np.sin(X) * 2)


def test_float32_is_kept() -> None:
    x = mg.Tensor(X, requires_grad=True, dtype="float32")
    y = mg.checkpoint(lambda t: mg.exp(t) * 0.5)(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == np.float32


# Memory


def kept_bytes(y: mg.Tensor) -> int:
    """The bytes of the arrays that the lines behind y keep for the backward pass."""
    arrays: dict[int, Any] = {}
    pending: list[Any] = [line.residuals for line in mg.Tape(y)]
    while pending:
        value = pending.pop()
        if isinstance(value, tuple | list):
            pending += value
        elif isinstance(value, np.ndarray):
            arrays[id(value)] = value
    return sum(array.nbytes for array in arrays.values())


def test_only_the_operands_are_kept() -> None:
    def block(x: Any) -> Any:
        for _ in range(10):
            x = mg.sin(x) * mg.cos(x)
        return x

    x = mg.Tensor(X, requires_grad=True)
    assert kept_bytes(block(x)) >= 30 * X.nbytes
    assert kept_bytes(mg.checkpoint(block)(x)) == X.nbytes
    y = mg.checkpoint(block)(mg.checkpoint(block)(x))
    assert kept_bytes(y) == 2 * X.nbytes


def test_intermediate_values_are_released() -> None:
    """After the forward pass, and again after the backward pass."""
    alive: list[Any] = []

    def block(x: Any) -> Any:
        y = mg.sin(x)
        value = weakref.ref(y.data)
        alive.append(value)  # undone in the recomputation
        y.register_hook(lambda v: alive.append(value))  # of the recomputation
        return y * y

    x = mg.Tensor(X, requires_grad=True)
    gc.disable()
    try:
        y = mg.checkpoint(block)(x)
        assert alive[0]() is None
        y.sum().backward()
        assert len(alive) == 2
        assert alive[1]() is None
    finally:
        gc.enable()


# Draws


def test_dropout_drops_the_same_elements_again() -> None:
    mg.manual_seed(5)
    x = mg.Tensor(np.ones((20, 5)), requires_grad=True)
    y = mg.checkpoint(lambda t: functional.dropout(t, p=0.5) * 1.0)(x)
    after_forward = functional.dropout(np.ones(50))
    y.sum().backward()
    assert np.array_equal(x.grad.numpy(), y.numpy())
    assert 0 < np.count_nonzero(y.numpy()) < 100

    mg.manual_seed(5)
    functional.dropout(np.ones((20, 5)), p=0.5)
    assert np.array_equal(after_forward, functional.dropout(np.ones(50)))


def test_the_global_generator_continues_after_a_backward_pass() -> None:
    """Repeated draws leave it where it stood, so draws after a checkpoint's backward pass are those without it."""
    draws = []
    for wrap in (mg.checkpoint, plain):
        mg.manual_seed(1)
        x = mg.Tensor(np.ones(8), requires_grad=True)
        wrap(lambda t: functional.dropout(functional.dropout(t)))(x).sum().backward()
        draws.append((x.grad.numpy(), generator().random(3)))
    assert np.array_equal(draws[0][0], draws[1][0])
    assert np.array_equal(draws[0][1], draws[1][1])


def test_nested_checkpoints_repeat_their_draws() -> None:
    mg.manual_seed(2)
    x = mg.Tensor(np.ones(50), requires_grad=True)
    inner = mg.checkpoint(lambda t: functional.dropout(t) + 0 * mg.sin(t))
    y = mg.checkpoint(lambda t: functional.dropout(inner(functional.dropout(t, p=0.2)), p=0.3))(x)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), y.numpy(), rtol=1e-15)


def test_a_generator_follows_a_seed() -> None:
    mg.manual_seed(4)
    first = generator().random(2)
    mg.manual_seed(4)
    assert np.array_equal(first, generator().random(2))
    assert np.array_equal(generator(7).random(2), np.random.default_rng(7).random(2))
    own = np.random.default_rng(0)
    assert generator(own) is own
    for wrong in ("7", True, 1.5):
        with pytest.raises(TypeError, match="Generator, a seed, or None"):
            generator(wrong)  # type: ignore[arg-type]


# Printed and drawn


def test_a_checkpoint_is_one_line_of_the_printed_tape() -> None:
    x, w, b = (t.named(name) for t, name in zip(leaves(), ("x", "w", "b"), strict=True))
    tape = mg.Tape(mg.checkpoint(layer)(x, w, b))
    printed = str(tape).splitlines()
    tape.check()
    assert len(printed) == 5
    assert "checkpoint[layer](x, w, b)" in printed[3]
    assert "%4.out0" in printed[4]


def test_a_closures_parents_are_printed() -> None:
    x, w, b = (t.named(name) for t, name in zip(leaves(), ("x", "w", "b"), strict=True))
    y = mg.checkpoint(lambda t: layer(t, w, b))(x)
    assert "checkpoint[<lambda>](x, w, b)" in str(mg.Tape(y))
    y.sum().backward()
    assert "checkpoint[<lambda>](x, w, b)" in str(mg.Tape(y))
    assert "checkpoint" in mg.draw(mg.checkpoint(lambda t: layer(t, w, b))(x)).source


def test_a_second_backward_is_refused() -> None:
    x = leaves()[0]
    y = mg.checkpoint(mg.sin)(x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="released by the first backward"):
        y.backward()


# Trees

TREES: list[Any] = [
    1.0, (), [], {}, None, (1.0, None), [1.0, (2.0, [3.0])], {"b": 1.0, "a": (2.0, {"c": [3.0]})},
    Pair(1.0, Pair([2.0], {"x": 3.0})), ({"a": Pair(1.0, None)},),
]  # fmt: skip


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_a_tree_is_rebuilt_from_its_leaves(tree: Any) -> None:
    found, rebuild = pytree.flatten(tree)
    assert all(isinstance(x, float) for x in found)
    again = rebuild(found)
    assert again == tree
    assert type(again) is type(tree)
    assert pytree.tree_map(lambda x: x, tree) == tree
    assert pytree.flatten(pytree.tree_map(lambda x: -x, tree))[0] == [-x for x in found]


def test_leaves_are_in_the_order_of_the_structure() -> None:
    assert pytree.flatten({"b": 1, "a": (2, [3])})[0] == [1, 2, 3]
    assert pytree.flatten(Pair(1, 2))[1]([3, 4]) == Pair(3, 4)


def test_results_that_are_not_arrays_are_returned_unchanged() -> None:
    w = mg.Tensor([1.0, 2.0], requires_grad=True)

    def f(x: Any) -> Any:
        return x * x, 3, {"shape": x.shape, "name": "f", "sum": x.sum()}, True, None

    square, count, rest, flag, nothing = mg.checkpoint(f)(w)
    (square.sum() + rest["sum"]).backward()
    assert (count, rest["shape"], rest["name"], flag, nothing) == (3, (2,), "f", True, None)
    assert w.grad is not None
    assert w.grad.tolist() == [3.0, 5.0]


def test_results_without_a_history_are_returned_unchanged() -> None:
    w, labels = mg.Tensor(np.eye(2), requires_grad=True), np.array([0, 1])

    def f(x: Any) -> Any:
        z = x @ w
        return functional.cross_entropy(z, labels), z.argmax(axis=1) == labels, z.detach(), z.data.sum(axis=0)

    loss, right, value, sums = mg.checkpoint(f)(mg.Tensor(np.eye(2)))
    expected = f(mg.Tensor(np.eye(2)))
    assert np.asarray(right).tolist() == [True, True]
    assert not value.requires_grad
    assert isinstance(sums, np.ndarray)
    loss.backward()
    gradient = w.grad.data.copy()
    w.grad = None
    expected[0].backward()
    np.testing.assert_allclose(gradient, w.grad.data, rtol=1e-14)
