"""Tensor: what it holds, gradients and who owns them, modes, writing elements, leaving minigrad."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, tape
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


def test_what_it_is() -> None:
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


# Gradients


def test_gradients_accumulate() -> None:
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    (3 * x).sum().backward()
    assert x.grad.tolist() == [5.0, 7.0]
    x.grad = None
    x.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_a_leaf_used_many_times_gets_the_sum() -> None:
    x = leaf(2.0)
    y = x * x
    (y * y + x * y - x).sum().backward()
    assert x.grad.item() == 4 * 8 + 3 * 4 - 1


def test_backward_from_a_leaf() -> None:
    x = leaf(2.0)
    x.backward()
    x.backward(np.array([3.0]))
    assert x.grad.tolist() == [4.0]


def test_a_gradient_is_an_alias_of_nothing() -> None:
    """Sums hand on v as it comes; the leaf stores its own."""
    x, y, z = leaf(1.0, 2.0), leaf(3.0, 4.0), leaf(1.0, 1.0)
    u = np.array([1.0, 5.0])
    given = mg.asarray(u)
    c = np.array([2.0, 2.0])
    for gradient in (u, given):
        (x + y + +z).backward(gradient)
        (c * x).backward(gradient)
        x.backward(gradient)
    arrays = [x.grad.data, y.grad.data, z.grad.data, u, given.data, x.data, y.data, c]
    for k, a in enumerate(arrays):
        for b in arrays[:k]:
            assert not np.shares_memory(a, b) or (a is given.data and b is u)
    np.testing.assert_array_equal(u, [1.0, 5.0])
    x.grad.data[0] = 100.0
    assert y.grad.tolist() == [2.0, 10.0]


def test_a_second_backward_does_not_change_a_gradient_that_was_taken_away() -> None:
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    taken = x.grad
    (x * x).sum().backward()
    assert taken.tolist() == [2.0, 4.0]
    assert x.grad.tolist() == [4.0, 8.0]


@pytest.mark.parametrize("view", [np.transpose, np.ravel, lambda t: t[:], lambda t: t.reshape(2, 2), lambda t: +t])
def test_gradients_of_views_are_aliases_of_nothing(view: Any) -> None:
    x, u = Tensor(np.eye(2), requires_grad=True), np.arange(4.0)
    y = view(x)
    u = u.reshape(y.shape)
    y.backward(u)
    assert not np.shares_memory(x.grad.data, u)


def test_an_integer_gradient_is_converted() -> None:
    x = leaf(1.0, 2.0)
    (x * 2).backward([1, 3])
    assert x.grad.tolist() == [2.0, 6.0]
    assert x.grad.dtype == np.float64


def test_grad_can_be_set() -> None:
    x = leaf(1.0, 2.0)
    x.grad = np.array([1.0, 1.0])
    x.sum().backward()
    assert isinstance(x.grad, Tensor)
    assert x.grad.tolist() == [2.0, 2.0]
    with pytest.raises(ValueError, match=r"grad of shape \(3,\).*\(2,\)"):
        x.grad = np.ones(3)


def test_setting_grad_does_not_write_into_what_was_given() -> None:
    x, given = leaf(1.0, 2.0), np.ones(2)
    x.grad = given
    x.sum().backward()
    assert given.tolist() == [1.0, 1.0]


def test_the_value_of_a_leaf_that_died_is_no_error() -> None:
    x, y = leaf(1.0), leaf(2.0)
    z = (x * y).sum()
    del x
    z.backward()
    assert y.grad.item() == 1.0


def test_create_graph() -> None:
    x = leaf(2.0)
    (x**3).sum().backward(create_graph=True)
    g = x.grad
    assert g.requires_grad
    x.grad = None
    g.sum().backward()
    assert x.grad.item() == 12.0


def test_create_graph_within_no_grad_records() -> None:
    x = leaf(2.0)
    y = (x**3).sum()
    with mg.no_grad():
        y.backward(create_graph=True)
        assert not mg.is_grad_enabled()
    assert x.grad.requires_grad


def test_backward_does_not_record() -> None:
    x = leaf(2.0)
    (x**3).sum().backward()
    assert not x.grad.requires_grad


def test_mixed_accumulation_of_recorded_and_plain_gradients() -> None:
    x = leaf(2.0)
    (x**3).sum().backward()
    (x**3).sum().backward(create_graph=True)
    assert x.grad.item() == 24.0
    total = x.grad
    x.grad = None
    total.sum().backward()
    assert x.grad.item() == 12.0


def test_nothing_flows_through_piecewise_constant_functions() -> None:
    x = leaf(1.5, -2.5)
    for f in (np.floor, np.ceil, np.sign, np.rint, np.trunc, np.isnan, np.argmax, lambda t: t > 0, lambda t: t // 1):
        assert not f(x).requires_grad
    (x * np.floor(x)).sum().backward()
    assert x.grad.tolist() == [1.0, -3.0]


def test_a_gradient_of_complete_zeros_is_stored() -> None:
    x = leaf(-1.0)
    mg.relu(x).sum().backward()
    assert x.grad.tolist() == [0.0]


# Hooks and retain_grad


def test_retain_grad() -> None:
    x = leaf(1.0, 2.0)
    y = (x * 3).retain_grad()
    assert y.retain_grad() is y
    z = y * y
    z.sum().backward()
    assert z.grad is None
    assert x.grad.tolist() == [18.0, 36.0]


def test_retained_gradients_are_complete_and_accumulate() -> None:
    x = leaf(1.0, 2.0)
    y = (x * 3).retain_grad()
    z = (y * y + y).sum()
    z.backward(retain_graph=True)
    assert y.grad.tolist() == [7.0, 13.0]
    z.backward()
    assert y.grad.tolist() == [14.0, 26.0]
    assert not np.shares_memory(y.grad.data, x.grad.data)


def test_hooks_see_the_complete_gradient_once() -> None:
    x = leaf(1.0, 2.0)
    y = x * 3
    seen: list[Any] = []
    remove = y.register_hook(seen.append)
    z = (y * y + y).sum()
    z.backward(retain_graph=True)
    assert [g.tolist() for g in seen] == [[7.0, 13.0]]
    remove()
    remove()
    z.backward()
    assert len(seen) == 1


def test_a_hook_may_replace_the_gradient() -> None:
    x = leaf(1.0, 2.0)
    y = x * 3
    y.register_hook(lambda g: g * 10)
    y.register_hook(lambda g: g + 1)
    x.register_hook(lambda g: -g)
    y.sum().backward()
    assert x.grad.tolist() == [-33.0, -33.0]


def test_a_hook_is_recorded_with_create_graph() -> None:
    x = leaf(2.0)
    y = x * x
    y.register_hook(lambda g: g * x)
    y.sum().backward(create_graph=True)
    g = x.grad
    x.grad = None
    g.sum().backward()
    assert x.grad.item() == 8.0


def test_a_hook_of_another_shape_is_refused() -> None:
    x = leaf(1.0, 2.0)
    y = x * 3
    y.register_hook(lambda g: np.ones(3))
    with pytest.raises(ValueError, match=r"hook.*\(3,\).*\(2,\)"):
        y.sum().backward()


def test_hooks_elsewhere_do_not_matter() -> None:
    a = leaf(1.0)
    b = a * 2
    b.register_hook(lambda g: pytest.fail("not on this tape"))
    x = leaf(1.0)
    (x * x).sum().backward()
    assert x.grad.item() == 2.0


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


def test_modes_are_of_one_thread() -> None:
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


# Writing


def test_item_assignment_to_a_result_is_differentiable() -> None:
    x, v = leaf(1.0, 2.0, 3.0), leaf(5.0)
    y = x * x
    kept = y
    y[1] = v[0] * 2
    assert kept is y
    (y * y).sum().backward()
    assert x.grad.tolist() == [4.0, 0.0, 108.0]
    assert v.grad.tolist() == [40.0]


def test_item_assignment_does_not_reach_older_uses() -> None:
    x = leaf(1.0, 2.0)
    y = x * 3
    z = y * y
    y[0] = 0.0
    assert z.tolist() == [9.0, 36.0]
    (z.sum() + y.sum()).backward()
    assert x.grad.tolist() == [18.0, 39.0]


def test_item_assignment_to_a_constant_records_from_there() -> None:
    x, t = leaf(5.0), Tensor([1.0, 2.0])
    before = t.data
    t[0] = x[0]
    assert t.tolist() == [5.0, 2.0]
    assert t.requires_grad
    assert before.tolist() == [1.0, 2.0]


def test_item_assignment_never_writes_into_the_array_of_someone_else() -> None:
    a = np.ones(3)
    t = mg.asarray(a)
    t[0] = 5.0
    t += 1.0
    assert a.tolist() == [1.0, 1.0, 1.0]
    d = (x := leaf(1.0, 2.0)).detach()
    d[0] = 7.0
    assert x.tolist() == [1.0, 2.0]


def test_augmented_assignment_to_a_result_rebinds() -> None:
    x = leaf(2.0)
    y = x * 1
    kept = y
    y *= x
    y += 1
    y -= x
    y /= 2
    y **= 2
    assert kept is y
    y.sum().backward()
    assert y.item() == 2.25
    assert x.grad.item() == pytest.approx(2 * 1.5 * (4 - 1) / 2)


def test_an_update_under_no_grad_is_in_place() -> None:
    w = Tensor(np.ones(3), requires_grad=True)
    (w * w).sum().backward()
    memory, kept, line = w.data, w, w.node
    with mg.no_grad():
        w -= 0.1 * w.grad
        w[0] = 5.0
        w *= 2
    assert kept is w
    assert w.data is memory
    assert w.node is line
    assert w.requires_grad
    np.testing.assert_allclose(memory, [10.0, 1.6, 1.6])
    w.grad = None
    (w * w).sum().backward()
    np.testing.assert_allclose(w.grad.data, [20.0, 3.2, 3.2])


def test_an_update_keeps_the_dtype() -> None:
    w = Tensor(np.ones(2, np.float32), requires_grad=True)
    with mg.no_grad():
        w -= np.full(2, 0.5)
    assert w.dtype == np.float32


def test_an_update_may_not_change_the_shape() -> None:
    w = leaf(1.0, 2.0)
    with mg.no_grad(), pytest.raises(ValueError, match=r"\(2,\).*\(3, 2\)"):
        w -= np.ones((3, 2))


# Use after a change in place


def changed(w: Tensor) -> None:
    with mg.no_grad():
        w -= 1.0


VIEWS: dict[str, Any] = {
    "itself": lambda w: w,
    "transpose": np.transpose,
    "reshape": lambda w: w.reshape(4),
    "slice": lambda w: w[1:],
    "ravel": np.ravel,
    "detach": lambda w: w.detach() * w,
    "expand_dims": lambda w: np.expand_dims(w, 0),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_value_changed_after_use_is_refused(name: str) -> None:
    w = Tensor(np.ones((2, 2)), requires_grad=True)
    y = np.square(VIEWS[name](w)).sum()
    changed(w)
    with pytest.raises(RuntimeError, match=r"changed in place.*anew"):
        y.backward()


def test_a_change_through_one_leaf_of_memory_that_another_shares_is_refused() -> None:
    buffer = np.ones(4)
    a, b = mg.asarray(buffer[:2]), mg.asarray(buffer[1:3])
    a.requires_grad = b.requires_grad = True
    y = (b * b).sum()
    changed(a)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_a_change_of_memory_apart_is_no_error() -> None:
    buffer = np.ones(4)
    a, b = mg.asarray(buffer[:2]), mg.asarray(buffer[2:])
    a.requires_grad = b.requires_grad = True
    y = (b * b).sum()
    changed(a)
    y.backward()
    assert b.grad.tolist() == [2.0, 2.0]


def test_a_change_before_use_is_no_error() -> None:
    w = leaf(2.0)
    changed(w)
    (w * w).sum().backward()
    assert w.grad.item() == 2.0


def test_a_change_that_no_rule_sees_is_no_error() -> None:
    """A sum keeps no values."""
    w = leaf(2.0)
    y = (w + 1.0).sum()
    changed(w)
    y.backward()
    assert w.grad.item() == 1.0


def test_forward_mode_refuses_a_value_changed_after_use() -> None:
    w = leaf(2.0)
    y = w * w
    changed(w)
    with pytest.raises(RuntimeError, match="changed in place"):
        tape.push(mg.Tape(y).lines, {w.node: np.ones(1)})


def test_item_assignment_under_no_grad_is_a_change() -> None:
    w = leaf(1.0, 2.0)
    y = (w * w).sum()
    with mg.no_grad():
        w[1] = 0.0
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


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
