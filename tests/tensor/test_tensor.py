"""Tensor: what it holds, modes, names, leaving minigrad."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor
from minigrad.ops import indexing


def leaf(*values: float) -> Tensor:
    return Tensor(list(values), requires_grad=True)


# What it holds


def test_data_are_copied() -> None:
    a = np.ones(3)
    t = Tensor(a)
    a[0] = 5.0
    assert t.tolist() == [1.0, 1.0, 1.0]
    assert not np.shares_memory(Tensor(t).data, t.data)


def test_asarray_does_not_copy() -> None:
    a = np.ones(3)
    assert np.shares_memory(mg.asarray(a).data, a)
    assert not np.shares_memory(mg.asarray(a, copy=True).data, a)
    assert mg.asarray(a, dtype="float32").dtype == np.float32
    t = leaf(1.0)
    assert mg.asarray(t) is t
    assert mg.asarray([1.0, 2.0]).shape == (2,)


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, "float64"), ([1.5], "float64"), (1, "int64"), ([1, 2], "int64"), (True, "bool"), (1j, "complex128"),
        (np.float32(1), "float32"), (np.ones(2, np.float16), "float16"), (np.array([1, 2], np.uint8), "uint8"),
        ([], "float64"), ([[1, 2.5]], "float64"), (np.array(1, np.int8), "int8"),
    ],
)  # fmt: skip
def test_dtypes(data: Any, dtype: str) -> None:
    assert Tensor(data).dtype == dtype


SINGLE = {
    "relu": mg.relu, "+": lambda x: x + 3, "reflected -": lambda x: 3 - x, "*": lambda x: x * x, "/": lambda x: 2 / x,
    "**": lambda x: x**3, "square": lambda x: x**2, "negative": lambda x: -x, "twice": lambda x: x * 2.0 + x,
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", SINGLE)
def test_a_single_number_behaves_like_an_array_of_it(name: str, dtype: str) -> None:
    """A leaf, and the result of an operation, whose value is a NumPy scalar."""
    for number in (-1.5, 0.0, -0.0, 2.5, np.inf, -np.inf, np.nan):
        values, gradients = [], []
        for shape, start in (((1,), lambda x: x), ((), lambda x: x), ((), lambda x: x * 1)):
            x = Tensor(np.full(shape, number, dtype), requires_grad=True)
            with np.errstate(all="ignore"):
                y = SINGLE[name](start(x))
                y.backward(np.ones(shape))
            assert y.dtype == x.grad.dtype == dtype
            assert y.shape == x.grad.shape == shape
            values.append(y.item())
            gradients.append(x.grad.item())
        np.testing.assert_array_equal(values, values[:1] * 3)
        np.testing.assert_array_equal(gradients, gradients[:1] * 3)


def test_the_square_of_a_boolean_is_a_number() -> None:
    """As NumPy's."""
    assert Tensor(True).dtype == bool
    assert mg.square(Tensor(True)).dtype == mg.square(Tensor([True])).dtype == np.square(True).dtype


def test_the_default_dtype_is_for_numbers_and_lists() -> None:
    mg.set_default_dtype("float32")
    try:
        assert Tensor(1.5).dtype == np.float32
        assert Tensor([1.5]).dtype == np.float32
        assert Tensor(np.ones(2)).dtype == np.float64
        assert Tensor([1]).dtype == np.int64
        assert mg.get_default_dtype() == np.float32
    finally:
        mg.set_default_dtype("float64")
    with pytest.raises(TypeError, match="floating-point"):
        mg.set_default_dtype("int64")


def test_shape_dtype_and_other_properties() -> None:
    t = Tensor(np.ones((2, 3)))
    assert (t.shape, t.ndim, t.size, t.dtype, t.device, len(t)) == ((2, 3), 2, 6, np.float64, "cpu", 2)
    assert [row.shape for row in t] == [(3,), (3,)]
    assert not t.requires_grad
    assert t.is_leaf


