"""Writing elements: differentiable on results, in place on leaves under no_grad, and noticed by older lines."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor
from minigrad.engine import tape


def leaf(*values: Any) -> Tensor:
    return Tensor(list(values), requires_grad=True)


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


def test_a_number_from_an_operation_becomes_a_leaf_that_can_be_written() -> None:
    w = (leaf(1.0, 2.0).sum() * 2.0).detach()
    w.requires_grad = True
    with mg.no_grad():
        w -= 1.0
    (w * w).backward()
    assert (w.item(), w.grad.item()) == (5.0, 10.0)


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
    with pytest.raises(RuntimeError, match=r"changed in place.*again"):
        y.backward()


def test_a_change_through_one_leaf_of_memory_that_another_shares_is_refused() -> None:
    buffer = np.ones(4)
    a, b = leaf(1.0, 1.0), leaf(1.0, 1.0)
    a.data, b.data = buffer[:2], buffer[1:3]
    y = (b * b).sum()
    changed(a)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_a_change_of_memory_apart_is_no_error() -> None:
    buffer = np.ones(4)
    a, b = leaf(1.0, 1.0), leaf(1.0, 1.0)
    a.data, b.data = buffer[:2], buffer[2:]
    y = (b * b).sum()
    changed(a)
    y.backward()
    assert b.grad.tolist() == [2.0, 2.0]


def test_a_change_before_use_is_no_error() -> None:
    w = leaf(2.0)
    changed(w)
    (w * w).sum().backward()
    assert w.grad.item() == 2.0


@pytest.mark.parametrize(
    ("function", "slope"),
    [(lambda w: w * w, 4.0), (lambda w: w**2, 4.0), (lambda w: w**3, 12.0), (lambda w: 1 / w, -0.25)],
)
def test_single_numbers_are_kept_as_they_were(function: Any, slope: float) -> None:
    """What is kept of an array without axes is its number and not its memory, so a change does no harm."""
    w = Tensor(2.0, requires_grad=True)
    y = function(w)
    changed(w)
    y.backward()
    assert w.grad.item() == slope


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


@pytest.mark.parametrize("requires_grad", [False, True])
def test_an_assignment_that_would_change_the_shape_is_refused(requires_grad: bool) -> None:
    t = mg.Tensor([1.0, 2.0], requires_grad=requires_grad) * 1.0
    with pytest.raises(ValueError, match=r"change the shape of t from \(2,\) to \(3, 2\); write t = t \+ value"):
        t += np.ones((3, 2))
    assert t.shape == (2,)


# Parts of Tensors: a write to one reaches the whole, as in NumPy


def test_a_write_to_a_part_reaches_the_whole() -> None:
    x = mg.Tensor(np.zeros((2, 3)))
    x[0][1] = 5.0
    row = x[1]
    row[2] = 7.0
    row += 1.0
    assert x.tolist() == [[0.0, 5.0, 0.0], [1.0, 1.0, 8.0]]
    assert row.tolist() == [1.0, 1.0, 8.0]
    y = mg.Tensor(np.zeros((2, 2, 2)))
    middle = y[1]
    inner = middle[0]
    del middle
    inner[1] = 3.0
    y[0][1][1] = 4.0
    assert y.tolist() == [[[0.0, 0.0], [0.0, 4.0]], [[0.0, 3.0], [0.0, 0.0]]]


def test_rows_of_a_parameter_are_written_under_no_grad() -> None:
    w = leaf([1.0, 3.0], [2.0, 2.0])
    with mg.no_grad():
        for row in w:
            row /= row.sum()
        w[0][1] = 5.0
        w.T[0, 1] = 7.0
        w.mT[1, 1] += 0.5
        w[1] *= 2.0
    assert w.tolist() == [[0.25, 5.0], [14.0, 2.0]]
    assert w.is_leaf


def test_gradients_of_writes_to_parts() -> None:
    w = leaf([1.0, 1.0], [1.0, 1.0])
    h = w * 2
    for row in h:
        row *= row
    h[0] *= 3
    h.T[0, 1] = 7.0
    assert h.tolist() == [[12.0, 12.0], [7.0, 4.0]]
    (h * h).sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [[576.0, 576.0], [0.0, 64.0]]
    buffer, v = mg.zeros((2, 2)), leaf(3.0)
    buffer[0][1:] = v * 2
    (buffer * buffer).sum().backward()
    assert v.grad is not None
    assert v.grad.tolist() == [24.0]


def test_a_part_of_a_leaf_is_refused_while_operations_are_recorded() -> None:
    w = leaf([1.0, 2.0], [3.0, 4.0])
    with pytest.raises(RuntimeError, match="leaf Tensor"):
        w[0][1] = 5.0
    row = next(iter(w))
    with pytest.raises(RuntimeError, match="leaf Tensor"):
        row /= 2
    assert w.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_part_that_is_out_of_date_is_refused() -> None:
    x = leaf([1.0, 2.0], [3.0, 4.0]) * 1
    row = x[0]
    x[1] = 0.0
    with pytest.raises(RuntimeError, match="Take it again"):
        row[0] = 5.0
    assert x.tolist() == [[1.0, 2.0], [0.0, 0.0]]
    row = x[0]
    row[0] = 5.0
    assert x.tolist() == [[5.0, 2.0], [0.0, 0.0]]


def test_a_copy_is_no_part() -> None:
    x = leaf([1.0, 2.0], [3.0, 4.0]) * 1
    for part in (mg.copy(x[0]), x[0] * 1, x[[0]][0], x[0].detach()):
        part[0] = 9.0
    assert x.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_part_keeps_nothing_of_what_nobody_has() -> None:
    h = mg.Tensor(np.ones(3))
    first = weakref.ref(h)
    h = h[1:]
    h = h[:1]
    assert first() is None


@pytest.mark.parametrize(
    ("shape", "index", "given"),
    [
        ((4, 2), 1, (1, 2)),
        ((4, 2), (slice(1, 3), 0), (1, 1, 2)),
        ((4, 2), ([0, 0], [1, 1]), (1, 2)),
        ((3,), slice(1, 2), (1, 1)),
    ],
)
def test_values_may_have_more_axes_of_size_1(shape: Any, index: Any, given: Any) -> None:
    x, v = mg.Tensor(np.ones(shape), requires_grad=True), mg.Tensor(np.full(given, 2.0), requires_grad=True)
    y = x * 1
    y[index] = v
    (y * y).sum().backward()
    expected = np.ones(shape)
    expected[index] = np.full(given, 2.0)
    assert y.tolist() == expected.tolist()
    assert v.grad is not None
    assert v.grad.shape == given
    assert v.grad.data.sum() == 2 * expected[expected == 2.0].sum()
