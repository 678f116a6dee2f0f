"""What is equal but not the same, what objects in C hold besides their items, and what cannot be looked at."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import functools
import types
import weakref
from typing import Any

import numpy as np

from minigrad import nn, optim
from scenarios.attack_reach import after
from scenarios.attack_state import drive
from scenarios.scenario import scenario

# Equal, and yet not the same


class Colour(enum.StrEnum):
    RED = "red"


def _swapped(C: Any, see: Any, first: Any, second: Any, read: Any) -> None:
    box = types.SimpleNamespace(value=first)
    drive(C, see, lambda x: x * read(box.value), after(5, lambda: setattr(box, "value", second)))


@scenario
def ranges_of_the_same_numbers(C: Any, see: Any) -> None:
    _swapped(C, see, range(0, 3, 2), range(0, 4, 2), lambda r: float(r.stop))


@scenario
def decimals_of_other_precision(C: Any, see: Any) -> None:
    _swapped(C, see, decimal.Decimal("1.0"), decimal.Decimal("1.000"), lambda d: 1.0 - d.as_tuple().exponent)


@scenario
def the_same_moment_in_two_zones(C: Any, see: Any) -> None:
    utc = datetime.datetime(2024, 1, 1, 12, tzinfo=datetime.UTC)
    rome = utc.astimezone(datetime.timezone(datetime.timedelta(hours=1)))
    _swapped(C, see, utc, rome, lambda t: float(t.hour))


@scenario
def a_fold(C: Any, see: Any) -> None:
    time = datetime.datetime(2024, 10, 27, 2, 30)
    _swapped(C, see, time, time.replace(fold=1), lambda t: 1.0 + t.fold)


@scenario
def a_float_of_a_users_class(C: Any, see: Any) -> None:
    class Rate(float):
        pass

    _swapped(C, see, Rate(0.0), Rate(-0.0), lambda r: 1.0 if str(r) == "0.0" else 2.0)


@scenario
def keys_that_become_members_of_an_enum(C: Any, see: Any) -> None:
    table: Any = {"red": 1.0}

    def change() -> None:
        table.clear()
        table[Colour.RED] = 1.0

    drive(C, see, lambda x: x * sum(2.0 if isinstance(k, Colour) else 1.0 for k in table), after(5, change))


@scenario
def keys_of_tuples_of_other_numbers(C: Any, see: Any) -> None:
    table: Any = {(1, 2): 1.0}

    def change() -> None:
        table.clear()
        table[1.0, 2] = 1.0

    drive(C, see, lambda x: x * sum(len(repr(k)) for k in table), after(5, change))


@scenario
def a_zero_of_another_sign_in_a_set(C: Any, see: Any) -> None:
    found = {0.0}

    def change() -> None:
        found.clear()
        found.add(-0.0)

    drive(C, see, lambda x: x * max(len(repr(k)) for k in found), after(5, change))


# What stands beside the items


@scenario
def the_factory_of_a_defaultdict(C: Any, see: Any) -> None:
    table: Any = collections.defaultdict(lambda: 2.0)

    def step(x: Any) -> Any:
        return x * collections.defaultdict.__missing__(table.copy(), "none")

    drive(C, see, step, after(5, lambda: setattr(table, "default_factory", lambda: 3.0)))


@scenario
def the_factory_of_a_defaultdict_by_name(C: Any, see: Any) -> None:
    table: Any = collections.defaultdict(lambda: 2.0)
    drive(
        C,
        see,
        lambda x: x * table.default_factory(),
        after(5, lambda: setattr(table, "default_factory", lambda: 3.0)),
    )


@scenario
def an_attribute_of_a_partial(C: Any, see: Any) -> None:
    scaled: Any = functools.partial(lambda x, y: x * y, y=1.0)
    scaled.scale = 2.0
    drive(C, see, lambda x: scaled(x) * scaled.scale, after(5, lambda: setattr(scaled, "scale", 3.0)))


@scenario
def an_attribute_of_a_weak_reference(C: Any, see: Any) -> None:
    class Ref(weakref.ref):  # type: ignore[type-arg]
        pass

    class Layer:
        w = 2.0

    layer = Layer()
    ref: Any = Ref(layer)
    ref.scale = 2.0
    drive(C, see, lambda x: x * ref.scale * layer.w, after(5, lambda: setattr(ref, "scale", 3.0)))


@scenario
def the_cause_of_an_error_that_is_held(C: Any, see: Any) -> None:
    box = types.SimpleNamespace(error=ValueError("a"))
    drive(
        C,
        see,
        lambda x: x * (1.0 if box.error.__cause__ is None else 2.0),
        after(5, lambda: setattr(box.error, "__cause__", KeyError("b"))),
    )


@scenario
def the_code_of_an_exit_that_is_held(C: Any, see: Any) -> None:
    box = types.SimpleNamespace(error=SystemExit(2))
    drive(C, see, lambda x: x * box.error.code, after(5, lambda: setattr(box.error, "code", 3)))


@scenario
def a_cell_that_is_held(C: Any, see: Any) -> None:
    rate = 2.0

    def inner() -> float:
        return rate

    cell: Any = inner.__closure__[0]  # type: ignore[index]
    drive(C, see, lambda x: x * cell.cell_contents, after(5, lambda: setattr(cell, "cell_contents", 3.0)))


@scenario
def the_text_of_a_property(C: Any, see: Any) -> None:
    class Config:
        rate = property(lambda self: 2.0, doc="a")

    look: Any = vars(Config)["rate"]
    drive(C, see, lambda x: x * len(look.__doc__), after(5, lambda: setattr(look, "__doc__", "long")))


# What cannot be looked at, or written as text


@scenario
def numbers_of_five_thousand_digits(C: Any, see: Any) -> None:
    box = types.SimpleNamespace(n=10**5000)
    step = C(lambda x, n: x * (box.n % 7) * (n % 5))
    for k in range(8):
        box.n += k % 3 == 0
        see.attempt(step, 1.0 + k, 10**5000 + k // 3)
    step.explain() if hasattr(step, "explain") else None


@scenario(eager=True)
def a_tuple_of_tuples_of_tuples(C: Any, see: Any) -> None:
    nested: Any = 2.0
    for _ in range(3000):
        nested = (nested,)
    box = types.SimpleNamespace(nested=nested)
    drive(C, see, lambda x: x * len(box.nested))


@scenario
def a_class_without_a_module(C: Any, see: Any) -> None:
    class Config:
        rate = 2.0

    Config.__module__ = None  # type: ignore[assignment]
    config = Config()
    drive(C, see, lambda x: x * config.rate, after(5, lambda: setattr(config, "rate", 3.0)))


@scenario(eager=True)
def a_dict_that_raises(C: Any, see: Any) -> None:
    class Config:
        def __init__(self) -> None:
            self.rate = 2.0

        @property
        def __dict__(self) -> Any:  # type: ignore[override]
            raise RuntimeError("no")

    config = Config()
    drive(C, see, lambda x: x * config.rate, after(5, lambda: setattr(config, "rate", 3.0)))


@scenario(eager=True)
def a_class_whose_class_compares(C: Any, see: Any) -> None:
    class Strict(type):
        def __eq__(cls, other: object) -> bool:
            raise TypeError("cannot be compared")

        __hash__ = type.__hash__

    class Config(metaclass=Strict):
        rate = 2.0

    config = Config()
    drive(C, see, lambda x: x * config.rate)


# Generators and numbers


@scenario(eager=True)
def the_state_of_the_global_generator_is_put_back(C: Any, see: Any) -> None:
    np.random.seed(0)  # noqa: NPY002

    def step(x: Any) -> Any:
        state = np.random.get_state()  # noqa: NPY002
        y = x + np.random.normal(size=3)  # noqa: NPY002
        np.random.set_state(state)  # noqa: NPY002
        return y

    drive(C, see, step, after(5, lambda: np.random.seed(1)))  # noqa: NPY002


@scenario
def a_layer_that_keeps_a_number(C: Any, see: Any) -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.seen = nn.Linear(3, 3, rng=0), list[float]()

        def forward(self, x: Any) -> Any:
            y = self.inner(x)
            self.seen.append(float(y.sum()))
            return y

    model = Layer()
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    drive(C, see, step)
    see(model.seen)
