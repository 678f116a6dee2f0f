"""Fused primitives. tests/functional/test_fused.py also compares them with their compositions."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from cases.case import Case, Draw, row, signed
from minigrad import fused
from minigrad.functional.recurrent.gru import _gru_primitive
from minigrad.functional.recurrent.lstm import _lstm_primitive


def batch_norm(x: Any, gamma: Any, beta: Any) -> tuple[Any, Any, Any, Any]:
    axes = tuple(range(x.ndim - 1))
    istd = 1 / np.sqrt(x.var(axes) + 0.1)
    return gamma * (x - x.mean(axes)) * istd + beta, x.mean(axes), x.var(axes), istd


def layer_norm(x: Any, gamma: Any, beta: Any) -> tuple[Any, Any, Any]:
    axes = tuple(range(-gamma.ndim, 0))
    mu, istd = x.mean(axes, keepdims=True), 1 / np.sqrt(x.var(axes, keepdims=True) + 0.1)
    return gamma * (x - mu) * istd + beta, mu.squeeze(axes), istd.squeeze(axes)


def cross_entropy(logits: Any, labels: Any) -> Any:
    return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]


def labels(classes: int, *shape: int) -> Draw:
    return lambda rng: rng.integers(0, classes, shape)


def loss(reduction: str) -> Any:
    return lambda x, y: fused.softmax_cross_entropy(x, y, reduction=reduction)


def attention(q: Any, k: Any, v: Any, mask: Any = 0.0, is_causal: bool = False) -> tuple[Any, Any]:
    scores = np.einsum("...td,...sd->...ts", q, k) / np.sqrt(q.shape[-1])
    allowed = np.arange(scores.shape[-2])[:, None] >= np.arange(scores.shape[-1]) * is_causal
    is_choice = np.asarray(mask).dtype == bool
    terms = np.exp(scores + (0 if is_choice else mask)) * (mask if is_choice else 1) * allowed
    total = terms.sum(axis=-1, keepdims=True)
    weights = terms / np.where(total, total, 1)
    return np.einsum("...ts,...se->...te", weights, v), weights


def choice(*shape: int) -> Any:
    """A mask with which the first query may attend to no key."""
    allowed = np.random.default_rng(0).random(shape) < 0.6
    allowed[..., 1, 0], allowed[..., 0, :] = True, False
    return allowed


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def steps(step: Any, x: Any, *state: Any) -> list[Any]:
    """The results of all steps of a sequence; the first results of a step are its next state."""
    made = []
    for now in x:
        made.append(step(now, *state))
        state = made[-1][: len(state)]
    return [np.stack(parts) for parts in zip(*made, strict=True)]


def rnn_outputs(x: Any, h: Any, w: Any, u: Any, b: Any = 0.0, d: Any = 0.0, f: Any = np.tanh) -> list[Any]:
    return steps(lambda now, h: (f(now @ w + h @ u + b + d),), x, h)


def lstm_outputs(x: Any, h: Any, c: Any, w: Any, u: Any, b: Any = 0.0, d: Any = 0.0) -> list[Any]:
    def step(now: Any, h: Any, c: Any) -> tuple[Any, ...]:
        i, f, g, o = np.split(now @ w + h @ u + b + d, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c, np.concatenate([sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)], axis=1)

    return steps(step, x, h, c)


def gru_outputs(x: Any, h: Any, w: Any, u: Any, b: Any = 0.0, d: Any = 0.0) -> list[Any]:
    def step(now: Any, h: Any) -> tuple[Any, ...]:
        (a_r, a_z, a_n), (b_r, b_z, b_n) = np.split(now @ w + b, 3, axis=1), np.split(h @ u + d, 3, axis=1)
        r, z = sigmoid(a_r + b_r), sigmoid(a_z + b_z)
        n = np.tanh(a_n + r * b_n)
        return (1 - z) * n + z * h, np.concatenate([r, z, n], axis=1), b_n + 0 * h

    return steps(step, x, h)


def gelu(x: Any) -> Any:
    return np.reshape([0.5 * a * math.erfc(-a / math.sqrt(2)) for a in np.ravel(x).tolist()], np.shape(x))


def gelu_tanh(x: Any) -> Any:
    return x / (1 + np.exp(-2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def softmax(x: Any, axis: int) -> Any:
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


STATE = signed(3, 2)
RNN = signed(2, 3, 4), STATE, signed(4, 2), signed(2, 2)
LSTM = signed(2, 3, 2), STATE, STATE, signed(2, 8), signed(2, 8)
GRU = signed(2, 3, 4), STATE, signed(4, 6), signed(2, 6)

INTEGERS = {"integers": "labels are class ids"}

CASES: list[Case] = [
    *(
        row("batch_norm", f"{shape}", lambda *a: fused.batch_norm(*a, eps=0.1), *draws, reference=batch_norm)
        for shape in [(5, 3), (2, 3, 3), (2, 2, 2, 3)]
        for draws in [(signed(*shape), signed(3), signed(3))]
    ),
    row("batch_norm", "y alone", lambda *a: fused.batch_norm(*a, eps=0.1)[0], signed(5, 3), signed(3), signed(3),
        reference=lambda *a: batch_norm(*a)[0]),
    *(
        row("layer_norm", f"{shape}, {normalized}", lambda *a: fused.layer_norm(*a, eps=0.1), signed(*shape),
            signed(*normalized), signed(*normalized), reference=layer_norm)
        for shape, normalized in [((5, 3), (3,)), ((2, 2, 3), (3,)), ((3, 2, 3), (2, 3)), ((4,), (4,)), ((0, 3), (3,))]
    ),
    row("layer_norm", "y alone", lambda *a: fused.layer_norm(*a, eps=0.1)[0], signed(5, 3), signed(3), signed(3),
        reference=lambda *a: layer_norm(*a)[0]),
    *(
        row(primitive, f"{shape}", partial(fused.gelu, approximate=form), signed(*shape), reference=reference)
        for primitive, form, reference in [("gelu", "none", gelu), ("gelu_tanh", "tanh", gelu_tanh)]
        for shape in [(3, 4), (), (2, 1, 3), (0, 3)]
    ),
    *(
        row("softmax", f"{shape}, axis {axis}", partial(fused.softmax, axis=axis), signed(*shape), reference=partial(softmax, axis=axis))
        for shape, axis in [((3, 4), -1), ((3, 4), 0), ((2, 3, 2), 1), ((2, 1, 3), 2), ((4,), 0), ((0, 3), -1)]
    ),
    row("softmax_cross_entropy", "mean", loss("mean"), signed(5, 3), labels(3, 5), wrt=(0,),
        reference=lambda x, y: cross_entropy(x, y).mean(), **INTEGERS),
    row("softmax_cross_entropy", "sum", loss("sum"), signed(5, 3), labels(3, 5), wrt=(0,),
        reference=lambda x, y: cross_entropy(x, y).sum(), **INTEGERS),
    row("softmax_cross_entropy", "none", loss("none"), signed(5, 3), labels(3, 5), wrt=(0,),
        reference=cross_entropy, **INTEGERS),
    *(
        row("linear", f"{shape}", fused.linear, signed(*shape), signed(shape[-1], 3), signed(3),
            reference=lambda x, w, b: x @ w + b)
        for shape in [(5, 4), (2, 5, 4), (2, 1, 3, 4), (0, 4), (3, 0)]
    ),
    *(
        row("attention", label, fused.attention, *(signed(*shape) for shape in shapes), reference=attention)
        for label, *shapes in [
            ("matrices", (3, 4), (5, 4), (5, 2)),
            ("stacks", (2, 3, 2), (2, 4, 2), (2, 4, 3)),
            ("heads that share keys", (2, 3, 2, 2), (1, 3, 2), (1, 3, 2)),
            ("one key", (2, 3), (1, 3), (1, 2)),
            ("numbers for a mask", (2, 3, 2), (2, 4, 2), (2, 4, 3), (3, 4)),
        ]
    ),
    row("attention", "causal", lambda q, k, v: fused.attention(q, k, v, is_causal=True), signed(2, 3, 2), signed(2, 3, 2),
        signed(2, 3, 1), reference=lambda q, k, v: attention(q, k, v, is_causal=True)),
    row("attention", "booleans for a mask", fused.attention, signed(2, 3, 2), signed(2, 3, 2), signed(2, 3, 1), choice(3, 3),
        reference=attention),
    row("attention", "mask of keys, causal", lambda *a: fused.attention(*a, is_causal=True), signed(2, 3, 2),
        signed(2, 3, 2), signed(2, 3, 1), choice(2, 3, 3), reference=lambda *a: attention(*a, is_causal=True)),
    row("attention", "out alone", lambda *a: fused.attention(*a)[0], signed(2, 3, 2), signed(2, 3, 2), signed(2, 3, 1),
        reference=lambda *a: attention(*a)[0]),
    row("attention", "weights alone", lambda q, k: fused.attention(q, k, k)[1], signed(3, 2), signed(3, 2),
        reference=lambda q, k: attention(q, k, k)[1]),
    row("rnn", "tanh", lambda *a: fused.rnn(*a)[0], *RNN, signed(2), signed(2), reference=lambda *a: rnn_outputs(*a)[0]),
    row("rnn", "relu", lambda *a: fused.rnn(*a, nonlinearity="relu")[0], *RNN, reference=lambda *a: rnn_outputs(*a, f=lambda z: np.maximum(z, 0))[0]),
    row("rnn", "last state", lambda *a: fused.rnn(*a)[1], *RNN, signed(2), reference=lambda *a: rnn_outputs(*a)[0][-1]),
    row("lstm", "outputs and last state", lambda *a: (fused.lstm(*a)[0], *fused.lstm(*a)[1]), *LSTM, signed(8), signed(8), reference=lambda *a: (lstm_outputs(*a)[0], lstm_outputs(*a)[0][-1], lstm_outputs(*a)[1][-1])),
    row("lstm", "outputs alone", lambda *a: fused.lstm(*a)[0], *LSTM, reference=lambda *a: lstm_outputs(*a)[0]),
    row("lstm", "cell alone", lambda *a: fused.lstm(*a)[1][1], *LSTM, signed(8), reference=lambda *a: lstm_outputs(*a)[1][-1]),
    row("lstm", "gates alone", lambda *a: _lstm_primitive(*a)[2], *LSTM, signed(8), reference=lambda *a: lstm_outputs(*a)[2]),
    row("lstm", "one step", lambda x, *a: fused.lstm_cell(x[0], *a)[0], *LSTM, signed(8), reference=lambda x, *a: lstm_outputs(x[:1], *a)[0][0]),
    row("gru", "outputs", lambda *a: fused.gru(*a)[0], *GRU, signed(6), signed(6), reference=lambda *a: gru_outputs(*a)[0]),
    row("gru", "without bias, last state", lambda *a: fused.gru(*a)[1], *GRU, reference=lambda *a: gru_outputs(*a)[0][-1]),
    row("gru", "all outputs", _gru_primitive, *GRU, signed(6), signed(6), reference=gru_outputs),
    row("gru", "gates alone", lambda *a: _gru_primitive(*a)[1], *GRU, signed(6), signed(6), reference=lambda *a: gru_outputs(*a)[1]),
    row("gru", "one step", lambda x, *a: fused.gru_cell(x[0], *a), *GRU, reference=lambda x, *a: gru_outputs(x[:1], *a)[0][0]),
]  # fmt: skip
