"""Every case of every primitive: values, first and second order, forward mode, mixed modes, dtypes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import walks
from cases import CASES, Case
from walks import close, differences, outputs, pairing, pulled, pushed, random_like

from minigrad import Tensor
from minigrad.engine import tape
from minigrad.engine.node import mode
from minigrad.engine.primitive import REGISTRY, Elementwise, Linear, Primitive


def rows(driver: str) -> Any:
    """The cases to which a driver applies."""
    return pytest.mark.parametrize("case", [case for case in CASES if driver not in case.skip], ids=str)


def test_every_primitive_has_a_case() -> None:
    assert {case.primitive for case in CASES} == set(REGISTRY)


def test_cases_have_unique_names() -> None:
    names = [str(case) for case in CASES]
    assert len(names) == len(set(names))


def primitives_of(values: list[Any]) -> set[str]:
    return {node.primitive.name for node in walks.nodes_of(values) if node.primitive is not None}


@rows("value")
def test_value(case: Case) -> None:
    """The value on arrays and on Tensors equals the reference, and the case uses its primitive."""
    operands = case.operands()
    expected = outputs(case.reference(*operands))
    arguments, _ = walks.arguments_of(case, operands)
    values = outputs(case.function(*arguments))
    assert case.primitive in primitives_of(values)
    constants = outputs(case.function(*operands))
    for value, constant, reference in zip(values, constants, expected, strict=True):
        assert isinstance(value, Tensor)
        assert value.requires_grad
        assert value.dtype == np.asarray(reference).dtype
        close(value.data, reference)
        assert not isinstance(constant, Tensor)
        np.testing.assert_allclose(constant, value.data, rtol=1e-14, atol=1e-15)


def check_pull(case: Case, seed: int = 0) -> None:
    """First order: the derivative of <u, f(x)> by each operand, from the tape and by differences."""
    operands = case.operands(seed)
    rng = np.random.default_rng(seed + 1)
    arguments, leaves = walks.arguments_of(case, operands)
    values = outputs(case.function(*arguments))
    u = [random_like(rng, t) for t in values]
    for k, leaf, contribution in zip(case.wrt, leaves, pulled(values, u, leaves), strict=True):

        def paired(x: Any, k: int = k) -> float:
            outs = outputs(case.function(*walks.with_operand(operands, k, Tensor(x))))
            return float(pairing(u, [t.data for t in outs]))

        assert contribution.dtype == leaf.dtype
        close(contribution, differences(paired, leaf.data))


@rows("pull")
def test_pull(case: Case) -> None:
    check_pull(case)


def gradient_pairing(case: Case, operands: list[Any], u: list[Any], w: list[Any]) -> Any:
    """<w, ∇<u, f>> as a Tensor on the tape of the pull, with the leaves and the cotangents, which are leaves too."""
    arguments, leaves = walks.arguments_of(case, operands)
    values = outputs(case.function(*arguments))
    cotangents = [Tensor(x, requires_grad=True) for x in u]
    contributions = pulled(values, cotangents, leaves, record=True)
    return pairing(w, contributions), leaves, cotangents


@rows("second")
def test_second_order(case: Case) -> None:
    """The gradient of <w, gradient> by operands and cotangents, from a recorded pull, compared with differences."""
    operands = case.operands()
    rng = np.random.default_rng(2)
    values = outputs(case.function(*walks.arguments_of(case, operands)[0]))
    u = [random_like(rng, t) for t in values]
    w = [random_like(rng, np.asarray(operands[k], dtype=float)) for k in case.wrt]
    total, leaves, cotangents = gradient_pairing(case, operands, u, w)
    variables = leaves + cotangents
    contributions = [np.zeros(t.shape) for t in variables]
    if total.requires_grad:
        contributions = pulled([total], [np.ones(())], variables)

    def of_operand(k: int) -> Any:
        return lambda x: gradient_pairing(case, walks.with_operand(operands, k, x), u, w)[0].item()

    def of_cotangent(n: int) -> Any:
        return lambda x: gradient_pairing(case, operands, walks.with_operand(u, n, x), w)[0].item()

    for k, leaf, contribution in zip(case.wrt, leaves, contributions, strict=False):
        close(contribution, differences(of_operand(k), leaf.data), 5)
    for n, contribution in enumerate(contributions[len(leaves) :]):
        close(contribution, differences(of_cotangent(n), u[n]))


def check_push(case: Case) -> None:
    """Forward mode along a random direction against differences, and <u, push(t)> = <pull(u), t>."""
    operands = case.operands()
    rng = np.random.default_rng(3)
    arguments, leaves = walks.arguments_of(case, operands)
    values = outputs(case.function(*arguments))
    t = [random_like(rng, leaf) for leaf in leaves]
    tangents_out = pushed(values, leaves, t)
    u = [random_like(rng, value) for value in values]

    def along(s: Any) -> float:
        steps = dict(zip(case.wrt, t, strict=True))
        shifted = [Tensor(np.asarray(x) + s[0] * steps[k]) if k in steps else x for k, x in enumerate(operands)]
        return float(pairing(u, [value.data for value in outputs(case.function(*shifted))]))

    for tangent, value in zip(tangents_out, values, strict=True):
        assert tangent.shape == value.shape
    close(pairing(u, tangents_out), differences(along, np.zeros(1))[0], 5)
    np.testing.assert_allclose(pairing(u, tangents_out), pairing(pulled(values, u, leaves), t), rtol=1e-10, atol=1e-12)


@rows("push")
def test_push(case: Case) -> None:
    check_push(case)


@rows("fast_push")
def test_fast_push_agrees_with_pulling_the_pull(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with a tangent of only one operand, and with recorded tangents."""
    arguments, leaves = walks.arguments_of(case, case.operands())
    values = outputs(case.function(*arguments))
    rng = np.random.default_rng(4)
    moving = [leaves, *([leaf] for leaf in leaves if len(leaves) > 1)]
    tangents = [[random_like(rng, leaf) for leaf in some] for some in moving]

    def push_all() -> list[Any]:
        return [
            x for record in (False, True) for some, t in zip(moving, tangents, strict=True)
            for x in map(tape.value_of, pushed(values, some, [Tensor(v) for v in t] if record else t, record))
        ]  # fmt: skip

    fast = push_all()
    for kind in (Elementwise, Linear):
        monkeypatch.setattr(kind, "push", Primitive.push)
    for quick, general in zip(fast, push_all(), strict=True):
        assert quick.dtype == general.dtype
        assert quick.shape == general.shape
        np.testing.assert_allclose(quick, general, rtol=1e-12, atol=1e-13)


