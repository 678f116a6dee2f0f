"""Attention layers against NumPy: values and the gradients of all parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim

rng = np.random.default_rng(8)

ALLOWED = rng.random((2, 4, 4)) < 0.6
ALLOWED[..., 0] = True


def scattered(layer: Any) -> Any:
    """A layer with parameters that are neither 0 nor 1."""
    for p in layer.parameters():
        with mg.no_grad():
            p[...] = p.numpy() + 0.3 * rng.standard_normal(p.shape)
    return layer


def attended(
    query: Any, key: Any, value: Any, parameters: dict[str, Any], heads: int, allowed: Any = True, prefix: str = ""
) -> Any:
    """Head by head, with the parameters of MultiheadAttention."""
    w, b, wo, bo = (
        parameters[prefix + n] for n in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
    )
    size = query.shape[-1]
    d = size // heads
    y: Any = bo
    for h in range(heads):
        columns = [slice(k * size + h * d, k * size + (h + 1) * d) for k in range(3)]
        q, k, v = (x @ w[:, c] + b[c] for x, c in zip((query, key, value), columns, strict=True))
        terms = np.exp(q @ k.mT / d**0.5) * np.asarray(allowed, float)
        y = y + terms / np.sum(terms, axis=-1, keepdims=True) @ v @ wo[h * d : (h + 1) * d]
    return y


def normalized(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    mu = np.mean(x, axis=-1, keepdims=True)
    return (x - mu) / np.sqrt(np.mean((x - mu) ** 2, axis=-1, keepdims=True) + eps) * gamma + beta


def encoded(x: Any, p: dict[str, Any], norm_first: bool, allowed: Any) -> Any:
    def attention(x: Any) -> Any:
        return attended(x, x, x, p, 2, allowed, "self_attn.")

    def network(x: Any) -> Any:
        hidden = np.maximum(x @ p["linear1.weight"] + p["linear1.bias"], 0)
        return hidden @ p["linear2.weight"] + p["linear2.bias"]

    def norm(x: Any, k: int) -> Any:
        return normalized(x, p[f"norm{k}.gamma"], p[f"norm{k}.beta"])

    if norm_first:
        x = x + attention(norm(x, 1))
        return x + network(norm(x, 2))
    x = norm(x + attention(x), 1)
    return norm(x + network(x), 2)


def assert_layer(layer: Any, inputs: list[Any], reference: Any, **options: Any) -> None:
    """Values and gradients of a layer are those of a function of inputs and parameters by name."""
    scattered(layer)
    names = [name for name, _ in layer.named_parameters()]
    tensors = [mg.Tensor(x, requires_grad=True) for x in inputs]
    out = layer(*tensors, **options)
    expected = reference(*inputs, {n: p.numpy() for n, p in layer.named_parameters()})
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-10, atol=1e-12)
    weight = rng.standard_normal(out.shape)
    (out * weight).sum().backward()

    def loss(*operands: Any) -> Any:
        parameters = dict(zip(names, operands[len(inputs) :], strict=True))
        return (reference(*operands[: len(inputs)], parameters) * weight).sum()

    operands = [*inputs, *(p.numpy() for p in layer.parameters())]
    contributions = mg.grad(loss, tuple(range(len(operands))))(*operands)
    leaves = [*tensors, *layer.parameters()]
    for name, leaf, contribution in zip([*"xyz"[: len(inputs)], *names], leaves, contributions, strict=True):
        np.testing.assert_allclose(leaf.grad.numpy(), contribution.data, rtol=1e-10, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"mask": ALLOWED}, {"mask": ALLOWED[:, :1]}], ids=str)
def test_self_attention(options: Any) -> None:
    allowed = options.get("mask", np.tri(4) if options else True)
    assert_layer(
        nn.MultiheadAttention(6, 2, rng=0),
        [rng.standard_normal((2, 4, 6))],
        lambda x, p: attended(x, x, x, p, 2, allowed),
        **options,
    )


def test_attention_to_another_sequence() -> None:
    query, key, value = (rng.standard_normal((2, n, 6)) for n in (4, 3, 3))
    assert_layer(nn.MultiheadAttention(6, 3, rng=0), [query, key, value], lambda q, k, v, p: attended(q, k, v, p, 3))
    assert_layer(nn.MultiheadAttention(6, 3, rng=0), [query, key], lambda q, k, p: attended(q, k, k, p, 3))


def test_a_single_sequence() -> None:
    layer, x = nn.MultiheadAttention(6, 2, rng=0), rng.standard_normal((4, 6))
    np.testing.assert_allclose(layer(x).numpy(), layer(x[None]).numpy()[0], rtol=1e-12)


def test_weights() -> None:
    layer, x = nn.MultiheadAttention(6, 2, rng=0), rng.standard_normal((2, 4, 6))
    y, weights = layer(x, mask=ALLOWED, need_weights=True)
    assert weights.shape == (2, 2, 4, 4)
    np.testing.assert_allclose(weights.numpy().sum(axis=-1), 1, rtol=1e-12)
    assert not weights.numpy()[np.broadcast_to(~ALLOWED[:, None], weights.shape)].any()
    np.testing.assert_array_equal(y.numpy(), layer(x, mask=ALLOWED).numpy())


def test_without_bias() -> None:
    layer = nn.MultiheadAttention(6, 2, bias=False, rng=0)
    assert [name for name, _ in layer.named_parameters()] == ["in_proj_weight", "out_proj.weight"]
    p = {n: p.numpy() for n, p in layer.named_parameters()} | {
        "in_proj_bias": np.zeros(18),
        "out_proj.bias": np.zeros(6),
    }
    x = rng.standard_normal((2, 4, 6))
    np.testing.assert_allclose(layer(x).numpy(), attended(x, x, x, p, 2), rtol=1e-10)


def test_dropout_of_weights() -> None:
    layer, x = nn.MultiheadAttention(6, 2, dropout=0.5, rng=0), rng.standard_normal((2, 40, 6))
    _, weights = layer(x, need_weights=True)
    _, undropped = layer.eval()(x, need_weights=True)
    dropped = weights.numpy() == 0
    assert 0.4 < dropped.mean() < 0.6
    np.testing.assert_allclose(weights.numpy()[~dropped], 2 * undropped.numpy()[~dropped], rtol=1e-12)
    first, second = (nn.MultiheadAttention(6, 2, dropout=0.5, rng=4)(x).numpy() for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_the_output_uses_the_weights_after_dropout() -> None:
    """Dropout is applied once: the output is the mean of the values with the weights that are returned."""
    layer, x = nn.MultiheadAttention(6, 2, dropout=0.5, rng=0), rng.standard_normal((2, 8, 6))
    y, weights = layer(x, need_weights=True)
    values = (x @ layer.in_proj_weight.numpy()[:, 12:]).reshape(2, 8, 2, 3).swapaxes(1, 2)
    heads = (weights.numpy() @ values).swapaxes(1, 2).reshape(2, 8, 6)
    np.testing.assert_allclose(y.numpy(), layer.out_proj(heads).numpy(), rtol=1e-10)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"mask": ALLOWED}], ids=str)
def test_encoder_layer(norm_first: bool, options: Any) -> None:
    allowed = options.get("mask", np.tri(4) if options else True)
    layer = nn.TransformerEncoderLayer(6, 2, dim_feedforward=5, dropout=0.0, norm_first=norm_first, rng=0)
    assert_layer(layer, [rng.standard_normal((2, 4, 6))], lambda x, p: encoded(x, p, norm_first, allowed), **options)


def test_encoder_layer_drops_in_training_only() -> None:
    layer, x = nn.TransformerEncoderLayer(6, 2, 5, dropout=0.5, rng=0), rng.standard_normal((2, 4, 6))
    assert (layer(x).numpy() != layer(x).numpy()).any()
    p = {name: p.numpy() for name, p in layer.named_parameters()}
    np.testing.assert_allclose(layer.eval()(x).numpy(), encoded(x, p, False, True), rtol=1e-10)


def test_activations_of_the_encoder_layer() -> None:
    x = rng.standard_normal((2, 4, 6))
    by_name, by_function = (nn.TransformerEncoderLayer(6, 2, 5, 0.0, f, rng=0)(x).numpy() for f in ("gelu", F.gelu))
    np.testing.assert_array_equal(by_name, by_function)
    assert (by_name != nn.TransformerEncoderLayer(6, 2, 5, 0.0, rng=0)(x).numpy()).any()


def stack(norm_first: bool = False, norm: Any = None, **options: Any) -> Any:
    layer = nn.TransformerEncoderLayer(6, 2, 5, **({"dropout": 0.0, "rng": 0} | options), norm_first=norm_first)
    return nn.TransformerEncoder(layer, 3, norm)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"mask": ALLOWED}], ids=str)
def test_encoder(norm_first: bool, options: Any) -> None:
    allowed = options.get("mask", np.tri(4) if options else True)

    def reference(x: Any, p: dict[str, Any]) -> Any:
        for k in range(3):
            start = f"layers.{k}."
            own = {name.removeprefix(start): value for name, value in p.items() if name.startswith(start)}
            x = encoded(x, own, norm_first, allowed)
        return normalized(x, p["norm.gamma"], p["norm.beta"]) if norm_first else x

    encoder = stack(norm_first, nn.LayerNorm(6) if norm_first else None)
    assert_layer(encoder, [rng.standard_normal((2, 4, 6))], reference, **options)


def test_layers_of_an_encoder_start_with_different_weights() -> None:
    layer = nn.TransformerEncoderLayer(6, 2, 5, init="he_normal", rng=0)
    before = layer.state_dict()
    encoder = nn.TransformerEncoder(layer, 2)
    first, second = (dict(layer.named_parameters()) for layer in encoder.layers)
    for name, value in before.items():
        if value.ndim == 2:
            assert len({value.std() for value in (value, first[name].numpy(), second[name].numpy())}) == 3
        else:
            np.testing.assert_array_equal(first[name].numpy(), second[name].numpy())
        np.testing.assert_array_equal(layer.state_dict()[name], value)
    assert not {id(p) for p in layer.parameters()} & {id(p) for p in encoder.parameters()}


def test_layers_of_an_encoder_share_one_generator() -> None:
    layer = nn.TransformerEncoderLayer(6, 2, 5, rng=0)
    encoder = nn.TransformerEncoder(layer, 3)
    assert all(copied.rng is copied.self_attn.rng is layer.rng for copied in encoder.layers)


def test_an_encoder_uses_the_initializer_of_its_layer() -> None:
    encoder = stack(init=lambda shape, rng, dtype: np.full(shape, 0.25, dtype))
    assert all((p.numpy() == 0.25).all() for p in encoder.parameters() if p.ndim == 2)
    first, second = (stack(rng=7).state_dict() for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_causal_outputs_do_not_depend_on_later_inputs() -> None:
    encoder, x = stack(True, nn.LayerNorm(6)), rng.standard_normal((1, 5, 6))
    changed = np.concatenate([x[:, :3], rng.standard_normal((1, 2, 6))], axis=1)
    ours, theirs = (encoder(x, is_causal=True).numpy() for x in (x, changed))
    np.testing.assert_allclose(ours[:, :3], theirs[:, :3], rtol=1e-12)
    assert (ours[:, 3:] != theirs[:, 3:]).all()
    np.testing.assert_allclose(encoder(x, np.tri(5, dtype=bool)).numpy(), ours, rtol=1e-12)


def test_state() -> None:
    x = rng.standard_normal((2, 4, 6))
    first, second = (nn.TransformerEncoderLayer(6, 2, 5, dropout=0.0, rng=seed) for seed in (0, 1))
    state = first.state_dict()
    assert state["self_attn.in_proj_weight"].shape == (6, 18)
    assert state["self_attn.in_proj_bias"].shape == (18,)
    second.load_state_dict(state)
    np.testing.assert_array_equal(first(x).numpy(), second(x).numpy())


def test_sinusoidal_encoding() -> None:
    table = F.sinusoidal_encoding(70, 5, dtype="float64")
    for t, k in np.ndindex(table.shape):
        wave = (np.sin, np.cos)[k % 2]
        np.testing.assert_allclose(table[t, k], wave(t / 10000 ** (2 * (k // 2) / 5)), rtol=1e-10)
    layer = nn.PositionalEncoding(5)
    for length in (3, 70, 65):
        x = rng.standard_normal((2, length, 5))
        np.testing.assert_allclose(layer(x), x + table[:length], rtol=1e-12)
    assert not layer.state_dict()


def test_single_precision_is_kept() -> None:
    layer = nn.Sequential(
        nn.PositionalEncoding(6), nn.TransformerEncoderLayer(6, 2, 5, dropout=0.3, rng=0, dtype="float32")
    )
    x = mg.Tensor(rng.standard_normal((2, 4, 6)), requires_grad=True, dtype="float32")
    out = layer(x)
    out.sum().backward()
    assert out.dtype == x.grad.dtype == np.float32
    assert all(p.dtype == p.grad.dtype == np.float32 for p in layer.parameters())


def test_attention_learns_to_attend_to_a_previous_position() -> None:
    """The target at each position is the previous input, which only attention can reach."""
    draw = np.random.default_rng(0)
    embed = draw.standard_normal((5, 16))
    body = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, norm_first=True, rng=0)
    net = nn.Sequential(nn.PositionalEncoding(16), body, nn.Linear(16, 5, rng=1))
    optimizer = optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(150):
        tokens = draw.integers(0, 5, (32, 6))
        logits = net[2](net[1](net[0](embed[tokens]), is_causal=True))
        loss = F.cross_entropy(logits[:, 1:], tokens[:, :-1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 * np.log(5)


PADDING = (
    r"to \(N, T, S\) = \(\d, \d, \d\), got the shape \(.*\); for a mask of keys \(N, S\), write mask\[:, None, :\]$"
)


def test_the_hint_for_a_padding_mask_works() -> None:
    """Also if N is T, where two axes mean (T, S)."""
    layer = nn.MultiheadAttention(4, 2, rng=0)
    for n, t in ((3, 5), (5, 5), (1, 5)):
        x = np.random.default_rng(0).normal(size=(n, t, 4))
        padding = np.arange(t) < np.arange(1, n + 1)[:, None]
        out = layer(x, mask=padding[:, None, :]).numpy()
        for k in range(n):
            alone = layer(x[k : k + 1, : k + 1]).numpy()[0]
            np.testing.assert_allclose(out[k, : k + 1], alone, rtol=1e-12)
    x, square = np.random.default_rng(0).normal(size=(5, 5, 4)), np.tri(5, dtype=bool)
    np.testing.assert_allclose(layer(x, mask=square).numpy(), layer(x, is_causal=True).numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: nn.MultiheadAttention(6, 4), r"MultiheadAttention\(embed_dim=6, num_heads=4\): num_heads must divide"),
        (lambda: nn.MultiheadAttention(6, 0), r"num_heads=0\): must be at least 1"),
        (lambda: nn.MultiheadAttention(6, 2, dropout=1.5), r"dropout=1.5.*\[0, 1\]"),
        (
            lambda: nn.MultiheadAttention(6, 2)(np.ones((2, 4, 5))),
            r"expected query .* D = 6, got \(2, 4, 5\)",
        ),
        (lambda: nn.MultiheadAttention(6, 2)(np.ones((2, 4, 6)), np.ones((2, 4, 5))), "expected key of shape"),
        (lambda: nn.MultiheadAttention(6, 2)(np.ones((2, 4, 6)), mask=np.ones((2, 4, 3), bool)), PADDING),
        (lambda: nn.MultiheadAttention(4, 2)(np.ones((3, 5, 4)), mask=np.ones((3, 5), bool)), PADDING),
        (lambda: nn.TransformerEncoderLayer(4, 2, 8)(np.ones((3, 5, 4)), mask=np.ones((3, 5), bool)), PADDING),
        (lambda: nn.MultiheadAttention(4, 2)(np.ones((3, 5, 4)), mask=np.ones((3, 1, 1, 5), bool)), r"mask\[:, 0\]"),
        (lambda: nn.MultiheadAttention(4, 2)(np.ones((3, 5, 4)), mask=np.ones((3, 2, 5, 5), bool)), "share one mask"),
        (lambda: nn.TransformerEncoderLayer(6, 2, activation="swish"), "'relu', 'gelu' or a function"),
        (lambda: nn.TransformerEncoderLayer(6, 2, dropout=-1), "probability"),
        (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2), 0), "num_layers=0"),
        (lambda: nn.PositionalEncoding(4, dropout=2), "probability"),
        (lambda: nn.PositionalEncoding(4)(np.ones((2, 3))), "D = 4"),
        (lambda: F.sinusoidal_encoding(0, 4), "at least 1"),
    ],
)
def test_bad_input(call: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer, 2), r"give a TransformerEncoderLayer\(d_model"),
        (lambda: stack(norm=nn.LayerNorm), r"not a Module; write LayerNorm\(d_model\)"),
    ],
)
def test_bad_types(call: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        call()
