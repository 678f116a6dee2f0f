"""The stack of layers around operations: what a layer sees and may replace, and in which order layers are called."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.diagnostics import AnomalyError
from minigrad.engine.intercept import Layer, Observer, enter, intercept, layers, leave
from minigrad.engine.node import Node
from minigrad.engine.primitive import Primitive

x = np.array([1.0, 2.0])


class Log(Layer):
    """Notes what it is called for, with its own letter."""

    def __init__(self, letter: str = "", log: list[Any] | None = None) -> None:
        self.letter = letter
        self.log = [] if log is None else log

    def __call__(self, p: Primitive, call_next: Callable[..., Any], operands: Any, params: dict[str, Any]) -> Any:
        self.log.append((self.letter, p.name))
        return call_next(*operands, **params)

    def recorded(self, node: Node) -> None:
        self.log.append((self.letter, "node"))

    def pulled(self, node: Node, v: Any, contributions: Any, residuals: Any) -> None:
        self.log.append((self.letter, f"pull {node.primitive.name}"))

    def pushed(self, node: Node, tangents: Any, tangent_out: Any, residuals: Any) -> None:
        self.log.append((self.letter, f"push {node.primitive.name}"))


class Double(Layer):
    """Replaces the value of exp."""

    def __call__(self, p: Primitive, call_next: Callable[..., Any], operands: Any, params: dict[str, Any]) -> Any:
        out = call_next(*operands, **params)
        return 2 * out if p.name == "exp" else out


def test_a_layer_is_called_for_operations_nodes_and_walks() -> None:
    layer = Log()
    t = mg.Tensor(x, requires_grad=True)
    with intercept(layer):
        mg.exp(t).backward(x)
    assert [what for _, what in layer.log] == ["exp", "node", "pull exp"]
    layer.log.clear()
    with intercept(layer):
        mg.jvp(mg.sin, x, x)
    assert [what for _, what in layer.log][-1] == "push sin"


def test_the_layer_opened_last_is_called_first_and_may_replace_the_value() -> None:
    log: list[Any] = []
    with intercept(Log("a", log)), intercept(Double()), intercept(Log("b", log)):
        assert np.array_equal(mg.exp(x), 2 * np.exp(x))
    assert log == [("b", "exp"), ("a", "exp")]
    assert np.array_equal(mg.exp(x), np.exp(x))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_layers_are_closed_in_any_order(order: tuple[int, ...]) -> None:
    log: list[Any] = []
    entries = [enter(Log(letter, log)) for letter in "abc"]
    present = [*"abc"]
    for k in order:
        leave(entries[k])
        leave(entries[k])  # a second time does nothing
        present.remove("abc"[k])
        log.clear()
        mg.log(x)
        assert [letter for letter, _ in log] == present[::-1]
    assert mg.log.primitive.record.__globals__["function"] is np.log
    assert not layers()


def test_one_layer_may_be_open_twice() -> None:
    layer = Log()
    with intercept(layer):
        with intercept(layer):
            mg.log(x)
        mg.log(x)
    assert len(layer.log) == 3


def test_an_exception_closes_the_layer() -> None:
    with pytest.raises(ZeroDivisionError), intercept(Log()):
        raise ZeroDivisionError
    assert not layers()
    assert mg.exp.primitive.record.__globals__["Node"] is Node


def test_primitives_that_are_declared_while_a_layer_is_open_are_intercepted() -> None:
    layer = Log()
    with intercept(layer):
        cube = mg.custom(lambda x: x**3, lambda v, x: v * 3 * x**2, name="cube")
        assert float(mg.grad(cube)(2.0)) == 12.0
    assert {what for _, what in layer.log} >= {"cube", "pull cube"}
    layer.log.clear()
    assert float(mg.grad(cube)(2.0)) == 12.0
    assert not layer.log


def test_observers_do_not_see_what_rules_compute() -> None:
    class Names(Observer):
        def computed(self, p: Primitive, values: Any, out: Any, frame: Any) -> None:
            log.append(p.name)

    log: list[str] = []
    t = mg.Tensor(x, requires_grad=True)
    with Names():
        mg.sigmoid(t).sum().backward(create_graph=True)
    assert log == ["sigmoid", "sum"]


def found(*blocks: Any) -> bool:
    """Whether a NaN is found inside these blocks, after formulas were written."""
    try:
        for block in blocks:
            block.__enter__()
        y = mg.sigmoid(mg.Tensor(x, requires_grad=True)).sum()
        mg.draw(y, formulas=True)
        mg.to_latex(y)
        mg.softplus(mg.Tensor([np.nan], requires_grad=True))
    except AnomalyError:
        return True
    finally:
        for block in blocks:  # the first one first
            block.__exit__(None, None, None)
    return False


def test_anomalies_are_found_while_formulas_are_written_inside_and_around() -> None:
    assert found(mg.detect_anomaly())
    assert found(mg.detect_anomaly(), intercept(Double()))
    assert found(intercept(Double()), mg.detect_anomaly())
    with np.errstate(all="ignore"):
        assert not found(intercept(Double()))
    assert not layers()
