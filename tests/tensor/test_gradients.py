"""Gradients: accumulation, whose memory they are, create_graph, hooks, retain_grad."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor
from minigrad.engine.gradient_hooks import HOOKED


def leaf(*values: float) -> Tensor:
    return Tensor(list(values), requires_grad=True)


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


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2"])
@pytest.mark.parametrize(
    ("shape", "of"),
    [((40, 30, 8), (8,)), ((300, 5, 6), (5, 6)), ((9000,), ()), ((9000, 1), (1,)), ((9000, 2), (9000, 1))],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_broadcast_operand_gets_the_sum(shape: Any, of: Any, dtype: str, order: Any) -> None:
    """Small whole numbers, whose sums are exact."""
    v = np.asarray(np.random.default_rng(0).integers(-1, 2, shape), dtype, order)
    small = Tensor(np.zeros(of, dtype), requires_grad=True)
    (small + np.zeros(shape, dtype)).backward(v)
    axes = tuple(k for k in range(len(shape)) if k < len(shape) - len(of) or of[k - len(shape)] != shape[k])
    assert small.grad.dtype == dtype
    np.testing.assert_array_equal(small.grad.numpy(), v.astype(int).sum(axis=axes).reshape(of))


@pytest.mark.parametrize("function", [lambda x: x, lambda x: x + 1, lambda x: x.reshape(4, 2).T, lambda x: x[::-1]])
def test_the_array_given_to_backward_stays_the_callers(function: Any) -> None:
    x = Tensor(np.zeros((2, 4)), requires_grad=True)
    v = np.ones(function(x).shape)
    for _ in range(2):
        function(x).backward(v)
    assert not np.may_share_memory(x.grad.data, v)
    np.testing.assert_array_equal(v, np.ones(v.shape))
    np.testing.assert_array_equal(x.grad.numpy(), np.full((2, 4), 2.0))


def test_backward_from_a_leaf() -> None:
    x = leaf(2.0)
    x.backward()
    x.backward(np.array([3.0]))
    assert x.grad.tolist() == [4.0]


def test_a_gradient_shares_no_memory() -> None:
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


def test_a_second_backward_does_not_change_a_gradient_that_was_stored_elsewhere() -> None:
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    taken = x.grad
    (x * x).sum().backward()
    assert taken.tolist() == [2.0, 4.0]
    assert x.grad.tolist() == [4.0, 8.0]


def test_gradients_without_other_references_are_not_copied() -> None:
    made: list[Any] = []  # what the rule returns

    def times_two(v: Any) -> Any:
        made.append(id(contribution := v * 2.0))
        return contribution

    double = mg.custom(lambda x: x * 2.0, times_two)
    w, held = leaf(1.0, 2.0), leaf(3.0, 4.0)
    kept: list[Any] = []
    held.register_hook(lambda v: kept.append(v.data))
    (double(w) + double(held)).sum().backward()
    assert id(w.grad.data) in made
    assert id(held.grad.data) not in made
    assert not np.shares_memory(held.grad.data, kept[0])


def test_a_contribution_that_the_rule_stores_is_copied() -> None:
    remembered = np.full(2, 5.0)
    fixed = mg.custom(lambda x: x * 1.0, lambda v: remembered)
    x = leaf(1.0, 2.0)
    fixed(x).sum().backward()
    assert x.grad.tolist() == [5.0, 5.0]
    assert not np.shares_memory(x.grad.data, remembered)


@pytest.mark.parametrize("view", [np.transpose, np.ravel, lambda t: t[:], lambda t: t.reshape(2, 2), lambda t: +t])
def test_gradients_of_views_share_no_memory(view: Any) -> None:
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


def test_accumulation_does_not_write_into_an_array_set_as_grad() -> None:
    x, given = leaf(1.0, 2.0), np.ones(2)
    x.grad = given
    x.sum().backward()
    assert given.tolist() == [1.0, 1.0]


def test_backward_to_a_deleted_leaf_is_no_error() -> None:
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


def test_a_gradient_of_zeros_is_stored() -> None:
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


def test_a_removed_hook_leaves_nothing_behind() -> None:
    x = mg.Tensor([1.0], requires_grad=True)
    first, second = x.register_hook(lambda v: None), x.register_hook(lambda v: v * 2)
    first()
    assert x.node in HOOKED
    (x * 3).backward()
    assert x.grad.tolist() == [6.0]
    second()
    second()
    assert x.node not in HOOKED


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


def test_hooks_on_other_tapes_do_not_matter() -> None:
    a = leaf(1.0)
    b = a * 2
    b.register_hook(lambda g: pytest.fail("not on this tape"))
    x = leaf(1.0)
    (x * x).sum().backward()
    assert x.grad.item() == 2.0


def test_a_hook_cannot_change_what_others_use() -> None:
    a, b = mg.Tensor([1.0], requires_grad=True), mg.Tensor([1.0], requires_grad=True)
    y = a * 1
    hook = y.register_hook(lambda g: g.data.__imul__(10))
    with pytest.raises(ValueError, match="read-only"):
        (y + b).backward()

    def scale(g: mg.Tensor) -> None:
        g *= 10

    hook.remove()
    y.register_hook(scale)
    with pytest.raises(RuntimeError, match="in place; return the changed one"):
        (y + b).backward()


def test_a_hook_is_removed_by_its_method() -> None:
    x = mg.Tensor([1.0], requires_grad=True)
    hook = x.register_hook(lambda g: g * 10)
    (x * 2).backward()
    hook.remove()
    hook.remove()
    (x * 2).backward()
    assert x.grad.tolist() == [22.0]