def test_iteration_is_recorded() -> None:
    t = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    first, second = t
    (first * second).sum().backward()
    assert t.grad.tolist() == [[3.0, 4.0], [1.0, 2.0]]


def test_numbers() -> None:
    assert float(Tensor([2.5])) == 2.5
    assert int(Tensor(3)) == 3
    assert complex(Tensor(1.0)) == 1 + 0j
    assert [10, 20, 30][Tensor(1)] == 20
    assert Tensor(2.0).item() == 2.0
    assert bool(Tensor([1.0])) is True
    assert f"{Tensor(2.0):.2f}" == "2.00"
    assert f"{leaf(1.0)}" == repr(leaf(1.0))


def test_repr_says_where_it_came_from() -> None:
    x = leaf(1.0, 2.0)
    assert repr(x) == "Tensor([1., 2.], requires_grad=True)"
    assert repr(np.exp(x * 0)) == "Tensor([1., 1.], from exp)"
    assert repr((x * x).named("y")) == "Tensor([1., 4.], name='y', from multiply)"
    assert repr(Tensor(np.float32(1.0))) == "Tensor(1., dtype=float32)"
    assert "shape=(100,)" in repr(Tensor(np.ones(100)))


def test_hash_is_identity_and_equality_is_elementwise() -> None:
    x, y = leaf(1.0, 2.0), leaf(1.0, 3.0)
    assert (x == y).tolist() == [True, False]
    assert len({x, y, x}) == 2


def test_requires_grad_can_be_set_on_leaves() -> None:
    t = Tensor([1.0, 2.0])
    t.requires_grad = True
    (t * t).sum().backward()
    assert t.grad.tolist() == [2.0, 4.0]
    t.requires_grad = False
    assert (t * t).node is None


def test_numpy_is_a_view_that_cannot_be_written() -> None:
    x = leaf(1.0, 2.0)
    a = x.numpy()
    assert type(a) is np.ndarray
    assert np.shares_memory(a, x.data)
    with pytest.raises(ValueError, match="read-only"):
        a[0] = 3.0


def test_constants_become_arrays() -> None:
    t = Tensor([1.0, 2.0])
    assert np.array(t).tolist() == [1.0, 2.0]
    assert np.asarray(t, dtype="float32").dtype == np.float32
    assert np.from_dlpack(t).tolist() == [1.0, 2.0]
    assert t.to_device("cpu") is t


def test_array_namespace() -> None:
    assert Tensor(1.0).__array_namespace__() is mg
    assert Tensor(1.0).__array_namespace__(api_version="2024.12") is mg
    with pytest.raises(ValueError, match=r"2030.*2024\.12"):
        Tensor(1.0).__array_namespace__(api_version="2030.01")


# Pickling


def test_leaves_are_pickled_and_copied() -> None:
    x = Tensor(np.array([1.0, 2.0], np.float32), requires_grad=True)
    for again in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x), copy.copy(x)):
        assert again.requires_grad
        assert again.dtype == np.float32
        assert again.tolist() == [1.0, 2.0]
        assert not np.shares_memory(again.data, x.data)
    assert not pickle.loads(pickle.dumps(Tensor([1]))).requires_grad


def test_results_are_not_pickled() -> None:
    with pytest.raises(TypeError, match=r"detach"):
        pickle.dumps(leaf(1.0) * 2)


# Modes


def test_no_grad_and_enable_grad() -> None:
    x = leaf(1.0)
    with mg.no_grad():
        assert not mg.is_grad_enabled()
        y = x * x
        with mg.enable_grad():
            z = x * x
        w = x * x
    assert [t.requires_grad for t in (y, z, w, x * x)] == [False, True, False, True]


def test_modes_are_decorators_and_reentrant() -> None:
    x = leaf(1.0)
    off = mg.no_grad()

    @off
    def f(depth: int) -> Any:
        return f(depth - 1) if depth else x * x

    assert not f(3).requires_grad
    assert mg.is_grad_enabled()


