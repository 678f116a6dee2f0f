"""The whole table once more on an array that refuses conversion to NumPy and hidden writes."""

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
    """Values, shares and tangents, of both walks, on arrays and recorded."""
    arguments, leaves = walks.given(case, operands, wrap)
    values = outputs(case.function(*arguments))
    lines = walks.lines_of(values)
    found = [t.data for t in values]
    for record in (False, True):

        def ones(t: Any, record: bool = record) -> Any:
            array = wrap(np.ones(t.shape))
            return Tensor(array) if record else array

        due: dict[Any, Any] = {}
        for t in values:
            if t.node is not None:
                due[t.node] = due[t.node] + ones(t) if t.node in due else ones(t)
        contributions = tape.pull(lines, due, record=record)
        moved = tape.push(lines, {leaf.node: ones(leaf) for leaf in leaves}, record=record)
        found += [contributions[leaf.node] for leaf in leaves if leaf.node in contributions]
        found += [moved[t.node] for t in values if t.node in moved]
    return [tape.value_of(x) for x in found]


@pytest.mark.parametrize("case", [case for case in CASES if "standin" not in case.skip], ids=str)
def test_stand_in(case: Case) -> None:
    """Forward, pull and push, on arrays and recorded, give what they give on ndarrays."""
    operands = case.operands()
    traced, plain = results(case, operands, StandIn), results(case, operands, walks.bare)
    assert traced
    for x, y in zip(traced, plain, strict=True):
        assert isinstance(x, StandIn)
        np.testing.assert_allclose(bare(x), y, rtol=1e-14, atol=1e-15)  # plain arrays may take a quicker way


def test_a_training_step_on_a_stand_in() -> None:
    """Construction, backward and accumulation too."""
    rng = np.random.default_rng(0)
    x, w = Tensor(StandIn(rng.normal(size=(5, 3)))), Tensor(StandIn(rng.normal(size=(3, 2))), requires_grad=True)
    for create_graph in (False, True):
        loss = (np.tanh(x @ w) ** 2).mean()
        loss.backward(create_graph=create_graph)
    assert isinstance(w.grad.data, StandIn)


# The stand-in itself refuses


REFUSALS = {
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


@pytest.mark.parametrize("what", REFUSALS)
def test_the_stand_in_refuses(what: str) -> None:
    with pytest.raises(Refused):
        REFUSALS[what](StandIn(np.ones(1)))


def _written(x: Any, /) -> Any:
    out = np.zeros_like(x)
    out[...] = x
    return out


def writing(v: Any) -> Any:
    out = np.zeros_like(v)
    out[...] = v
    return out


def test_a_primitive_may_write_into_what_it_made_and_its_rule_may_not() -> None:
    copied = Linear(_written, writing, name="copied").record
    t = copied(Tensor(StandIn(np.ones(2)), requires_grad=True))
    assert isinstance(t.data, StandIn)
    with pytest.raises(Refused, match="rules do not write"):
        tape.pull(walks.lines_of([t]), {t.node: StandIn(np.ones(2))})


def _assigned(x: Any, /) -> Any:
    x[...] = 0
    return x


def _into_operand(x: Any, /) -> Any:
    return np.exp(x, out=x)


def _into_view(x: Any, /) -> Any:
    part = np.reshape(x[1:], (1, -1))
    np.add(part, 1.0, out=part)
    return x


@pytest.mark.parametrize("hidden", [_assigned, _into_operand, _into_view])
def test_a_primitive_may_not_write_into_its_operand(hidden: Any) -> None:
    with pytest.raises(Refused, match="not made here"):
        Primitive(hidden, lambda v: v).record(Tensor(StandIn(np.ones(2))))


def test_a_primitive_may_write_into_a_view_of_what_it_made() -> None:
    def made(x: Any, /) -> Any:
        return _into_view(np.copy(x))

    t = Primitive(made, lambda v: v).record(Tensor(StandIn(np.ones(3))))
    np.testing.assert_array_equal(bare(t.data), [1.0, 2.0, 2.0])
