"""checkpoint repeats the call that was, with its random numbers, statistics and modes; effects happen once."""

from __future__ import annotations

import functools
import gc
import itertools
import random
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.recompute import restore, snapshot, surroundings

Make = Callable[[], Any]
RNG = np.random.default_rng(11)
X = RNG.normal(size=(6, 4))
SEQUENCE = RNG.normal(size=(2, 5, 4))
IMAGES = RNG.normal(size=(2, 6, 6, 3))


def plain(f: Callable[..., Any]) -> Callable[..., Any]:
    return f


def state(module: Any) -> list[Any]:
    """All parameters' gradients and all buffers of a module, and where its generators stand."""
    found: list[Any] = [None if p.grad is None else p.grad.numpy() for p in module.parameters()]
    for part in module.modules():
        found += [np.copy(getattr(part, name)) for name in part._buffers]
        rng = getattr(part, "rng", None)
        if rng is not None:
            found.append(str(rng.bit_generator.state))
    return found


def same(found: list[Any], expected: list[Any]) -> None:
    assert len(found) == len(expected)
    for f, e in zip(found, expected, strict=True):
        if f is None or e is None or isinstance(f, str):
            assert f == e
        else:
            np.testing.assert_allclose(f, e, rtol=1e-12, atol=1e-13)


def first(y: Any) -> Any:
    return y[0] if isinstance(y, tuple) else y


# Layers

