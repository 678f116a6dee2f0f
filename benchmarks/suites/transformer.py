"""Attention alone, and a training step of a small language model: four pre-norm layers with causal attention."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.suites.training import TORCH, constant, drawn, jax_training, minigrad_training, torch_training
from benchmarks.workload import Goal, Make, Step, Workload, compiled

HEADS, CLIPNORM = 4, 1.0


# Attention: softmax(q kᵀ / √d) v, causal, and the gradients of q, k and v


def attention_problem(tiny: bool) -> Any:
    rng = np.random.default_rng(0)
    shape = (2, 2, 3, 4) if tiny else (8, HEADS, 64, 32)  # batch, heads, length, features of a head
    q, k, v, cotangent = (rng.standard_normal(shape, dtype=np.float32) for _ in range(4))
    return SimpleNamespace(inputs=(q, k, v), cotangent=cotangent)


def minigrad_attention(p: Any) -> Step:
    import minigrad as mg
    from minigrad import fused

    q, k, v = (mg.Tensor(a, requires_grad=True) for a in p.inputs)

    def step(cotangent: Any) -> Any:
        q.grad = k.grad = v.grad = None
        y, _ = fused.attention(q, k, v, is_causal=True)
        y.backward(cotangent)
        return y, q.grad, k.grad, v.grad

    return Step(step, (p.cotangent,))


def torch_attention(p: Any) -> Step:
    import torch

    q, k, v = (torch.tensor(a, requires_grad=True) for a in p.inputs)

    def step(cotangent: Any) -> Any:
        q.grad = k.grad = v.grad = None
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        y.backward(cotangent)
        return y, q.grad, k.grad, v.grad

    return Step(step, (torch.from_numpy(p.cotangent),))


def jax_attention(p: Any) -> Step:
    import jax
    from jax import numpy as jnp

    @jax.jit
    def result(cotangent: Any, *inputs: Any) -> Any:
        y, pull = jax.vjp(causal_attention, *inputs)
        return y, *pull(cotangent)

    def step(*arguments: Any) -> Any:
        return jax.block_until_ready(result(*arguments))

    return Step(step, tuple(map(jnp.asarray, (p.cotangent, *p.inputs))))


def causal_attention(q: Any, k: Any, v: Any) -> Any:
    import jax
    from jax import numpy as jnp

    scores = q @ jnp.swapaxes(k, -1, -2) / q.shape[-1] ** 0.5
    past = jnp.tril(jnp.ones(scores.shape[-2:], dtype=bool))
    return jax.nn.softmax(jnp.where(past, scores, -jnp.inf)) @ v


# The language model


def problem(tiny: bool) -> Any:
    """Texts of token numbers (batch, length), and the token that follows each."""
    rng = np.random.default_rng(0)
    layers, batch, length, d, vocabulary = (1, 2, 3, 8, 5) if tiny else (4, 8, 64, 128, 64)
    parameters = [rng.standard_normal((vocabulary, d), dtype=np.float32)]
    for _ in range(layers):
        for n_in, n_out in ((d, 3 * d), (d, d), (d, 4 * d), (4 * d, d)):  # q, k and v; after attention; the network
            parameters += [drawn(rng, n_in, n_out), constant(0, n_out)]
        parameters += [constant(1, d), constant(0, d)] * 2
    parameters += [constant(1, d), constant(0, d), drawn(rng, d, vocabulary), constant(0, vocabulary)]
    tokens, labels = rng.integers(0, vocabulary, (batch, length)), rng.integers(0, vocabulary, batch * length)
    return SimpleNamespace(
        parameters=parameters, layers=layers, length=length, d=d, vocabulary=vocabulary, tokens=tokens, labels=labels
    )


def minigrad_step(p: Any) -> Step:
    from minigrad import nn

    class LanguageModel(nn.Module):
        def __init__(self) -> None:
            self.embedding = nn.Embedding(p.vocabulary, p.d, dtype="float32")
            options = {"dropout": 0.0, "activation": "gelu", "norm_first": True, "dtype": "float32"}
            self.layers = nn.ModuleList(
                [nn.TransformerEncoderLayer(p.d, HEADS, 4 * p.d, **options) for _ in range(p.layers)]
            )
            self.norm = nn.LayerNorm(p.d, dtype="float32")
            self.head = nn.Linear(p.d, p.vocabulary, dtype="float32")

        def forward(self, tokens: Any) -> Any:
            x = self.embedding(tokens)
            for layer in self.layers:
                x = layer(x, is_causal=True)
            return self.head(self.norm(x)).reshape(-1, p.vocabulary)

    return minigrad_training(LanguageModel(), p.parameters, p.tokens, p.labels, CLIPNORM)


def torch_step(p: Any, **how: bool) -> Step:
    from torch import nn

    class LanguageModel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(p.vocabulary, p.d)
            options = {"dropout": 0.0, "activation": "gelu", "norm_first": True, "batch_first": True}
            self.layers = nn.ModuleList(
                [nn.TransformerEncoderLayer(p.d, HEADS, 4 * p.d, **options) for _ in range(p.layers)]
            )
            self.norm = nn.LayerNorm(p.d)
            self.head = nn.Linear(p.d, p.vocabulary)
            self.mask = nn.Transformer.generate_square_subsequent_mask(p.length)

        def forward(self, tokens: Any) -> Any:
            x = self.embedding(tokens)
            for layer in self.layers:
                x = layer(x, src_mask=self.mask, is_causal=True)
            return self.head(self.norm(x)).reshape(-1, p.vocabulary)

    embedding, *others = p.parameters
    return torch_training(LanguageModel(), [embedding.T, *others], p.tokens, p.labels, CLIPNORM, **how)


def jax_logits(parameters: Any, tokens: Any) -> Any:
    import jax
    from jax import numpy as jnp

    def norm(x: Any, gamma: Any, beta: Any) -> Any:
        centered = x - x.mean(-1, keepdims=True)
        return centered * jax.lax.rsqrt((centered**2).mean(-1, keepdims=True) + 1e-5) * gamma + beta

    def attended(x: Any, weight: Any, bias: Any) -> Any:
        heads = (x @ weight + bias).reshape(*x.shape[:2], 3, HEADS, -1)
        return jnp.swapaxes(causal_attention(*jnp.transpose(heads, (2, 0, 3, 1, 4))), 1, 2).reshape(x.shape)

    embedding, *layers, gamma, beta, weight, bias = parameters
    x = embedding[tokens]
    for k in range(0, len(layers), 12):
        w_qkv, b_qkv, w_out, b_out, w_1, b_1, w_2, b_2, gamma_1, beta_1, gamma_2, beta_2 = layers[k : k + 12]
        x = x + attended(norm(x, gamma_1, beta_1), w_qkv, b_qkv) @ w_out + b_out
        hidden = jax.nn.gelu(norm(x, gamma_2, beta_2) @ w_1 + b_1, approximate=False)
        x = x + hidden @ w_2 + b_2
    return (norm(x, gamma, beta) @ weight + bias).reshape(-1, weight.shape[1])


def jax_step(p: Any) -> Step:
    return jax_training(jax_logits, p.parameters, p.tokens, p.labels, CLIPNORM)


ATTENTION: dict[str, Make] = {
    "minigrad": minigrad_attention,
    **compiled(minigrad_attention),
    "PyTorch": torch_attention,
    "jax.jit": jax_attention,
}
MODEL: dict[str, Make] = {
    "minigrad": minigrad_step,
    **compiled(minigrad_step),
    **{name: partial(torch_step, **how) for name, how in TORCH.items()},
    "jax.jit": jax_step,
}
WORKLOADS = [
    Workload("attention, (8, 4, 64, 32), with gradients", attention_problem, ATTENTION, tolerance=1e-3),
    Workload(
        "four layers, D = 128, T = 64, batch 8, clipping, Adam",
        problem,
        MODEL,
        goals=(Goal("minigrad compiled, numba", (*TORCH, "jax.jit"), 1.15, 0.95),),
        calls=3,
        tolerance=1e-3,
    ),
]
