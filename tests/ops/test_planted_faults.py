"""Tests of the tests: they must find a rule that is wrong by 0.1 %, or a missing sum over broadcast axes."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import test_cases
from cases import CASES, Case

from minigrad.engine import specialize
from minigrad.engine.primitive import REGISTRY, Elementwise, Linear, Primitive

FAULTS = [
    (name, k)
    for name, primitive in REGISTRY.items()
    for k in range(len(primitive.rules) or 1)
    if primitive.joint or primitive.rules[k] is not None
]


def off(rule: Any) -> Any:
    """The rule times 1.001, naming the same values."""

    def scaled(*values: Any) -> Any:
        contribution = rule(*values)
        if isinstance(contribution, tuple | list):
            return tuple(part if part is None else 1.001 * part for part in contribution)
        return 1.001 * contribution

    scaled.__signature__ = inspect.signature(rule)  # type: ignore[attr-defined]
    return scaled


def rebuilt(p: Primitive, rules: tuple[Any, ...], joint: Any) -> Primitive:
    """The same primitive with other rules."""
    bare = p.signature.replace(parameters=[q.replace(annotation=q.empty) for q in p.signature.parameters.values()])
    return type(p)(p.function, *rules, joint=joint, signature=str(bare), outputs=p.outputs, name=p.name)


def caught(case: Case) -> bool:
    try:
        test_cases.check_pull(case)
    except (AssertionError, ValueError):
        return True
    return False


def affects(case: Case, name: str) -> bool:
    return case.primitive == name and "pull" not in case.skip


@pytest.mark.parametrize(("name", "k"), FAULTS, ids=str)
def test_rule_off_by_a_thousandth_is_found(name: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    p = REGISTRY[name]
    rules = tuple(off(rule) if j == k else rule for j, rule in enumerate(p.rules))
    monkeypatch.setattr(p, "pull", rebuilt(p, rules, p.joint and off(p.joint)).pull)
    assert any(caught(case) for case in CASES if affects(case, name) and k in (*case.wrt, *[k] * p.sequence))


def test_rebuilt_primitive_passes() -> None:
    """The tests above fail because of the planted factor, not because the primitive was rebuilt."""
    for case in CASES[::20]:
        p = REGISTRY[case.primitive]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(p, "pull", rebuilt(p, p.rules, p.joint).pull)
            assert "pull" in case.skip or not caught(case)


def broadcasts(case: Case) -> bool:
    """Whether the shape of a differentiated operand differs from that of the value."""
    if REGISTRY[case.primitive].kind != "elementwise" or "pull" in case.skip:
        return False
    operands = case.operands()
    shape_of = np.shape(case.reference(*operands))
    return any(np.shape(operands[k]) != shape_of for k in case.wrt)


@pytest.mark.parametrize("case", [case for case in CASES if broadcasts(case)], ids=str)
def test_missing_sum_over_broadcast_axes_is_found(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(specialize.ENGINE, "unbroadcast", lambda contribution, shape: contribution)
    assert caught(case)


@pytest.mark.parametrize("name", sorted({case.primitive for case in CASES if broadcasts(case)}))
def test_first_element_instead_of_a_sum_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shape is right here, the values are not."""

    def first(contribution: Any, shape: tuple[int, ...]) -> Any:
        return contribution[(0,) * (contribution.ndim - len(shape)) + tuple(slice(0, n) for n in shape)]

    monkeypatch.setitem(specialize.ENGINE, "unbroadcast", first)
    assert any(caught(case) for case in CASES if case.primitive == name and broadcasts(case))


def test_fast_push_off_by_a_thousandth_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (Elementwise, Linear):
        push = kind.push

        def wrong(self: Any, *arguments: Any, push: Any = push) -> Any:
            tangent_out = push(self, *arguments)
            return tangent_out if tangent_out is None else 1.001 * tangent_out

        name = "multiply" if kind is Elementwise else "matmul"
        case = next(case for case in CASES if case.primitive == name)
        with monkeypatch.context() as patch:
            patch.setattr(kind, "push", wrong)
            with pytest.raises(AssertionError):
                test_cases.check_push(case)
        test_cases.check_push(case)
