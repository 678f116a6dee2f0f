"""Steps and sequences of recurrent networks against NumPy, and the primitives against their compositions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from agreement import assert_agree

import minigrad as mg
from minigrad import functional as F
from minigrad import fused
from minigrad.engine.tape import Tape

rng = np.random.default_rng(6)
N, SIZE, H = 3, 4, 2


def operands(gates: int, states: int) -> list[Any]:
    """x, the states, both kernels and both biases."""
    shapes = [(N, SIZE), *[(N, H)] * states, (SIZE, gates * H), (H, gates * H), (gates * H,), (gates * H,)]
    return [rng.standard_normal(shape) for shape in shapes]


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def lstm_by_units(x: Any, h: Any, c: Any, w: Any, u: Any, b: Any, d: Any) -> Any:
    """A step computed for one unit and one gate at a time, in the order i, f, g, o."""
    h_next, c_next = np.zeros((N, H)), np.zeros((N, H))
    for n, unit in np.ndindex(N, H):
        i, f, g, o = (x[n] @ w[:, k] + h[n] @ u[:, k] + b[k] + d[k] for k in (gate * H + unit for gate in range(4)))
        c_next[n, unit] = sigmoid(f) * c[n, unit] + sigmoid(i) * np.tanh(g)
        h_next[n, unit] = sigmoid(o) * np.tanh(c_next[n, unit])
    return h_next, c_next


def gru_by_units(x: Any, h: Any, w: Any, u: Any, b: Any, d: Any) -> Any:
    """A step computed for one unit and one gate at a time, in the order r, z, n."""
    h_next = np.zeros((N, H))
    for m, unit in np.ndindex(N, H):
        (a_r, b_r), (a_z, b_z), (a_n, b_n) = (
            (x[m] @ w[:, k] + b[k], h[m] @ u[:, k] + d[k]) for k in (gate * H + unit for gate in range(3))
        )
        z = sigmoid(a_z + b_z)
        h_next[m, unit] = (1 - z) * np.tanh(a_n + sigmoid(a_r + b_r) * b_n) + z * h[m, unit]
    return h_next


@pytest.mark.parametrize("cell", [F.lstm_cell, fused.lstm_cell])
def test_lstm_values(cell: Any) -> None:
    arguments = operands(4, 2)
    for result, expected in zip(cell(*arguments), lstm_by_units(*arguments), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-10)
    without, zeros = arguments[:5], np.zeros(4 * H)
    for result, expected in zip(cell(*without), lstm_by_units(*without, zeros, zeros), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-10)


@pytest.mark.parametrize("cell", [F.gru_cell, fused.gru_cell])
def test_gru_values(cell: Any) -> None:
    arguments = operands(3, 1)
    np.testing.assert_allclose(cell(*arguments), gru_by_units(*arguments), rtol=1e-10)
    without, zeros = arguments[:4], np.zeros(3 * H)
    np.testing.assert_allclose(cell(*without), gru_by_units(*without, zeros, zeros), rtol=1e-10)


def test_rnn_values() -> None:
    x, h, w, u, b, d = operands(1, 1)
    expected = np.array([[x[n] @ w[:, k] + h[n] @ u[:, k] + b[k] + d[k] for k in range(H)] for n in range(N)])
    np.testing.assert_allclose(F.rnn_cell(x, h, w, u, b, d), np.tanh(expected), rtol=1e-10)
    result = F.rnn_cell(x, h, w, u, b, d, nonlinearity="relu")
    np.testing.assert_allclose(result, np.where(expected > 0, expected, 0), rtol=1e-10)


@pytest.mark.parametrize("used", [(True, True), (True, False), (False, True)])
def test_lstm_primitive_equals_composition(used: Any) -> None:
    weights = rng.standard_normal((2, N, H))

    def loss(cell: Any) -> Any:
        return lambda *a: sum((np.sin(y) * w).sum() for y, w, u in zip(cell(*a), weights, used, strict=True) if u)

    assert_agree(loss(fused.lstm_cell), loss(F.lstm_cell), operands(4, 2))


def test_gru_primitive_equals_composition() -> None:
    weight = rng.standard_normal((N, H))

    def loss(cell: Any) -> Any:
        return lambda *a: (np.sin(cell(*a)) * weight).sum()

    assert_agree(loss(fused.gru_cell), loss(F.gru_cell), operands(3, 1))


SEQUENCES = {
    "rnn": (fused.rnn, lambda x, h, *p: (F.rnn_cell(x, h, *p),), 1, 1),
    "lstm": (lambda *a: (fused.lstm(*a)[0], *fused.lstm(*a)[1]), F.lstm_cell, 4, 2),
    "gru": (fused.gru, lambda x, h, *p: (F.gru_cell(x, h, *p),), 3, 1),
}


@pytest.mark.parametrize("which", SEQUENCES)
def test_sequence_equals_its_steps(which: str) -> None:
    sequence, step, gates, states = SEQUENCES[which]
    x, *state_and_weights = operands(gates, states)
    weights = [rng.standard_normal((5, N, H)), *rng.standard_normal((states, N, H))]

    def stepped(x: Any, *arguments: Any) -> Any:
        state, parameters, outputs = arguments[:states], arguments[states:], []
        for now in mg.unstack(x):
            state = step(now, *state, *parameters)
            outputs.append(state[0])
        return mg.stack(outputs), *state

    def loss(function: Any) -> Any:
        return lambda *a: sum((np.sin(y) * w).sum() for y, w in zip(function(*a), weights, strict=True))

    assert_agree(loss(sequence), loss(stepped), [rng.standard_normal((5, *x.shape)), *state_and_weights])


@pytest.mark.parametrize("which", SEQUENCES)
def test_sequences_of_wrong_shape_raise(which: str) -> None:
    _, _, gates, states = SEQUENCES[which]
    x, *state_and_weights = operands(gates, states)
    for wrong in (x, np.ones((0, N, SIZE)), np.ones((4, N + 1, SIZE)), np.ones((4, N, SIZE + 1))):
        with pytest.raises(ValueError, match=rf"{which}\(.*float64.*: expected x \(T, N, I\) with T at least 1"):
            getattr(fused, which)(wrong, *state_and_weights)


@pytest.mark.parametrize("which", SEQUENCES)
def test_operands_of_different_dtypes_are_promoted(which: str) -> None:
    sequence, _, gates, states = SEQUENCES[which]
    x, *state_and_weights = operands(gates, states)
    assert sequence(x[None].astype(np.float32), *state_and_weights)[0].dtype == np.float64
    np.testing.assert_allclose(
        sequence(x[None].astype(np.float32), *state_and_weights)[0],
        sequence(x[None], *state_and_weights)[0],
        rtol=1e-5,
        atol=1e-6,
    )


CELLS = {
    "rnn_cell": (F.rnn_cell, 1, 1),
    "lstm_cell": (F.lstm_cell, 4, 2),
    "gru_cell": (F.gru_cell, 3, 1),
    "fused.lstm_cell": (fused.lstm_cell, 4, 2),
    "fused.gru_cell": (fused.gru_cell, 3, 1),
}


@pytest.mark.parametrize("which", CELLS)
@pytest.mark.parametrize("biased", [True, False])
def test_single_precision_is_preserved(which: str, biased: bool) -> None:
    cell, gates, states = CELLS[which]
    arguments = [mg.Tensor(x, requires_grad=True, dtype="float32") for x in operands(gates, states)]
    arguments = arguments if biased else arguments[:-2]
    outputs = cell(*arguments)
    h = outputs[0] if isinstance(outputs, tuple) else outputs
    assert h.dtype == np.float32
    h.sum().backward()
    assert all(x.grad.dtype == np.float32 for x in arguments)


@pytest.mark.parametrize("which", CELLS)
def test_bad_input(which: str) -> None:
    cell, gates, states = CELLS[which]
    arguments = operands(gates, states)
    wrong_shapes = {
        0: (N, SIZE + 1),
        1: (N + 1, H),
        states + 1: (SIZE, gates * H + 1),
        states + 2: (H,),
        states + 3: (H + 1,),
    }
    for k, shape in wrong_shapes.items():
        wrong = [np.ones(shape) if j == k else x for j, x in enumerate(arguments)]
        with pytest.raises(
            ValueError, match=rf"{which.removeprefix('fused.')}\(.*float64.*: expected x \(N, I\), h \(N, H\)"
        ):
            cell(*wrong)


def test_unknown_nonlinearity() -> None:
    with pytest.raises(ValueError, match="'tanh' or 'relu'"):
        F.rnn_cell(*operands(1, 1), nonlinearity="sigmoid")
    x, *state_and_weights = operands(1, 1)
    with pytest.raises(ValueError, match="'tanh' or 'relu'"):
        fused.rnn(x[None], *state_and_weights, nonlinearity="sigmoid")


def test_names_of_nodes() -> None:
    arguments = [mg.Tensor(x, requires_grad=True) for x in operands(4, 2)]
    h, _ = F.lstm_cell(*arguments)
    assert {"i", "f", "g", "o", "c", "h"} <= {getattr(node, "name", None) for node in Tape(h)}
    arguments = [mg.Tensor(x, requires_grad=True) for x in operands(3, 1)]
    assert {"r", "z", "n", "h"} <= {getattr(node, "name", None) for node in Tape(F.gru_cell(*arguments))}


@pytest.mark.floating(under="ignore")
def test_saturated_gates_do_not_overflow() -> None:
    arguments = [1000 * x for x in operands(4, 2)]
    assert all(np.isfinite(y).all() for y in fused.lstm_cell(*arguments))
    assert np.isfinite(fused.gru_cell(*(1000 * x for x in operands(3, 1)))).all()
