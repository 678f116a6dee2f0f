"""Hand-derived primitives. tests/test_fused.py holds them to the functions that they fuse as well."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases.case import Case, Draw, row, signed
from minigrad import fused


def batch_norm(x: Any, gamma: Any, beta: Any) -> tuple[Any, Any, Any]:
    axes = tuple(range(x.ndim - 1))
    istd = 1 / np.sqrt(x.var(axes) + 0.1)
    return gamma * (x - x.mean(axes)) * istd + beta, x.mean(axes), istd


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
]  # fmt: skip