# Mixes: D³<u, f>[d, d, d] with each of the three derivatives taken forward or backward


def by_pull(function: Any, d: Any) -> Any:
    """x -> <d, ∇function(x)>, recorded."""

    def derivative(x: Any) -> Any:
        fresh = [t * 1.0 for t in x]
        value = function(fresh)
        if value.node is None:
            return Tensor(0.0)
        nodes = [t.node for t in fresh]
        path, _ = tape.ancestors([value.node], nodes[0].serial)
        results = tape.pull(path, {value.node: Tensor(np.ones(()))}, stop=nodes, record=True)
        return pairing(d, [results.get(node, Tensor(np.zeros(node.shape))) for node in nodes])

    return derivative


def by_push(function: Any, d: Any) -> Any:
    """The same, by forward mode."""

    def derivative(x: Any) -> Any:
        fresh = [t * 1.0 for t in x]
        value = function(fresh)
        if value.node is None:
            return Tensor(0.0)
        nodes = [t.node for t in fresh]
        path, _ = tape.ancestors([value.node], nodes[0].serial)
        results = tape.push(path, {node: Tensor(v) for node, v in zip(nodes, d, strict=True)}, record=True)
        return results.get(value.node, Tensor(0.0))

    return derivative


@rows("third")
def test_third_order_in_every_mix_of_modes(case: Case) -> None:
    operands = case.operands()
    rng = np.random.default_rng(5)
    values = outputs(case.function(*walks.arguments_of(case, operands)[0]))
    u = [random_like(rng, value) for value in values]
    d = [random_like(rng, np.asarray(operands[k], dtype=float)) for k in case.wrt]

    def function(x: list[Any]) -> Any:
        arguments = list(operands)
        for k, t in zip(case.wrt, x, strict=True):
            arguments[k] = t
        return pairing(u, outputs(case.function(*arguments)))

    def at(function: Any, s: float = 0.0) -> float:
        x = [Tensor(np.asarray(operands[k]) + s * v, requires_grad=True) for k, v in zip(case.wrt, d, strict=True)]
        return float(function(x).data)

    results = {}
    for mix in itertools.product((by_pull, by_push), repeat=3):
        nested = function
        for mode_of in mix:
            nested = mode_of(nested, d)
        results[mix] = at(nested)
    first = results[by_pull, by_pull, by_pull]
    np.testing.assert_allclose(list(results.values()), first, rtol=1e-9, atol=1e-10)
    second = by_push(by_pull(function, d), d)
    close(first, (at(second, STEP) - at(second, -STEP)) / (2 * STEP), 50)


