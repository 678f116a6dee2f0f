"""Writing elements: differentiable on results, in place on leaves under no_grad, and noticed by older lines."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, nn
from minigrad.engine import tape
from minigrad.tensor import inplace


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


def test_a_change_of_other_memory_is_no_error() -> None:
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
def test_of_single_numbers_the_value_is_kept(function: Any, slope: float) -> None:
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
        tape.push(mg.Tape(y).nodes, {w.node: np.ones(1)})


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


# Parts of Tensors are Tensors of their own, and writes that would be lost are refused

LOST: dict[str, Any] = {
    "an item of an item": lambda x: x[0].__setitem__(1, 5.0),
    "a range of a row": lambda x: x[-1].__setitem__(slice(1, None), 5.0),
    "an item of a part of a part": lambda x: x[:, None][0].__setitem__(0, 5.0),
    "an item of the transpose": lambda x: x.T[0].__setitem__(1, 5.0),
    "the transpose": lambda x: x.mT.__setitem__((0, 1), 5.0),
    "an item of an item by small integers": lambda x: x[np.uint8(0)].__setitem__(1, 5.0),
    "rows": lambda x: [row.__itruediv__(2.0) for row in x],
    "rows of a list": lambda x: [row.__imul__(2.0) for row in list(x)],
    "an item of a row": lambda x: [row.__setitem__(0, 2.0) for row in x],
}


def _kinds() -> Iterator[Tensor]:
    yield mg.Tensor(np.ones((2, 2)))
    yield leaf([1.0, 1.0], [1.0, 1.0])
    yield leaf([1.0, 1.0], [1.0, 1.0]) * 1


@pytest.mark.parametrize("records", [True, False])
@pytest.mark.parametrize("what", LOST)
def test_a_write_to_a_part_that_would_be_lost_is_refused(what: str, records: bool) -> None:
    for x in _kinds():
        with (
            nullcontext() if records else mg.no_grad(),
            pytest.raises(RuntimeError, match="the part alone would change"),
        ):
            LOST[what](x)
        assert x.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_parts_are_tensors_of_their_own() -> None:
    x = leaf([1.0, 2.0], [3.0, 4.0])
    y = x * 1
    q = y[0]
    q *= 3
    a, b = y
    a += q
    b -= 1.0
    b[0] = 7.0  # it has memory of its own by now
    y[0] *= 2
    y[:, [0]] += 1.0
    assert (q.tolist(), a.tolist(), b.tolist()) == ([3.0, 6.0], [4.0, 8.0], [7.0, 3.0])
    assert y.tolist() == [[3.0, 4.0], [4.0, 4.0]]
    (q.sum() + a.sum() + b.sum() + y.sum()).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[9.0, 9.0], [1.0, 2.0]]


def test_parts_of_temporaries_and_copies_can_be_written() -> None:
    x = leaf([1.0, 2.0], [3.0, 4.0])
    part = (x * 2)[0]
    part[1] = 5.0
    low, high = (x * 2)[:, 0], (x * 2)[:, 1]
    low[0], high[0] = 0.0, 1.0
    assert (part.tolist(), low.tolist(), high.tolist()) == ([2.0, 5.0], [0.0, 6.0], [1.0, 8.0])
    for copied in (mg.copy(x[0]), x[0] * 1, x[[0]][0], x[np.array([True, False])][0], x[:, [0, 1]]):
        copied[0] = 9.0
    assert x.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_columns_by_a_list_or_a_mask_are_copies() -> None:
    w = leaf([1.0, 2.0], [3.0, 4.0])
    with mg.no_grad():
        w[:, [0]] *= 0
        w[:, np.array([False, True])] += 1
        column = w[:, [1]]
        column[0] = 9.0
    assert w.tolist() == [[0.0, 3.0], [0.0, 5.0]]


RESULTS: dict[str, Any] = {
    "reshape": lambda x: x.reshape(-1),
    "swapaxes": lambda x: np.swapaxes(x, 0, 1),
    "permute_dims": lambda x: mg.permute_dims(x, (1, 0)),
    "ravel": np.ravel,
    "flip": mg.flip,
    "expand_dims": lambda x: mg.expand_dims(x, axis=0),
    "detach": lambda x: x.detach(),
    "a new one": lambda x: x * 1,
}


@pytest.mark.skipif(
    inplace._temporary == 0, reason="this Python does not tell a variable from the value of an expression"
)
@pytest.mark.parametrize("what", RESULTS)
def test_a_write_to_a_temporary_is_refused(what: str) -> None:
    for x in _kinds():
        for mode in (nullcontext(), mg.no_grad()):
            with mode, pytest.raises(RuntimeError, match="nothing else refers to"):
                RESULTS[what](x)[0] = 5.0
        assert x.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_tensors_with_a_reference_can_be_written() -> None:
    held: dict[str, Any] = {"list": [mg.zeros(2)], "object": type("Holder", (), {})()}
    held["object"].x = mg.zeros(2)
    held["list"][0][1] = 1.0
    held["object"].x[1] = 1.0
    held["object"].x.__setitem__(0, 2.0)
    d = held["list"][0].detach()
    d[0] = 3.0
    assert [held["list"][0].tolist(), held["object"].x.tolist(), d.tolist()] == [[0.0, 1.0], [2.0, 1.0], [3.0, 1.0]]


def test_loops_over_temporaries_and_over_vectors() -> None:
    x = mg.Tensor(np.array([[1.0, 3.0], [2.0, 2.0]]))
    rows = []
    for row in x * 2:
        row /= row.sum()
        rows.append(row.tolist())
    for v in x[0]:
        v *= 2
        rows.append(v.tolist())
    assert rows == [[0.25, 0.75], [0.5, 0.5], 2.0, 6.0]
    assert x.tolist() == [[1.0, 3.0], [2.0, 2.0]]


def test_a_value_of_a_transform_is_not_copied_into_a_leaf() -> None:
    model = nn.Linear(2, 1, rng=0)
    given = {name: p.data.copy() for name, p in model.named_parameters()}

    def loaded(state: Any) -> Any:
        model.load_state_dict(state)
        return model(np.ones((1, 2))).sum()

    def copied(state: Any) -> Any:
        with mg.no_grad():
            for name, p in model.named_parameters():
                p[...] = state[name]
        return model(np.ones((1, 2))).sum()

    def added(state: Any) -> Any:
        with mg.no_grad():
            for name, p in model.named_parameters():
                p += state[name]
        return model(np.ones((1, 2))).sum()

    for f in (loaded, copied, added):
        with pytest.raises(RuntimeError, match="the gradient would be lost"):
            mg.grad(f)(given)
    model.load_state_dict(given)  # outside of a transform it is what it always was
    with mg.no_grad():
        model.weight[...] = mg.Tensor(given["weight"], requires_grad=True) * 1


def test_a_part_keeps_nothing_alive() -> None:
    h = mg.Tensor(np.ones(3))
    whole = weakref.ref(h)
    h = h[1:]
    assert whole() is None


def test_a_write_under_no_grad_that_would_cut_off_the_history_is_refused() -> None:
    y = leaf([1.0, 2.0], [3.0, 4.0]) * 2
    with mg.no_grad():
        with pytest.raises(RuntimeError, match="cut it off from its history"):
            y[0, 1] = 5.0
        with pytest.raises(RuntimeError, match="cut it off from its history"):
            y *= 2
        value = y.detach()
        value *= 2
    assert (y.tolist(), value.tolist()) == ([[2.0, 4.0], [6.0, 8.0]], [[4.0, 8.0], [12.0, 16.0]])


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
