"""Exceptions that a step catches itself: what depends on values runs eagerly, what does not is compiled."""

from __future__ import annotations

import contextlib
import json
import operator
from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from scenarios.parts import numbers
from scenarios.scenario import scenario


def _calls(C: Any, see: Any, function: Any, data: Any = None, change: Any = lambda k: None) -> None:
    step = C(function)
    for k in range(8):
        change(k)
        see.attempt(step, *(numbers(k, 3),) if data is None else data(k))


def _inverse(a: Any) -> Any:
    try:
        return np.linalg.inv(a)
    except np.linalg.LinAlgError:
        return np.linalg.pinv(a) + 1.0


def _matrices(*singular: int) -> Any:
    return lambda k: (np.eye(2) * (0.0 if k in singular else k + 1.0),)


@scenario(eager=True)
def singular_while_recorded(C: Any, see: Any) -> None:
    _calls(C, see, _inverse, _matrices(0, 1, 2))


@scenario
def singular_later(C: Any, see: Any) -> None:
    _calls(C, see, _inverse, _matrices(4, 6))


@scenario(eager=True)
def not_positive_while_recorded(C: Any, see: Any) -> None:
    def step(a):
        with contextlib.suppress(Exception):
            return np.linalg.cholesky(a)
        return np.linalg.cholesky(a + np.eye(2) * 9)

    _calls(C, see, step, lambda k: (np.eye(2) * (-1.0 if k < 3 else k),))


@scenario(eager=True)
def raised_again_as_another(C: Any, see: Any) -> None:
    def step(a):
        try:
            try:
                return np.linalg.inv(a)
            except np.linalg.LinAlgError as error:
                raise RuntimeError("singular") from error
        except RuntimeError:
            return a * 2

    _calls(C, see, step, _matrices(0, 1))


@scenario(eager=True)
def raised_in_a_property(C: Any, see: Any) -> None:
    class Model:
        def __init__(self, a: Any) -> None:
            self.a = a

        @property
        def inverse(self):
            return np.linalg.inv(self.a)

    def step(a):
        try:
            return Model(a).inverse
        except Exception:
            return a + 3

    _calls(C, see, step, _matrices(0, 1))


def _rows(*outside: int) -> Any:
    return lambda k: (np.array([1, 9 if k in outside else k % 3]),)


def _lookup(C: Any, see: Any, *outside: int) -> None:
    table = np.arange(5.0)

    def step(i):
        try:
            return table[i]
        except IndexError:
            return None

    _calls(C, see, step, _rows(*outside))


@scenario(eager=True)
def outside_of_a_table_while_recorded(C: Any, see: Any) -> None:
    _lookup(C, see, 0, 1, 2)


@scenario
def outside_of_a_table_later(C: Any, see: Any) -> None:
    _lookup(C, see, 4, 5)


def _labelled(C: Any, see: Any, *wrong: int) -> None:
    w = mg.Tensor(np.ones((3, 4)), requires_grad=True)

    def step(y):
        w.grad = None
        try:
            loss = F.cross_entropy(np.ones((2, 3)) @ w, y)
        except (IndexError, ValueError):
            return None
        loss.backward()
        return loss, w.grad

    _calls(C, see, step, _rows(*wrong))


@scenario(eager=True)
def wrong_labels_while_recorded(C: Any, see: Any) -> None:
    _labelled(C, see, 0, 1)


@scenario
def wrong_labels_later(C: Any, see: Any) -> None:
    _labelled(C, see, 5)


@scenario
def divided_by_a_number_that_becomes_0(C: Any, see: Any) -> None:
    config = SimpleNamespace(n=1.0)

    def step(x):
        try:
            rate = 1.0 / config.n
        except ZeroDivisionError:
            rate = 5.0
        return x * rate

    _calls(C, see, step, change=lambda k: setattr(config, "n", k + 1.0 if k < 5 else 0.0))


# What nothing recorded takes part in


@scenario
def texts_that_are_no_numbers(C: Any, see: Any) -> None:
    config = SimpleNamespace(text="large")

    def step(x):
        try:
            scale = int(config.text)
        except ValueError:
            scale = 3
        return x * scale

    _calls(C, see, step, change=lambda k: setattr(config, "text", "large" if k < 5 else "7"))


@scenario
def names_that_are_not_there(C: Any, see: Any) -> None:
    config = SimpleNamespace(names=["a"], wanted="b")

    def step(x):
        try:
            at = config.names.index(config.wanted)
        except ValueError:
            at = 5
        return x * at

    _calls(C, see, step, change=lambda k: setattr(config, "wanted", "b" if k < 5 else "a"))


@scenario
def lengths_that_differ(C: Any, see: Any) -> None:
    sizes, names = [1, 2], ["a"]

    def step(x):
        try:
            for size, name in zip(sizes, names, strict=True):
                x = x * size + len(name)
        except ValueError:
            x = x + 1
        return x

    _calls(C, see, step, change=lambda k: names.append("b") if k == 5 else None)


@scenario
def no_document_of_json(C: Any, see: Any) -> None:
    document = ["{"]

    def step(x):
        try:
            return x * json.loads(document[0])["rate"]
        except ValueError:
            return x

    def change(k: int) -> None:
        if k == 5:
            document[0] = '{"rate": 3}'

    _calls(C, see, step, change=change)


@scenario
def a_layer_that_is_not_there(C: Any, see: Any) -> None:
    model = mg.nn.Linear(3, 2, rng=0)

    def step(x):
        try:
            return model.head(x)
        except AttributeError:
            return model(x)

    _calls(C, see, step)


@scenario(eager=True)
def a_protocol_that_is_tried(C: Any, see: Any) -> None:
    names = "__array_interface__", "__array_struct__", "__setstate__", "__dlpack__", "__array_priority__"

    def step(x):
        found = []
        for name in names:
            try:
                operator.attrgetter(name)(x)
                found.append(name)
            except AttributeError:
                pass
        return found

    _calls(C, see, step)


@scenario(eager=True)
def names_that_only_tracers_have(C: Any, see: Any) -> None:
    def step(x, names=("__bytes__", "__trunc__", "__weakref__", "mg_array", "minigrad_tracer")):
        found = []
        for name in names:
            with contextlib.suppress(AttributeError):
                operator.attrgetter(name)(x)
                found.append(name)
        return found

    _calls(C, see, step)


@scenario(eager=True)
def texts_of_an_object(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: object.__repr__(x)[:20])


@scenario(eager=True)
def a_mistake_of_shapes(C: Any, see: Any) -> None:
    def step(x):
        try:
            return x.reshape(5, 5)
        except ValueError:
            return x * 2

    _calls(C, see, step)