STEP = walks.STEP


def parts(node: Any, results: Any) -> list[tuple[Any, Any, Any]]:
    """The results of a walk for each output of a node that was used, with its dtype and shape."""
    if not isinstance(results, list | tuple):
        return [(results, node.dtype, node.shape)]
    return [part for part in zip(results, node.dtype, node.shape, strict=True) if part[0] is not None]


@rows("float32")
def test_float32_is_preserved(case: Case) -> None:
    """Values, all cotangents and all tangents are float32: no rule promotes."""
    narrow = {"f": np.float32, "i": np.int16}  # with int64 NumPy itself promotes
    operands = case.operands()
    for k, x in enumerate(operands):
        if isinstance(x, np.ndarray):
            operands[k] = x.astype(narrow.get(x.dtype.kind, x.dtype))
    arguments, leaves = walks.arguments_of(case, operands)
    values = outputs(case.function(*arguments))
    nodes = walks.nodes_of(values)
    u = {t.node: np.ones(t.shape, t.dtype) for t in values if t.node is not None}
    for record in (False, True):
        results = tape.pull(nodes, {n: Tensor(v) if record else v for n, v in u.items()}, keep=nodes, record=record)
        assert results
        for node, cotangent in results.items():
            for contribution, dtype, shape in parts(node, cotangent):
                assert contribution.dtype == dtype, f"the cotangent of {node} is {contribution.dtype}"
                assert contribution.shape == shape
    tangents = tape.push(nodes, {leaf.node: np.ones_like(leaf.data) for leaf in leaves})
    for node, tangent in tangents.items():
        for tangent_out, dtype, _ in parts(node, tangent):
            assert tangent_out.dtype == dtype, f"the tangent of {node} is {tangent_out.dtype}"
    if "astype" not in case.primitive:
        for value in values:
            assert value.dtype == np.float32


@rows("mixed")
def test_a_gradient_has_the_dtype_and_shape_of_its_leaf(case: Case) -> None:
    """Each operand in turn is float32 while the others are float64."""
    for narrow in case.wrt:
        operands = case.operands()
        operands[narrow] = operands[narrow].astype(np.float32)
        arguments, leaves = walks.arguments_of(case, operands)
        values = outputs(case.function(*arguments))
        for value in values:
            if value.requires_grad:
                value.backward(np.ones(value.shape), retain_graph=True)
        for leaf in leaves:
            if leaf.grad is not None:
                assert (leaf.grad.dtype, leaf.grad.shape) == (leaf.dtype, leaf.shape)
                assert isinstance(leaf.grad.data, np.ndarray)


@rows("integers")
def test_nothing_is_recorded_without_a_leaf_that_requires_grad(case: Case) -> None:
    operands = [Tensor(x) if isinstance(x, np.ndarray) else x for x in case.operands()]
    for value in outputs(case.function(*operands)):
        assert value.node is None
    assert mode.get() == ""
