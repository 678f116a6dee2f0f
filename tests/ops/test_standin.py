"""All cases on an array that raises for conversions to NumPy arrays and for hidden writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import walks
from cases import CASES, Case
from standin import Refused, StandIn, bare
from walks import outputs

from minigrad import Tensor
from minigrad.engine import tape
from minigrad.engine.primitive import Linear, Primitive


def results(case: Case, operands: list[Any], wrap: walks.Wrap) -> list[Any]:
    """Values, contributions and tangents, of both walks, on arrays and recorded."""
    arguments, leaves = walks.arguments_of(case, operands, wrap)
    values = outputs(case.function(*arguments))
    nodes = walks.nodes_of(values)
    results = [t.data for t in values]
    for record in (False, True):

        def ones(t: Any, record: bool = record) -> Any:
            array = wrap(np.ones(t.shape))
            return Tensor(array) if record else array

        pending: dict[Any, Any] = {}
        for t in values:
            if t.node is not None:
                pending[t.node] = pending[t.node] + ones(t) if t.node in pending else ones(t)
        contributions = tape.pull(nodes, pending, record=record)
        tangents = tape.push(nodes, {leaf.node: ones(leaf) for leaf in leaves}, record=record)
        results += [contributions[leaf.node] for leaf in leaves if leaf.node in contributions]
        results += [tangents[t.node] for t in values if t.node in tangents]
    return [tape.value_of(x) for x in results]


@pytest.mark.parametrize("case", [case for case in CASES if "standin" not in case.skip], ids=str)
def test_cases_on_a_stand_in(case: Case) -> None:
    """Forward, pull and push, on arrays and recorded, give the same results as on ndarrays."""
    operands = case.operands()
    traced, plain = results(case, operands, StandIn), results(case, operands, walks.bare)
    assert traced
    for x, y in zip(traced, plain, strict=True):
        assert isinstance(x, StandIn)
        np.testing.assert_allclose(bare(x), y, rtol=1e-14, atol=1e-15)  # plain arrays may take a quicker way


def test_training_step_on_a_stand_in() -> None:
    """Construction, backward and accumulation."""
    rng = np.random.default_rng(0)
    x, w = Tensor(StandIn(rng.normal(size=(5, 3)))), Tensor(StandIn(rng.normal(size=(3, 2))), requires_grad=True)
    for create_graph in (False, True):
        loss = (np.tanh(x @ w) ** 2).mean()
        loss.backward(create_graph=create_graph)
    assert isinstance(w.grad.data, StandIn)


# The stand-in itself


OPERATIONS = {
    "asarray": np.asarray,
    "array": np.array,
    "float": float,
    "int": int,
    "bool": bool,
    "list": list,
    "setitem": lambda x: x.__setitem__(0, 1.0),
    "out": lambda x: np.exp(x, out=x),
    "at": lambda x: np.add.at(x, [0], 1.0),
    "copyto": lambda x: np.copyto(x, 0.0),
    "cumsum out": lambda x: np.cumsum(x, out=x),
}


@pytest.mark.parametrize("what", OPERATIONS)
def test_stand_in_raises(what: str) -> None:
    with pytest.raises(Refused):
        OPERATIONS[what](StandIn(np.ones(1)))


def _copied(x: Any, /) -> Any:
    out = np.zeros_like(x)
    out[...] = x
    return out


def writing(v: Any) -> Any:
    out = np.zeros_like(v)
    out[...] = v
    return out


def test_primitive_may_write_into_its_own_arrays_but_rules_may_not() -> None:
    copied = Linear(_copied, writing, name="copied").record
    t = copied(Tensor(StandIn(np.ones(2)), requires_grad=True))
    assert isinstance(t.data, StandIn)
    with pytest.raises(Refused, match="rules do not write"):
        tape.pull(walks.nodes_of([t]), {t.node: StandIn(np.ones(2))})


def _assigned(x: Any, /) -> Any:
    x[...] = 0
    return x


def _into_operand(x: Any, /) -> Any:
    return np.exp(x, out=x)


def _into_view(x: Any, /) -> Any:
    part = np.reshape(x[1:], (1, -1))
    np.add(part, 1.0, out=part)
    return x


@pytest.mark.parametrize("function", [_assigned, _into_operand, _into_view])
def test_primitive_may_not_write_into_its_operand(function: Any) -> None:
    with pytest.raises(Refused, match="not allocated here"):
        Primitive(function, lambda v: v).record(Tensor(StandIn(np.ones(2))))


def test_primitive_may_write_into_a_view_of_its_own_array() -> None:
    def into_copy(x: Any, /) -> Any:
        return _into_view(np.copy(x))

    t = Primitive(into_copy, lambda v: v).record(Tensor(StandIn(np.ones(3))))
    np.testing.assert_array_equal(bare(t.data), [1.0, 2.0, 2.0])