LAYERS: dict[str, tuple[Make, Any]] = {
    "Dropout": (lambda: nn.Dropout(0.5, rng=0), X),
    "Dropout with a Generator": (lambda: nn.Dropout(0.5, rng=np.random.default_rng(3)), X),
    "Dropout, MT19937": (lambda: nn.Dropout(0.5, rng=np.random.Generator(np.random.MT19937(3))), X),
    "AlphaDropout": (lambda: nn.AlphaDropout(0.5, rng=0), X),
    "Dropout1d": (lambda: nn.Dropout1d(0.5, rng=0), SEQUENCE),
    "Dropout2d": (lambda: nn.Dropout2d(0.5, rng=0), IMAGES),
    "BatchNorm": (lambda: nn.BatchNorm(4), X),
    "LSTM": (lambda: nn.LSTM(4, 3, num_layers=2, dropout=0.5, rng=0), SEQUENCE),
    "GRU": (lambda: nn.GRU(4, 3, num_layers=2, dropout=0.5, rng=0), SEQUENCE),
    "RNN": (lambda: nn.RNN(4, 3, num_layers=2, dropout=0.5, rng=0), SEQUENCE),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(4, 2, dropout=0.5, rng=0), SEQUENCE),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.5, rng=0), SEQUENCE),
    "several": (
        lambda: nn.Sequential(
            nn.Linear(4, 8, rng=1), nn.BatchNorm(8), nn.ReLU(), nn.Dropout(0.3, rng=2), nn.BatchNorm(8)
        ),
        X,
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_computes_the_same_with_checkpoint(name: str) -> None:
    """Values, gradients, running statistics and generators, over several steps."""
    make, value = LAYERS[name]
    results = []
    for wrap in (plain, mg.checkpoint):
        layer, found = make(), []
        f = wrap(layer)
        for _ in range(5):
            x = mg.Tensor(value, requires_grad=True)
            y = first(f(x))
            (y * y).sum().backward()
            found += [y.numpy(), x.grad.numpy()]
        results.append(found + state(layer))
    same(results[1], results[0])


def test_a_new_wrapper_in_each_step() -> None:
    layer, twin = LAYERS["several"][0](), LAYERS["several"][0]()
    for _ in range(5):
        for model, wrap in ((layer, mg.checkpoint), (twin, plain)):
            (wrap(lambda t, model=model: model(t))(mg.Tensor(X, requires_grad=True)) ** 2).sum().backward()
            (wrap(model)(mg.Tensor(X, requires_grad=True)) ** 2).sum().backward()
            (wrap(model.forward)(mg.Tensor(X, requires_grad=True)) ** 2).sum().backward()
    same(state(layer), state(twin))


# Random numbers


def noise(held: Any, draw: Callable[..., Any]) -> Callable[[Any], Any]:
    """Multiplies by numbers that are drawn by means of an object in a closure."""
    return lambda x: x * draw(held, x.shape)


def own_random() -> Callable[[Any], Any]:
    own = random.Random(4)
    return lambda x: x * np.array([own.random() for _ in range(x.size)]).reshape(x.shape)


def module_random(x: Any) -> Any:
    return x * random.gauss(0.0, 1.0) * random.random()


def legacy(x: Any) -> Any:
    return x * np.random.normal(size=x.shape)  # noqa: NPY002


DRAWS: dict[str, Make] = {
    "a bound method": lambda: noise(np.random.default_rng(0).random, lambda draw, shape: draw(shape)),
    "a closure": lambda: noise(np.random.default_rng(0), lambda rng, shape: rng.normal(size=shape)),
    "in a tuple": lambda: noise((1, np.random.default_rng(0)), lambda held, shape: held[1].random(shape)),
    "in a dictionary": lambda: noise({"r": np.random.default_rng(0)}, lambda held, shape: held["r"].random(shape)),
    "RandomState": lambda: noise(np.random.RandomState(0), lambda rng, shape: rng.normal(size=shape)),
    "random.Random": own_random,
    "the module random": lambda: module_random,
    "np.random": lambda: legacy,
    "the global generator": lambda: mg.nn.Dropout(0.5),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_are_repeated_and_then_continue(name: str) -> None:
    """The next forward call draws what it would have drawn without a backward pass in between."""
    results = []
    for wrap in (plain, mg.checkpoint):
        mg.manual_seed(1)
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        f, found = wrap(DRAWS[name]()), []
        for _ in range(3):
            x, z = (mg.Tensor(np.ones((5, 4)), requires_grad=True) for _ in range(2))
            y, other = f(x), f(z)  # the second draws before the first is repeated
            y.sum().backward()
            assert np.array_equal(x.grad.numpy(), y.numpy())
            other.sum().backward()
            assert np.array_equal(z.grad.numpy(), other.numpy())
            found += [y.numpy(), other.numpy()]
        results.append(found)
    same(results[1], results[0])


def test_a_generator_as_an_argument() -> None:
    rng, x = np.random.default_rng(0), mg.Tensor(np.ones(5), requires_grad=True)
    y = mg.checkpoint(lambda t, rng: t * rng.normal(size=5))(x, rng)
    rng.normal(size=3)
    there = rng.bit_generator.state
    y.sum().backward()
    assert np.array_equal(x.grad.numpy(), y.numpy())
    assert rng.bit_generator.state == there


# Effects happen once


class Counter:
    calls = 0
    __slots__ = ("__dict__", "slot")

    def __init__(self) -> None:
        self.own, self.slot, self.array, self.total = 0, 0.0, np.zeros(2), np.zeros(2)
        self.list: list[Any] = []
        self.deque: Any = deque([1, 2], maxlen=2)
        self.dict: dict[Any, Any] = {"n": 1}
        self.ordered: Any = OrderedDict(a=1, b=2)
        self.set: set[Any] = set()
        self.hidden: Any = None

    def __call__(self, x: Any, acc: Any = None) -> Any:
        self.own += 1
        self.slot += 0.5
        type(self).calls += 1
        self.array += self.own
        self.total = self.total + self.array
        self.list.append(self.own)
        self.deque.append(self.own)
        self.dict["n"] *= 2
        self.dict[self.own] = [self.own]
        self.ordered.move_to_end("a" if self.own % 2 else "b")
        self.set.add(self.own)
        h = x if self.hidden is None else x + 0.5 * self.hidden.detach()
        self.hidden = mg.tanh(h)
        scale = self.own + self.array.sum() + self.total.sum() + len(self.list) + self.deque[0] + self.dict["n"]
        return x * self.hidden * (scale + next(iter(self.ordered.values())) + len(self.set) + self.slot + self.calls)

    def seen(self) -> Any:
        held = [self.own, self.slot, type(self).calls, *self.list, *self.deque, *self.ordered, *self.set]
        held += [repr(self.dict)]
        return held, [self.array, self.total, self.hidden.numpy()]


@pytest.mark.parametrize("backward", ["after each call", "in the end", "in the end, backwards"])
def test_every_kind_of_state_changes_once(backward: str) -> None:
    results = []
    for wrap in (plain, mg.checkpoint):
        Counter.calls = 0
        counter = Counter()
        f, xs, ys = wrap(counter), [], []
        for k in range(6):
            xs.append(mg.Tensor(X + k, requires_grad=True))
            ys.append(f(xs[-1]))
            if backward == "after each call":
                ys[-1].sum().backward()
        for y in () if backward == "after each call" else ys if backward == "in the end" else ys[::-1]:
            y.sum().backward()
        results.append((*counter.seen(), [v for x, y in zip(xs, ys, strict=True) for v in (x.grad.numpy(), y.numpy())]))
    (held, arrays, values), (other_held, other_arrays, other_values) = results
    assert other_held == held
    same(other_arrays, arrays)
    same(other_values, values)


COUNT = 0


def test_globals_cells_and_defaults() -> None:
    n = 0

    def f(x: Any, seen: list[int] = []) -> Any:  # noqa: B006
        global COUNT
        nonlocal n
        n, COUNT = n + 1, COUNT + 2
        seen.append(n)
        return x * n * COUNT * len(seen)

    before = COUNT
    x = mg.Tensor([1.0], requires_grad=True)
    y = mg.checkpoint(f)(x) + mg.checkpoint(f)(x)
    y.backward()
    assert (n, COUNT - before, f.__defaults__) == (2, 4, ([1, 2],))
    assert x.grad.item() == (before + 2) + 2 * 2 * (before + 4)


def test_containers_as_arguments() -> None:
    """A list with Tensors, of which f is given a copy, and one without, which f is given itself."""
    x = mg.Tensor([2.0], requires_grad=True)
    with_tensors, without, table = [x], [1.0], {"x": x, "deep": [x, 1.0]}

    def f(p: Any, q: Any, t: Any) -> Any:
        p.append(3.0)
        q.append(len(q))
        t["new"] = p[0]
        t["deep"].pop()
        return p[0] * len(p) * len(q) * len(t)

    mg.checkpoint(f)(with_tensors, without, table).backward()
    assert with_tensors[0] is x
    assert with_tensors[1:] == [3.0]
    assert without == [1.0, 1]
    assert list(table) == ["x", "deep", "new"]
    assert table["new"] is x
    assert table["deep"][0] is x
    assert len(table["deep"]) == 1
    assert x.grad.item() == 12.0


def test_a_function_that_computes_gradients() -> None:
    w, x = mg.Tensor([2.0], requires_grad=True), mg.Tensor([3.0], requires_grad=True)

    def f(t: Any) -> Any:
        (w * w).sum().backward()
        return t * w.grad.item()

    mg.checkpoint(f)(x).backward()
    assert (w.grad.item(), x.grad.item()) == (4.0, 4.0)


def test_hooks_run_once_and_their_effects_remain() -> None:
    seen: list[Any] = []

    def f(t: Any) -> Any:
        y = mg.sin(t)
        y.register_hook(lambda v: seen.append(v.numpy()))
        return y * 2

    x = mg.Tensor([0.5], requires_grad=True)
    mg.checkpoint(f)(x).backward()
    same(seen, [np.array([2.0])])


# Changes between the forward and the backward pass


def test_train_to_eval() -> None:
    for make in (lambda: nn.Dropout(0.5, rng=0), lambda: nn.BatchNorm(4)):
        grads = []
        for wrap in (plain, mg.checkpoint):
            layer, x = make(), mg.Tensor(X, requires_grad=True)
            y = wrap(layer)(x)
            layer.eval()
            (y * y).sum().backward()
            grads.append(x.grad.numpy())
            assert not layer.training
        same([grads[1]], [grads[0]])


def changed_in_place(w: Any) -> None:
    with mg.no_grad():
        w *= 0.5


def changed_by_optimizer(w: Any) -> None:
    optimizer = optim.SGD([w], lr=0.5)
    w.grad = np.ones(2)
    optimizer.step()
    w.grad = None


def changed_unseen(w: Any) -> None:
    w.data[...] = 7.0


def test_a_changed_parameter_is_an_error() -> None:
    w = mg.Tensor([1.0, 2.0], requires_grad=True)
    for change in (changed_in_place, changed_unseen):
        y = mg.checkpoint(lambda t: (w * w * t).sum())(mg.Tensor([1.0, 2.0], requires_grad=True))
        change(w)
        with pytest.raises(RuntimeError, match=r"w of shape \(2,\) was changed in place since the forward call"):
            y.backward()


def test_parameters_changed_by_an_optimizer_are_an_error() -> None:
    w, x = mg.Tensor([1.0, 2.0], requires_grad=True), mg.Tensor([1.0, 2.0], requires_grad=True)
    optimizer = optim.SGD([w], lr=0.5)  # from here on, w is a view of a flat array
    y = mg.checkpoint(lambda t: (w * w * t).sum())(x)
    w.grad = np.ones(2)
    optimizer.step()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_new_data_for_a_parameter() -> None:
    """What the call saw is still there: the gradient is that of the forward call, as it is without a checkpoint."""
    for change in (lambda w: setattr(w, "data", np.array([5.0, 5.0])), changed_by_optimizer):
        w, x = mg.Tensor([1.0, 2.0], requires_grad=True), mg.Tensor([3.0, 4.0], requires_grad=True)
        y = mg.checkpoint(lambda t, w=w: (w * w * t).sum())(x)
        change(w)
        now = w.data
        y.backward()
        same([w.grad.numpy(), x.grad.numpy()], [np.array([6.0, 16.0]), np.array([1.0, 4.0])])
        assert w.data is now


@pytest.mark.parametrize("size", [4, 1 << 15])
def test_a_changed_plain_array(size: int) -> None:
    """A small one is restored; a large one is an error that names it."""
    scale = np.ones(size)
    x = mg.Tensor(np.ones(size), requires_grad=True)
    y = mg.checkpoint(lambda t: t * scale)(x)
    scale[1] = 7.0
    if size > 4:
        with pytest.raises(RuntimeError, match=rf"the array scale of shape \({size},\) and dtype float64 was changed"):
            y.sum().backward()
    else:
        y.sum().backward()
        assert np.array_equal(x.grad.numpy(), np.ones(size))
    assert scale[1] == 7.0


def test_changed_arguments() -> None:
    batch, constant = np.ones(3), mg.Tensor(np.ones(3))
    x = mg.Tensor(np.ones(3), requires_grad=True)
    y = mg.checkpoint(lambda t, b, c: t * b * c)(x, batch, constant)
    batch[:], constant.data[:] = 5.0, 6.0
    y.sum().backward()
    assert np.array_equal(x.grad.numpy(), np.ones(3))
    assert (batch[0], constant.data[0]) == (5.0, 6.0)


def test_a_function_that_writes_a_large_array() -> None:
    """The first call cannot be repeated, so it keeps its history; from the second on there is a copy."""
    cache = np.zeros(1 << 15)

    def f(x: Any) -> Any:
        cache[:] = cache + 1.0
        return x * cache[:3]

    checked = mg.checkpoint(f)
    for k in range(1, 5):
        x = mg.Tensor(np.ones(3), requires_grad=True)
        y = checked(x)
        assert ("checkpoint" in str(mg.Tape(y))) == (k > 1)
        y.sum().backward()
        assert x.grad.numpy().tolist() == [k] * 3
        assert cache[-1] == k


def test_a_function_that_writes_a_parameter() -> None:
    w = mg.Tensor([1.0], requires_grad=True)

    def f(x: Any) -> Any:
        with mg.no_grad():
            w[...] = w.numpy() + 1.0
        return x * w

    checked = mg.checkpoint(f)
    for k in range(2, 6):
        x = mg.Tensor([3.0], requires_grad=True)
        y = checked(x)
        z = (w * x).sum()  # kept w before the recomputation writes it
        y.sum().backward()
        z.backward(retain_graph=True)
        z.backward()
        assert x.grad.item() == 3 * k
        assert w.item() == k


def test_the_context_is_that_of_the_forward_call() -> None:
    """Scopes, floating-point errors and the default dtype."""
    seen: list[Any] = []

    def f(x: Any) -> Any:
        y = x * mg.Tensor([1.0])
        here = (str(y.dtype), np.geterr()["divide"], mg.Tape(y)[-1].scope)
        y.register_hook(lambda v: seen.append(here))
        return mg.sin(y)

    x = mg.Tensor([1.0], requires_grad=True, dtype="float32")
    try:
        mg.set_default_dtype("float32")
        with np.errstate(divide="raise"), mg.scope("encoder"):
            y = mg.checkpoint(f)(x)
    finally:
        mg.set_default_dtype("float64")
    y.backward()
    assert seen == [("float32", "raise", "encoder")]
    assert mg.get_default_dtype() == np.float64


# What cannot be repeated

ITERATORS: dict[str, Make] = {
    "list_iterator": lambda: iter([1.0, 2.0, 3.0]),
    "count": lambda: itertools.count(1.0),
    "zip": lambda: zip([1.0, 2.0], [3.0, 4.0], strict=True),
    "map": lambda: map(float, iter([1, 2, 3])),
    "generator": lambda: (float(k) for k in range(5)),
}


@pytest.mark.parametrize("name", ITERATORS)
def test_an_advancing_iterator_is_refused(name: str) -> None:
    it, x = ITERATORS[name](), mg.Tensor([1.0], requires_grad=True)

    def f(t: Any) -> Any:
        value = next(it)
        return t * (value[0] if isinstance(value, tuple) else value)

    with pytest.raises(RuntimeError, match=rf"checkpoint\(f\) advances or changes it, a {name}"):
        mg.checkpoint(f)(x)


def test_an_iterator_that_does_not_advance_is_allowed() -> None:
    it, x = iter([1.0, 2.0]), mg.Tensor([2.0], requires_grad=True)

    def f(t: Any) -> Any:
        return t * t if it is not None else t

    mg.checkpoint(f)(x).backward()
    assert x.grad.item() == 4.0
    y = mg.checkpoint(f)(x)
    next(it)
    with pytest.raises(RuntimeError, match="it, a list_iterator, was advanced or changed since the forward call"):
        y.backward()


def test_a_read_only_view_of_a_dictionary() -> None:
    held = {"k": 2.0}
    view, x = MappingProxyType(held), mg.Tensor([3.0], requires_grad=True)
    y = mg.checkpoint(lambda t: t * view["k"])(x)
    held["k"] = 5.0
    with pytest.raises(RuntimeError, match="view, a mappingproxy, was advanced or changed since the forward call"):
        y.backward()

    def count(t: Any) -> Any:
        held["k"] += 1
        return t * view["k"]

    for _ in range(2):
        y = mg.checkpoint(count)(x)
    held["k"] = 0.0
    y.backward()
    assert (x.grad.item(), held) == (7.0, {"k": 0.0})


def test_invisible_state_is_noticed_by_other_values() -> None:
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    y = mg.checkpoint(lambda t: t * (time.perf_counter_ns() % 1_000_003))(x)
    with pytest.raises(RuntimeError, match=r"other values in output 0 of shape \(2,\)"):
        y.sum().backward()


def test_another_branch_is_noticed() -> None:
    """The same value from another parameter: the gradient would go astray."""
    u, w, x = (mg.Tensor([2.0], requires_grad=True) for _ in range(3))
    clock = time.perf_counter_ns
    start = clock()
    y = mg.checkpoint(lambda t: t * (w if clock() - start < 50_000_000 else u))(x)
    while clock() - start < 60_000_000:
        pass
    with pytest.raises(RuntimeError, match="depends on other Tensors"):
        y.backward()


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_exceptions(where: str) -> None:
    """One in the forward call keeps its effects, as it does without checkpoint; one in the recomputation has none."""
    layer, seen, fail = nn.Dropout(0.5, rng=0), [0], [where == "forward"]
    ready = time.perf_counter_ns() + 10**9
    hidden = np.zeros(1)

    def f(t: Any) -> Any:
        seen.append(1)
        hidden[0] += 1
        t = layer(t)
        if fail[0] or time.perf_counter_ns() > ready:
            raise ZeroDivisionError("here")
        return t * 2

    x = mg.Tensor(X, requires_grad=True)
    if where == "forward":
        with pytest.raises(ZeroDivisionError):
            mg.checkpoint(f)(x)
        assert (seen, hidden[0]) == ([0, 1], 1)
        return
    y = mg.checkpoint(f)(x)
    there = layer.rng.bit_generator.state
    layer.eval()
    while time.perf_counter_ns() <= ready:
        time.sleep(0.05)
    with pytest.raises(ZeroDivisionError):
        y.sum().backward()
    assert (seen, hidden[0], layer.training) == ([0, 1], 1, False)
    assert layer.rng.bit_generator.state == there


# Derivatives of derivatives, nesting, compiled steps


def block() -> Any:
    return nn.Sequential(nn.Linear(4, 4, rng=1), nn.Tanh(), nn.BatchNorm(4), nn.Dropout(0.3, rng=2))


def test_a_second_backward_pass() -> None:
    layer, x = block(), mg.Tensor(X, requires_grad=True)
    y = (mg.checkpoint(layer)(x) ** 2).sum()
    y.backward(retain_graph=True)
    first_time, held = x.grad.numpy().copy(), state(layer)[4:]
    mg.checkpoint(layer)(x)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * first_time, rtol=1e-12)
    assert len(held) == len(state(layer)[4:])


def nested(layer: Any, wrap: Any) -> Callable[[Any], Any]:
    inner = wrap(layer)
    return wrap(lambda x: inner(inner(x) * 0.5) + x)  # type: ignore[no-any-return]


def double_backward(f: Any, x: Any) -> Any:
    y = (f(x) ** 2).sum()
    y.backward(create_graph=True)
    g, x.grad = x.grad, None
    (g * np.sin(X)).sum().backward()
    return x.grad.numpy()


@pytest.mark.parametrize("order", [1, 2, "forward"])
def test_nested(order: Any) -> None:
    results = []
    for wrap in (plain, mg.checkpoint):
        layer = block()
        f = nested(layer, wrap)
        x = mg.Tensor(X, requires_grad=True)
        if order == 1:
            (f(x) ** 2).sum().backward()
            found = x.grad.numpy()
        elif order == 2:
            found = double_backward(f, x)
        else:
            found = mg.jvp(lambda t, f=f: f(t) ** 2, (X,), (np.cos(X),))[1].detach().numpy()
        results.append([found, *(state(layer) if order == 1 else state(layer)[4:])])
    same(results[1], results[0])


def test_a_state_that_carries_gradients() -> None:
    """The hidden state of a recurrent cell, kept in an attribute, with its history through several calls."""

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            self.w, self.h = mg.Tensor([[0.5]], requires_grad=True), mg.Tensor([[0.1]])

        def forward(self, x: Any) -> Any:
            self.h = mg.tanh(x @ self.w + self.h)
            return self.h * self.w

    results = []
    for wrap in (plain, mg.checkpoint):
        cell, x = Recurrent(), mg.Tensor([[0.3]], requires_grad=True)
        f = wrap(cell)
        total = f(x) + 2 * f(x) + 3 * f(x)
        total.backward()
        results.append([total.numpy(), x.grad.numpy(), cell.w.grad.numpy(), cell.h.numpy()])
    same(results[1], results[0])


def test_inside_of_a_compiled_step() -> None:
    results = []
    for wrap, make in ((plain, plain), (mg.checkpoint, lambda f: mg.compile(f, backend="numpy", fallback="raise"))):
        layer = block()
        f = wrap(layer)

        def step(x: Any, f: Any = f, layer: Any = layer) -> Any:
            loss = (f(x) ** 2).mean()
            for p in layer.parameters():
                p.grad = None
            loss.backward()
            return loss

        compiled = make(step)
        losses = [float(compiled(mg.Tensor(X + k)).numpy()) for k in range(6)]
        results.append([np.array(losses), *state(layer)])
    same(results[1], results[0])


def test_around_a_compiled_function() -> None:
    results = []
    for wrap in (plain, mg.checkpoint):
        layer, found = block(), []
        f = wrap(mg.compile(layer.forward, backend="numpy", fallback="raise") if wrap is mg.checkpoint else layer)
        for k in range(5):
            x = mg.Tensor(X + k, requires_grad=True)
            (f(x) ** 2).sum().backward()
            found.append(x.grad.numpy())
        results.append([*found, *state(layer)])
    same(results[1], results[0])


# What is kept from call to call


def test_modules_and_activations_are_not_kept_alive() -> None:
    layer = block()
    mg.checkpoint(layer)(mg.Tensor(X, requires_grad=True)).sum().backward()
    mg.checkpoint(layer.forward)(mg.Tensor(X, requires_grad=True)).sum().backward()
    x = mg.Tensor(X, requires_grad=True)
    h = mg.sin(x)
    mg.checkpoint(functools.partial(lambda layer, h, t: layer(t) * h, layer, h))(x).sum().backward()
    alive = weakref.ref(layer), weakref.ref(h.data)
    del layer, x, h
    gc.collect()
    assert [a() for a in alive] == [None, None]


def test_a_function_is_walked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if it is checkpointed again in each call, reads what another checkpoint does, or counts."""
    layer, counted, walks = block(), [0], []

    def f(x: Any) -> Any:
        counted[0] += 1
        return inner(x) * counted[0]

    inner = mg.checkpoint(layer)
    outer = mg.checkpoint(f)
    walk = surroundings.Reach
    monkeypatch.setattr(surroundings, "Reach", lambda roots: walks.append(roots) or walk(roots))
    counts = []
    for _ in range(8):
        for function in (outer, mg.checkpoint(layer), mg.checkpoint(layer.forward)):
            function(mg.Tensor(X, requires_grad=True)).sum().backward()
        counts.append(len(walks))
    assert counts[-1] == counts[2], counts


# The tests notice faults


def everything(wrap: Any) -> list[Any]:
    """All state that checkpoint must restore, in one function."""
    layer, rng, seen, total = nn.BatchNorm(4), np.random.default_rng(0), [1.0], np.zeros(1)
    w = mg.Tensor([1.0], requires_grad=True)

    def f(x: Any) -> Any:
        seen.append(2.0)
        total[0] += 1
        w.grad = None if w.grad is None else w.grad + 1.0
        return layer(x) * rng.normal(size=4) * len(seen) * total[0] * w

    found = []
    for _ in range(3):
        x = mg.Tensor(X, requires_grad=True)
        y = wrap(f)(x)
        layer.eval()
        between, w.grad = rng.normal(size=1), mg.Tensor([7.0])
        (y * y).sum().backward()
        layer.train()
        found += [y.numpy(), x.grad.numpy(), w.grad.numpy(), np.array([*seen, *total]), between, rng.normal(size=1)]
    return found + state(layer)


def test_random_functions_with_all_kinds_of_state() -> None:
    same(everything(mg.checkpoint), everything(plain))


@pytest.mark.parametrize("name", ["put", "put_contents", "put_source", "differs", "holds"])
def test_planted_faults_are_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (restore, snapshot, surroundings):
        monkeypatch.setattr(module, name, lambda *given: name == "holds", raising=False)
    with pytest.raises((AssertionError, RuntimeError)):
        same(everything(mg.checkpoint), everything(plain))


@pytest.mark.parametrize("part", ["rows", "sources", "grads"])
def test_a_repetition_that_is_not_settled_is_noticed(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settle = snapshot.Repetition.settle

    def forgetful(repetition: Any) -> None:
        setattr(repetition, part, type(getattr(repetition, part))())
        settle(repetition)

    monkeypatch.setattr(snapshot.Repetition, "settle", forgetful)
    with pytest.raises((AssertionError, RuntimeError)):
        same(everything(mg.checkpoint), everything(plain))
