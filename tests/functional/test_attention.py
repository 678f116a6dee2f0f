"""Attention against NumPy, and the primitive against its composition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from agreement import assert_agree

import minigrad as mg
from minigrad import functional as F
from minigrad import fused
from minigrad.engine.tape import Tape

rng = np.random.default_rng(3)

# The names of shapes (N, heads, T, d), (N, heads, S, d), (N, heads, S, e) and what masks them
SHAPES = ((2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 2))
CLOSED = rng.random((2, 1, 4, 6)) < 0.6
CLOSED[..., 0], CLOSED[:, :, 2] = True, False
MASKS: dict[str, tuple[Any, bool]] = {
    "no mask": (None, False),
    "causal": (None, True),
    "booleans": (CLOSED, False),
    "booleans, causal": (CLOSED, True),
    "numbers": (rng.standard_normal((3, 4, 6)), False),
    "numbers with -inf": (np.where(CLOSED, 0.3, -np.inf), False),
    "numbers, causal": (rng.standard_normal((4, 6)), True),
}


def operands() -> list[Any]:
    return [rng.standard_normal(shape) for shape in SHAPES]


def by_loops(q: Any, k: Any, v: Any, mask: Any, is_causal: bool) -> Any:
    """Attention computed for one query and one head at a time."""
    out = np.zeros((*q.shape[:-1], v.shape[-1]))
    mask = np.broadcast_to(np.array(True) if mask is None else mask, (*q.shape[:-1], k.shape[-2]))
    for n, h, t in np.ndindex(q.shape[:-1]):
        reach = [
            s for s in range(k.shape[-2])
            if (s <= t or not is_causal) and (mask[n, h, t, s] if mask.dtype == bool else mask[n, h, t, s] > -np.inf)
        ]  # fmt: skip
        extra = 0 if mask.dtype == bool else mask[n, h, t, reach]
        terms = np.exp(k[n, h, reach] @ q[n, h, t] / np.sqrt(q.shape[-1]) + extra)
        if reach:
            out[n, h, t] = terms @ v[n, h, reach] / terms.sum()
    return out


@pytest.mark.parametrize("masked", MASKS)
def test_values(masked: str) -> None:
    mask, is_causal = MASKS[masked]
    x = operands()
    expected = by_loops(*x, mask, is_causal)
    with mg.no_grad():
        for arguments in (x, [mg.Tensor(a, requires_grad=True) for a in x]):
            primitive, weights = fused.attention(*arguments, mask, is_causal)
            for result in (F.scaled_dot_product_attention(*arguments, mask, is_causal), primitive, weights @ x[2]):
                np.testing.assert_allclose(np.asarray(result), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("masked", MASKS)
def test_primitive_equals_composition(masked: str) -> None:
    mask, is_causal = MASKS[masked]
    weight = rng.standard_normal((2, 3, 4, 2))
    moving = [mask] if mask is not None and mask.dtype == float and np.isfinite(mask).all() else []

    def loss(attend: Any) -> Any:
        return lambda q, k, v, *m: (np.sin(attend(q, k, v, *(m or [mask]), is_causal)) * weight).sum()

    assert_agree(loss(lambda *a: fused.attention(*a)[0]), loss(F.scaled_dot_product_attention), operands() + moving)


def test_weights_are_differentiable() -> None:
    q, k, v = operands()
    weight = rng.standard_normal((2, 3, 4, 6))

    def of_primitive(q: Any, k: Any, v: Any) -> Any:
        out, weights = fused.attention(q, k, v)
        return (np.sin(weights) * weight).sum() + (out * out).sum()

    def of_parts(q: Any, k: Any, v: Any) -> Any:
        weights = F.softmax(np.einsum("nhtd,nhsd->nhts", q, k) / 5**0.5)
        out = weights @ v
        return (np.sin(weights) * weight).sum() + (out * out).sum()

    assert_agree(of_primitive, of_parts, [q, k, v])


def test_keys_shared_by_all_heads() -> None:
    q, k, v = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((2, 1, 6, 5)), rng.standard_normal((6, 2))
    assert_agree(
        lambda *a: (fused.attention(*a)[0] ** 2).sum(),
        lambda *a: (F.scaled_dot_product_attention(*a) ** 2).sum(),
        [q, k, v],
    )


@pytest.mark.parametrize("masked", MASKS)
def test_single_precision_is_preserved(masked: str) -> None:
    mask, is_causal = MASKS[masked]
    if mask is not None and mask.dtype == float:
        mask = mask.astype(np.float32)
    for attend in (F.scaled_dot_product_attention, lambda *a: fused.attention(*a)[0]):
        x = [mg.Tensor(a, requires_grad=True, dtype="float32") for a in operands()]
        out = attend(*x, mask, is_causal)
        assert out.dtype == np.float32
        assert {node.dtype for node in Tape(out) if isinstance(node.dtype, np.dtype)} <= {np.dtype("float32")}
        out.sum().backward()
        assert all(a.grad.dtype == np.float32 for a in x)


@pytest.mark.floating(under="ignore")
def test_large_scores_do_not_overflow() -> None:
    q = np.array([[1000.0], [-1000.0]])
    for attend in (F.scaled_dot_product_attention, lambda *a: fused.attention(*a)[0]):
        np.testing.assert_allclose(attend(q, q, np.array([[1.0], [2.0]])).ravel(), [1, 2])


def test_one_node_that_keeps_the_weights() -> None:
    x = [mg.Tensor(a, requires_grad=True) for a in operands()]
    out, weights = fused.attention(*x)
    node = out.node.parents[0]
    assert node.parents[:3] == tuple(a.node for a in x)
    assert node.primitive.residuals == ("query", "key", "value", "weights")
    assert node.residuals[3] is weights.data


def test_names_of_nodes() -> None:
    out = F.scaled_dot_product_attention(*(mg.Tensor(a, requires_grad=True) for a in operands()))
    assert {"scores", "weights", "out"} <= {node.name for node in Tape(out) if getattr(node, "name", None)}


@pytest.mark.parametrize("attend", [F.scaled_dot_product_attention, fused.attention])
@pytest.mark.parametrize(
    ("shapes", "mask", "error", "says"),
    [
        ([(4, 5), (6, 3), (6, 2)], None, ValueError, r"attention\(\(4, 5\) float64, \(6, 3\).*queries \(..., T, d\)"),
        ([(4, 5), (6, 5), (5, 2)], None, ValueError, "keys"),
        ([(5,), (6, 5), (6, 2)], None, ValueError, "queries"),
        ([(4, 5), (0, 5), (0, 2)], None, ValueError, "at least 1"),
        ([(4, 5), (6, 5), (6, 2)], np.ones((4, 5), bool), ValueError, r"mask=\(4, 5\) bool.*broadcast to .*\(4, 6\)"),
        ([(4, 5), (6, 5), (6, 2)], np.ones((1, 4, 6), bool), ValueError, "Insert axes"),
        ([(4, 5), (6, 5), (6, 2)], np.ones((4, 6), int), TypeError, r"mask.astype\(bool\)"),
        ([(4, 5), (6, 5), (6, 2)], [[True] * 6] * 4, TypeError, r"np.array\(mask\)"),
    ],
)
def test_bad_input(attend: Any, shapes: Any, mask: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        attend(*(np.ones(shape) for shape in shapes), mask)
