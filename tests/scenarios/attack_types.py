"""Classes of classes, `type` itself, and functions of the user's that NumPy calls."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np

from scenarios.parts import numbers
from scenarios.scenario import scenario


def _calls(C: Any, see: Any, function: Any, *looked: Any) -> None:
    step = C(function)
    for k in range(6):
        see.attempt(step, numbers(k, 3))
        see(*looked)


# Classes of classes


class Single(type):
    """Makes one object of each class."""

    made: dict[Any, Any] = {}  # noqa: RUF012

    def __call__(cls, *given: Any) -> Any:
        if cls not in Single.made:
            Single.made[cls] = type.__call__(cls, *given)
        return Single.made[cls]


class Registry(metaclass=Single):
    """With a rate."""

    rate = 2.0


class Rated(type):
    """Gives its classes a rate."""

    def __new__(cls, name: str, bases: Any, attributes: Any) -> Any:
        return type.__new__(cls, name, bases, {**attributes, "rate": 3.0})


@scenario
def one_object_of_a_class(C: Any, see: Any) -> None:
    Single.made.clear()
    _calls(C, see, lambda x: x * Registry().rate)
    see([type(made).__name__ for made in Single.made.values()])


@scenario
def one_object_that_is_there(C: Any, see: Any) -> None:
    Single.made.clear()
    Registry()
    _calls(C, see, lambda x: x * Registry().rate)
    see(Single.made[Registry] is Registry())


@scenario(eager=True)
def a_class_of_classes(C: Any, see: Any) -> None:
    seen: list[Any] = []

    def step(x):
        class Kind(type):
            rate = 2.0

        class One(metaclass=Kind):
            pass

        seen.append(One.rate)
        return x * One.rate

    _calls(C, see, step, seen)


@scenario(eager=True)
def a_class_of_classes_that_is_called_for(C: Any, see: Any) -> None:
    def step(x):
        kind: Any = type("Kind", (type,), {"rate": 3.0})
        return x * kind("One", (), {}).rate

    _calls(C, see, step)


@scenario
def a_class_that_is_made_by_its_class(C: Any, see: Any) -> None:
    def step(x):
        class One(metaclass=Rated):
            pass

        return x * One.rate  # type: ignore[attr-defined]

    _calls(C, see, step)


@scenario
def methods_of_type(C: Any, see: Any) -> None:
    def step(x):
        class One:
            rate = 4.0

        return x * One.rate * len(type.mro(One)) * len(type.__subclasses__(One) or [1])

    _calls(C, see, step)


@scenario
def questions_about_type(C: Any, see: Any) -> None:
    kinds = {type: 2.0, float: 3.0}, [type, float]

    def step(x):
        found = [type(float) is type, type(x) is np.ndarray, type(type) is type, isinstance(type, type)]
        found += [isinstance(float, type), issubclass(Single, type), inspect.isclass(type), issubclass(type, object)]
        found += [str(type) == "<class 'type'>", isinstance(x, type | np.ndarray), type.__name__ == "type"]
        found += [kinds[1][0] is type, kinds[1][1] is type, kinds[0][type(float)] == 2.0, type[int] is not None]
        return x, found

    _calls(C, see, step)


@scenario(eager=True)
def type_and_class(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: x * (float.__class__ is type))


@scenario(eager=True)
def a_pattern_of_type(C: Any, see: Any) -> None:
    def step(x):
        match float:
            case type():
                return x * 2
        return x

    _calls(C, see, step)


@scenario
def type_that_is_kept(C: Any, see: Any) -> None:
    class Kept:
        pass

    def step(x):
        Kept.one, Kept.two, Kept.three = type, type(float), {"a": type}  # type: ignore[attr-defined]
        return x, type

    run = C(step)
    for k in range(6):
        y, kind = run(numbers(k, 3))
        see(y, kind is type, Kept.one is type, Kept.two is type, Kept.three["a"] is type)  # type: ignore[attr-defined]


@scenario(eager=True)
def a_copy_of_type(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: x * (copy.copy(type) is type))


# Functions that NumPy calls


def _counted(C: Any, see: Any, call: Any) -> None:
    log: list[int] = []

    def twice(row, *given):
        log.append(1)
        return row * 2

    _calls(C, see, call(twice, log), log)


@scenario(eager=True)
def counted_along_an_axis(C: Any, see: Any) -> None:
    _counted(C, see, lambda twice, log: lambda x: np.apply_along_axis(twice, 0, x))


@scenario(eager=True)
def counted_over_axes(C: Any, see: Any) -> None:
    _counted(C, see, lambda twice, log: lambda x: np.apply_over_axes(twice, x, [0]))


@scenario(eager=True)
def counted_piece_by_piece(C: Any, see: Any) -> None:
    _counted(C, see, lambda twice, log: lambda x: np.piecewise(x, [x > -9, x > 9], [twice, 1.0]))


@scenario(eager=True)
def counted_by_a_ufunc_of_python(C: Any, see: Any) -> None:
    _counted(C, see, lambda twice, log: lambda x: np.frompyfunc(twice, 1, 1)(x).astype(float))


@scenario(eager=True)
def counted_in_an_argument(C: Any, see: Any) -> None:
    def call(twice, log):
        return lambda x: np.apply_along_axis(lambda row, given: (given.append(1), row * 2)[1], 0, x, log)

    _counted(C, see, call)


@scenario(eager=True)
def counted_by_an_object(C: Any, see: Any) -> None:
    class Twice:
        n = 0

        def __call__(self, row):
            self.n += 1
            return row * 2

    twice = Twice()
    step = C(lambda x: np.apply_along_axis(twice, 0, x))
    for k in range(6):
        see(step(numbers(k, 3)), twice.n)


@scenario
def computed_along_an_axis(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: np.apply_along_axis(lambda row: row - row.sum(), 0, x))
