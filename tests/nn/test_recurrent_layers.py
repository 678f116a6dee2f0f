"""Recurrent layers against a loop in NumPy: outputs, final states and the gradients of all parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim

rng = np.random.default_rng(9)
N, T, SIZE, H = 2, 5, 3, 4


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def rnn_step(x: Any, state: Any, w: Any, u: Any, b: Any, d: Any) -> Any:
    return (np.tanh(x @ w + b + state[0] @ u + d),)


def relu_step(x: Any, state: Any, w: Any, u: Any, b: Any, d: Any) -> Any:
    return (np.maximum(x @ w + b + state[0] @ u + d, 0),)


def lstm_step(x: Any, state: Any, w: Any, u: Any, b: Any, d: Any) -> Any:
    h, c = state
    i, f, g, o = np.split(x @ w + b + h @ u + d, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_step(x: Any, state: Any, w: Any, u: Any, b: Any, d: Any) -> Any:
    (h,) = state
    (a_r, a_z, a_n), (b_r, b_z, b_n) = np.split(x @ w + b, 3, axis=1), np.split(h @ u + d, 3, axis=1)
    z = sigmoid(a_z + b_z)
    return ((1 - z) * np.tanh(a_n + sigmoid(a_r + b_r) * b_n) + z * h,)


LAYERS: dict[str, tuple[Any, Any, int]] = {
    "RNN": (nn.RNN, rnn_step, 1),
    "LSTM": (nn.LSTM, lstm_step, 2),
    "GRU": (nn.GRU, gru_step, 1),
}
CELLS: dict[str, tuple[Any, Any, int]] = {
    "RNN": (nn.RNNCell, rnn_step, 1),
    "LSTM": (nn.LSTMCell, lstm_step, 2),
    "GRU": (nn.GRUCell, gru_step, 1),
}


def looped(step: Any, x: Any, state: Any, p: dict[str, Any], layers: int, directions: int) -> Any:
    """The outputs and final states, by loops over layers, directions and steps."""
    final: list[list[Any]] = [[] for _ in state]
    for layer in range(layers):
        sides = []
        for direction in range(directions):
            suffix = f"_l{layer}" + "_reverse" * direction
            parameters = [p.get(name + suffix, 0.0) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            now = [part[layer * directions + direction] for part in state]
            results: list[Any] = [None] * x.shape[1]
            for t in range(x.shape[1])[:: -1 if direction else 1]:
                now = step(x[:, t], now, *parameters)
                results[t] = now[0]
            sides.append(np.stack(results, axis=1))
            for parts, part in zip(final, now, strict=True):
                parts.append(part)
        x = np.concatenate(sides, axis=2)
    return x, [np.stack(parts) for parts in final]


def start(states: int, count: int) -> list[Any]:
    return [rng.standard_normal((count, N, H)) for _ in range(states)]


def packed(state: Any) -> Any:
    """The state as an argument of a layer: h, or (h, c)."""
    return tuple(state) if len(state) > 1 else state[0]


def parts_of(state: Any) -> list[Any]:
    return list(state) if isinstance(state, tuple) else [state]


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (2, False), (1, True), (2, True)])
@pytest.mark.parametrize("bias", [True, False])
def test_sequences(kind: str, layers: int, bidirectional: bool, bias: bool) -> None:
    """Values are those of the loop, and so are the gradients of inputs, states and parameters."""
    make, step, states = LAYERS[kind]
    directions = 1 + bidirectional
    layer = make(SIZE, H, num_layers=layers, bidirectional=bidirectional, bias=bias, rng=0)
    names = [name for name, _ in layer.named_parameters()]
    x, state = rng.standard_normal((N, T, SIZE)), start(states, layers * directions)
    weights = [rng.standard_normal((N, T, H * directions)), *(rng.standard_normal(part.shape) for part in state)]

    leaves = [mg.Tensor(part, requires_grad=True) for part in (x, *state)]
    outputs, final = layer(leaves[0], packed(leaves[1:]))
    results = [outputs, *parts_of(final)]

    def reference(*operands: Any) -> list[Any]:
        parameters = dict(zip(names, operands[1 + states :], strict=True))
        y, last = looped(step, operands[0], operands[1 : 1 + states], parameters, layers, directions)
        return [y, *last]

    operands = [x, *state, *(p.numpy() for p in layer.parameters())]
    for actual, expected in zip(results, reference(*operands), strict=True):
        np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-10, atol=1e-12)
    sum((y * w).sum() for y, w in zip(results, weights, strict=True)).backward()
    contributions = mg.grad(
        lambda *a: sum((y * w).sum() for y, w in zip(reference(*a), weights, strict=True)), tuple(range(len(operands)))
    )(*operands)
    for leaf, contribution in zip([*leaves, *layer.parameters()], contributions, strict=True):
        np.testing.assert_allclose(leaf.grad.numpy(), contribution.data, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("bias", [True, False])
def test_cells(kind: str, bias: bool) -> None:
    make, step, states = CELLS[kind]
    cell = make(SIZE, H, bias=bias, rng=0)
    p = {name: value.numpy() for name, value in cell.named_parameters()}
    parameters = [p.get(name, 0.0) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    x, state = rng.standard_normal((N, SIZE)), [part[0] for part in start(states, 1)]
    for initial, begins in ((packed(state), state), (None, [np.zeros((N, H))] * states)):
        actual = parts_of(cell(x, initial))
        for a, b in zip(actual, step(x, begins, *parameters), strict=True):
            np.testing.assert_allclose(a.numpy(), b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_state_is_zero_by_default_and_can_be_passed_on(kind: str) -> None:
    make, _, states = LAYERS[kind]
    layer, x = make(SIZE, H, num_layers=2, rng=0), rng.standard_normal((N, T, SIZE))
    full, last = layer(x)
    np.testing.assert_array_equal(full.numpy(), layer(x, packed([np.zeros((2, N, H))] * states))[0].numpy())
    first, state = layer(x[:, :2])
    second, after = layer(x[:, 2:], state)
    np.testing.assert_allclose(np.concatenate([first.numpy(), second.numpy()], axis=1), full.numpy(), rtol=1e-12)
    for a, b in zip(parts_of(after), parts_of(last), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)


def test_relu() -> None:
    layer, cell = nn.RNN(SIZE, H, nonlinearity="relu", rng=0), nn.RNNCell(SIZE, H, nonlinearity="relu", rng=0)
    x = rng.standard_normal((N, T, SIZE))
    p = {name: value.numpy() for name, value in layer.named_parameters()}
    expected, _ = looped(relu_step, x, [np.zeros((1, N, H))], p, 1, 1)
    np.testing.assert_allclose(layer(x)[0].numpy(), expected, rtol=1e-10, atol=1e-12)
    assert (cell(x[:, 0]).numpy() >= 0).all()


@pytest.mark.parametrize("kind", LAYERS)
def test_single_precision_is_kept(kind: str) -> None:
    layer = LAYERS[kind][0](SIZE, H, num_layers=2, dropout=0.3, bidirectional=True, rng=0, dtype="float32")
    x = mg.Tensor(rng.standard_normal((N, T, SIZE)), requires_grad=True, dtype="float32")
    outputs, state = layer(x)
    outputs.sum().backward()
    assert outputs.dtype == x.grad.dtype == np.float32
    assert all(part.dtype == np.float32 for part in parts_of(state))
    assert all(p.grad.dtype == np.float32 for p in layer.parameters())


def test_dropout_between_layers_in_training_only() -> None:
    x = rng.standard_normal((N, T, SIZE))
    layer, plain = (nn.LSTM(SIZE, H, num_layers=2, dropout=p, rng=0) for p in (0.5, 0.0))
    plain.load_state_dict(layer.state_dict())
    assert (layer(x)[0].numpy() != plain(x)[0].numpy()).any()
    np.testing.assert_array_equal(layer.eval()(x)[0].numpy(), plain(x)[0].numpy())
    single, alone = (nn.LSTM(SIZE, H, dropout=p, rng=0) for p in (0.5, 0.0))
    np.testing.assert_array_equal(single(x)[0].numpy(), alone(x)[0].numpy())


def test_parameters() -> None:
    layer = nn.LSTM(SIZE, H, num_layers=2, bidirectional=True, rng=0)
    state = layer.state_dict()
    assert len(state) == 16
    assert state["weight_ih_l0_reverse"].shape == (SIZE, 4 * H)
    assert state["weight_ih_l1"].shape == (2 * H, 4 * H)
    assert state["weight_hh_l1"].shape == (H, 4 * H)
    values = np.concatenate([value.ravel() for value in state.values()])
    assert 0.9 / H**0.5 < np.abs(values).max() <= 1 / H**0.5
    other = nn.LSTM(SIZE, H, num_layers=2, bidirectional=True, rng=1)
    other.load_state_dict(state)
    x = rng.standard_normal((N, T, SIZE))
    np.testing.assert_array_equal(layer(x)[0].numpy(), other(x)[0].numpy())


@pytest.mark.parametrize("kind", LAYERS)
def test_recurrent_layers_learn_to_remember(kind: str) -> None:
    """The target is whether the first of seven numbers is positive."""
    draw = np.random.default_rng(0)
    body, head = LAYERS[kind][0](1, 16, rng=0), nn.Linear(16, 2, rng=1)
    optimizer = optim.Adam([*body.parameters(), *head.parameters()], lr=1e-2)
    for _ in range(150):
        x = draw.standard_normal((64, 7, 1))
        loss = mg.functional.cross_entropy(head(body(x)[0][:, -1]), (x[:, 0, 0] > 0).astype(int))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * np.log(2)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: nn.LSTM(0, 4), r"LSTM\(input_size=0\)"),
        (lambda: nn.GRU(3, 4, num_layers=0), r"GRU\(num_layers=0\)"),
        (lambda: nn.GRU(3, 4, dropout=2), r"GRU\(dropout=2\)"),
        (lambda: nn.RNN(3, 4, nonlinearity="sin"), "'tanh' or 'relu'"),
        (lambda: nn.RNNCell(3, 4, nonlinearity="sin"), "'tanh' or 'relu'"),
        (
            lambda: nn.LSTM(3, 4)(np.ones((2, 5, 2))),
            r"expected x of shape \(N, T, 3\).*, got \(2, 5, 2\)",
        ),
        (lambda: nn.LSTM(3, 4)(np.ones((2, 0, 3))), "T at least 1"),
        (lambda: nn.LSTM(3, 4)(np.ones((2, 5, 3)), (np.ones((1, 2, 4)), np.ones((1, 1, 4)))), r"pair \(h, c\)"),
        (lambda: nn.GRU(3, 4, 2)(np.ones((2, 5, 3)), np.ones((1, 2, 4))), r"h \(2, 2, 4\)"),
        (lambda: nn.LSTMCell(3, 4)(np.ones((2, 5))), r"LSTMCell\(3, 4\): expected x of shape \(N, 3\), got \(2, 5\)"),
        (lambda: nn.GRUCell(3, 4)(np.ones((2, 3)), np.ones((3, 4))), r"h \(2, 4\)"),
        (lambda: nn.LSTMCell(3, 4)(np.ones((2, 3)), np.ones((2, 4))), r"pair \(h, c\)"),
    ],
)
def test_bad_input(call: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()