def test_an_error_ends_a_mode() -> None:
    with pytest.raises(KeyError), mg.no_grad():
        raise KeyError
    assert mg.is_grad_enabled()


def test_scopes_nest_and_survive_enable_grad() -> None:
    x = leaf(1.0)
    with mg.scope("a"):
        with mg.scope("b"):
            y = x * x
            with mg.no_grad(), mg.enable_grad():
                z = x * x
        with mg.no_grad(), mg.scope("c"):
            w = x * x
        u = x * x
    assert (y.node.scope, z.node.scope, u.node.scope, (x * x).node.scope) == ("a/b", "a/b", "a", "")
    assert w.node is None


def test_modes_belong_to_one_thread() -> None:
    x, found = leaf(1.0), {}
    inside, done = threading.Event(), threading.Event()

    def other() -> None:
        with mg.no_grad(), mg.scope("other"):
            inside.set()
            done.wait(10)
            found["other"] = (x * x).requires_grad

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    found["here"] = (x * x).node.scope
    done.set()
    thread.join()
    assert found == {"other": False, "here": ""}


def test_threads_record_and_walk_independently() -> None:
    results: dict[int, Any] = {}

    def work(k: int) -> None:
        x = leaf(float(k))
        for _ in range(50):
            x.grad = None
            y = x
            for _ in range(20):
                y = y * 1.0 + x
            y.sum().backward()
        results[k] = x.grad.item()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(range(4), 21.0)


def test_detach_shares_memory_and_ends_the_history() -> None:
    x = leaf(1.0, 2.0)
    d = (x * 2).detach()
    assert d.node is None
    (d * x).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]
    assert np.shares_memory(x.detach().data, x.data)


# Names


def test_names() -> None:
    x = leaf(1.0)
    assert x.named("x", label="ξ") is x
    assert (x.node.name, x.node.label) == ("x", "ξ")
    assert mg.name("c", 3.0) == 3.0
    y = mg.name("y", x * x)
    assert y.node.name == "y"
    with pytest.raises(ValueError, match=r"named\('σ²'\).*label="):
        x.named("σ²")


def test_indexing_by_tensors() -> None:
    x = leaf(1.0, 2.0, 3.0)
    assert x[Tensor([2, 0, 2])].tolist() == [3.0, 1.0, 3.0]
    assert x[x > 1.5].tolist() == [2.0, 3.0]
    assert x[[0, 1]].tolist() == [1.0, 2.0]
    assert x[[]].shape == (0,)
    assert x[[True, False, True]].tolist() == [1.0, 3.0]
    assert indexing.take(x, Tensor([0])).tolist() == [1.0]
    y = x * 1
    y[x > 1.5] = 0.0
    assert y.tolist() == [1.0, 0.0, 0.0]
    y[Tensor([0])] = x[2:]
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 1.0]


def test_the_repr_of_an_empty_tensor_has_its_shape() -> None:
    assert repr(Tensor(np.zeros((0, 3)))) == "Tensor([], shape=(0, 3))"
    assert repr(Tensor(np.zeros(0))) == "Tensor([])"


def test_comparing_a_tensor_with_none_gives_a_hint() -> None:
    for compare in (lambda: Tensor([1.0]) == None, lambda: Tensor([1.0]) != None):  # noqa: E711
        with pytest.raises(TypeError, match=r"equal: an operand is None.*write `t is None`"):
            compare()


def test_a_tensor_as_the_data_of_another_is_an_error() -> None:
    layer = mg.nn.Linear(2, 1, rng=0)
    layer(np.ones((1, 2))).sum().backward()
    for p in layer.parameters():
        p.data = p.data - 0.1 * p.grad
    with pytest.raises(TypeError, match=r"data of an operand are a Tensor.*no_grad\(\): p -= lr"):
        layer(np.ones((1, 2)))
