"""Objects of all kinds that a step reads, and that change between calls."""

from __future__ import annotations

import collections
import contextvars
import dataclasses
import enum
import functools
import operator
import sys
import threading
import types
import weakref
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np

import minigrad as mg
from minigrad import nn
from scenarios.parts import numbers, weight
from scenarios.scenario import scenario

T = TypeVar("T")
RATE = 1.0
VARIABLE: contextvars.ContextVar[Any] = contextvars.ContextVar("VARIABLE", default=2.0)


def drive(C: Any, see: Any, function: Any, change: Any = None, *state: Any, calls: int = 10) -> None:
    """Call a compiled step; `change(k)` is called before call k."""
    step = C(function)
    for k in range(calls):
        if change is not None:
            change(k)
        see(step(numbers(k, 3)), *state)


@scenario
def absent_attribute_is_added(C: Any, see: Any) -> None:
    class Model:
        def __call__(self, x: Any) -> Any:
            try:
                return x * self.mask
            except AttributeError:
                return x

    m = Model()
    drive(C, see, m, lambda k: setattr(m, "mask", 3.0) if k == 5 else None)


@scenario
def hasattr_of_an_absent_attribute(C: Any, see: Any) -> None:
    class Model:
        def __call__(self, x: Any) -> Any:
            return x * self.mask if hasattr(self, "mask") else x

    m = Model()
    drive(C, see, lambda x: m(x), lambda k: setattr(m, "mask", 3.0) if k == 5 else None)


@scenario
def getattr_with_a_default(C: Any, see: Any) -> None:
    s = SimpleNamespace()

    def change(k: int) -> None:
        if k == 5:
            s.scale = 4.0
        if k == 8:
            del s.scale

    drive(C, see, lambda x: x * getattr(s, "scale", 2.0), change)


@scenario
def global_looked_up_by_name(C: Any, see: Any) -> None:
    global RATE
    RATE = 1.0

    def step(x: Any) -> Any:
        return x * globals()["RATE"]

    def change(k: int) -> None:
        global RATE
        RATE = 1.0 if k < 5 else 2.0

    drive(C, see, step, change)


@scenario
def module_of_sys_modules(C: Any, see: Any) -> None:
    module = types.ModuleType("attack_config")
    module.rate = 1.0  # type: ignore[attr-defined]
    sys.modules["attack_config"] = module

    def step(x: Any) -> Any:
        import attack_config  # type: ignore[import-not-found]

        return x * attack_config.rate

    drive(C, see, step, lambda k: setattr(module, "rate", 1.0 if k < 5 else 3.0))
    del sys.modules["attack_config"]


@scenario
def name_imported_inside(C: Any, see: Any) -> None:
    module = types.ModuleType("attack_names")
    module.rate = [1.0]  # type: ignore[attr-defined]
    sys.modules["attack_names"] = module

    def step(x: Any) -> Any:
        from attack_names import rate  # type: ignore[import-not-found]

        return x * rate[0]

    def change(k: int) -> None:
        if k == 5:
            module.rate[0] = 3.0  # type: ignore[attr-defined]
        if k == 7:
            module.rate = [5.0]  # type: ignore[attr-defined]

    drive(C, see, step, change)
    del sys.modules["attack_names"]


@scenario
def config_in_another_module(C: Any, see: Any) -> None:
    module = types.ModuleType("attack_other")
    exec("RATE = 1.0\ndef rate():\n    return RATE\n", vars(module))
    rate = vars(module)["rate"]
    drive(C, see, lambda x: x * rate(), lambda k: setattr(module, "RATE", 1.0 + (k > 4) + (k > 7)))


@scenario
def context_variable(C: Any, see: Any) -> None:
    token = VARIABLE.set(1.0)
    drive(C, see, lambda x: x * VARIABLE.get(), lambda k: VARIABLE.set(1.0 if k < 5 else 3.0))
    VARIABLE.reset(token)


@scenario
def context_variable_holds_an_object(C: Any, see: Any) -> None:
    token = VARIABLE.set(SimpleNamespace(scale=1.0))
    drive(C, see, lambda x: x * VARIABLE.get().scale, lambda k: setattr(VARIABLE.get(), "scale", 1.0 + k // 5))
    VARIABLE.reset(token)


@scenario
def context_variable_set_inside(C: Any, see: Any) -> None:
    token = VARIABLE.set(0.0)

    def step(x: Any) -> Any:
        VARIABLE.set(VARIABLE.get() + 1.0)
        return x * VARIABLE.get()

    step = C(step)
    for k in range(7):
        see(step(numbers(k, 3)), VARIABLE.get())
    VARIABLE.reset(token)


@scenario
def thread_local(C: Any, see: Any) -> None:
    local = threading.local()
    local.scale = 1.0
    drive(C, see, lambda x: x * local.scale, lambda k: setattr(local, "scale", 1.0 + k // 5))


@scenario
def enum_with_a_mutable_value(C: Any, see: Any) -> None:
    class Mode(enum.Enum):
        A = {"scale": 1.0}  # noqa: RUF012

    s = SimpleNamespace(mode=Mode.A)
    drive(C, see, lambda x: x * s.mode.value["scale"], lambda k: Mode.A.value.update(scale=1.0 + (k > 4)))


@scenario
def enum_with_an_attribute(C: Any, see: Any) -> None:
    class Mode(enum.Enum):
        A = 1

        def factor(self) -> Any:
            return self.scale * FACTORS[self.name]  # type: ignore[attr-defined]

    Mode.A.scale = 1.0  # type: ignore[attr-defined]
    s = SimpleNamespace(mode=Mode.A)

    def change(k: int) -> None:
        if k == 5:
            Mode.A.scale = 2.0  # type: ignore[attr-defined]
        if k == 8:
            FACTORS["A"] = 7.0

    FACTORS["A"] = 3.0
    drive(C, see, lambda x: x * s.mode.factor(), change)


FACTORS = {"A": 3.0}


@scenario
def flags_of_an_enum(C: Any, see: Any) -> None:
    class F(enum.Flag):
        A = 1
        B = 2

    s = SimpleNamespace(f=F.A)

    def change(k: int) -> None:
        s.f = F.A | F.B if k % 3 == 2 else F.B if k % 3 else F.A

    drive(C, see, lambda x: x * (2.0 if F.A in s.f else 1.0) + (1.0 if F.B in s.f else 0.0), change)


@scenario
def number_with_attributes(C: Any, see: Any) -> None:
    class Rate(float):
        scale = 1.0

    s = SimpleNamespace(rate=Rate(2.0))
    drive(C, see, lambda x: x * s.rate * s.rate.scale, lambda k: setattr(s.rate, "scale", 1.0 + k // 5))


@scenario
def text_with_attributes(C: Any, see: Any) -> None:
    class Name(str):
        scale = 1.0

    name = Name("a")
    drive(C, see, lambda x: x * name.scale, lambda k: setattr(name, "scale", 1.0 + k // 5))


@scenario
def attribute_of_a_function(C: Any, see: Any) -> None:
    def helper(x: Any) -> Any:
        return x * helper.scale  # type: ignore[attr-defined]

    helper.scale = 1.0  # type: ignore[attr-defined]
    drive(C, see, lambda x: helper(x), lambda k: setattr(helper, "scale", 1.0 + k // 5))


@scenario
def counter_on_the_step_itself(C: Any, see: Any) -> None:
    @C
    def step(x: Any) -> Any:
        step.calls += 1
        return x * step.calls

    step.calls = 0
    for k in range(9):
        see(step(numbers(k, 3)), step.calls)
        if k == 5:
            step.calls = 20


@scenario
def results_left_on_the_step_itself(C: Any, see: Any) -> None:
    @C
    def step(x: Any) -> Any:
        step.last = x * 2
        return step.last.sum()

    for k in range(7):
        see(step(numbers(k, 3)), step.last)


@scenario
def configuration_on_the_step_itself(C: Any, see: Any) -> None:
    @C
    def step(x: Any) -> Any:
        return x * step.scale

    step.scale = 1.0
    for k in range(9):
        if k == 5:
            step.scale = 3.0
        see(step(numbers(k, 3)))


@scenario
def function_with_attributes_of_the_compiler(C: Any, see: Any) -> None:
    class Model:
        def __init__(self) -> None:
            self.state, self.limit, self.eager, self.latest = np.ones(3), 0, True, None
            self.function, self.versions, self.lock = "relu", [], None

        def __call__(self, x: Any) -> Any:
            return x * self.state + self.limit

    m = Model()
    step = C(m)
    for k in range(7):
        if k == 4:
            m.limit = 3
        see(step(numbers(k, 3)), m.state)


@scenario
def attributes_through_a_compiled_model(C: Any, see: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.layer, self.scale = nn.Linear(3, 2, rng=0), 1.0

        def forward(self, x: Any) -> Any:
            return self.layer(x) * self.scale

    m = C(Net())
    for k in range(8):
        if k == 4:
            m.scale = 3.0
        if k == 6:
            m.layer = nn.Linear(3, 2, rng=1)
        see(m(numbers(k, 4, 3)), m.scale, m.layer)


@scenario
def order_of_a_dict(C: Any, see: Any) -> None:
    d = {"a": 1.0, "b": 2.0, "c": 3.0}

    def step(x: Any) -> Any:
        y = x
        for v in d.values():
            y = y * v + v
        return y

    def change(k: int) -> None:
        if k == 5:
            d["a"] = d.pop("a")
        if k == 8:
            d["b"] = d.pop("b")

    drive(C, see, step, change)


@scenario
def order_of_an_ordered_dict(C: Any, see: Any) -> None:
    d = OrderedDict(a=2.0, b=3.0)

    def step(x: Any) -> Any:
        for v in d.values():
            x = x * v + 1
        return x

    drive(C, see, step, lambda k: d.move_to_end("a") if k in (5, 8) else None)


@scenario
def ordered_dict_written(C: Any, see: Any) -> None:
    d: OrderedDict[str, Any] = OrderedDict(a=2.0)

    def step(x: Any) -> Any:
        d["last"] = x.sum()
        d.pop("old", None)
        return x * d["a"]

    def change(k: int) -> None:
        if k == 4:
            d["old"] = k

    drive(C, see, step, change, d)
    see(list(d.items()), list(d), len(d))


@scenario
def ordered_dict_moved_inside(C: Any, see: Any) -> None:
    d: OrderedDict[str, Any] = OrderedDict(a=np.ones(3), b=np.full(3, 2.0), c=np.full(3, 3.0))

    def step(x: Any) -> Any:
        first = next(iter(d))
        d.move_to_end(first)
        return x * d[first]

    drive(C, see, step, None, d)
    see(list(d))


@scenario
def dict_key_moved_inside(C: Any, see: Any) -> None:
    d = {"a": np.ones(3), "b": np.full(3, 2.0), "c": np.full(3, 3.0)}

    def step(x: Any) -> Any:
        first = next(iter(d))
        d[first] = d.pop(first)
        return x * d[first]

    drive(C, see, step, None, d)
    see(list(d))


@scenario
def keys_of_another_type(C: Any, see: Any) -> None:
    d: dict[Any, Any] = {1: 2.0}

    def change(k: int) -> None:
        if k == 5:
            d.clear()
            d[True] = 2.0

    drive(C, see, lambda x: [x * v if k is True else x + v for k, v in d.items()], change)


@scenario
def set_of_equal_values(C: Any, see: Any) -> None:
    s = SimpleNamespace(s={1})

    def change(k: int) -> None:
        if k == 5:
            s.s.clear()
            s.s.add(True)
        if k == 7:
            s.s = {1.0}

    drive(C, see, lambda x: [type(v) for v in s.s] and [x * 2 if v is True else x for v in s.s], change)


@scenario
def set_that_changes(C: Any, see: Any) -> None:
    frozen = {"a"}

    def change(k: int) -> None:
        if k == 4:
            frozen.add("b")
        if k == 7:
            frozen.remove("a")

    drive(C, see, lambda x: x * (0.0 if "a" in frozen else 1.0) + (0.0 if "b" in frozen else 1.0), change)


@scenario
def default_dict(C: Any, see: Any) -> None:
    d: defaultdict[str, Any] = defaultdict(lambda: 2.0)

    def change(k: int) -> None:
        if k == 5:
            d["b"] = 5.0
        if k == 7:
            d.default_factory = lambda: 9.0

    drive(C, see, lambda x: x * d["a"] * d["b"] * d.get("c", 1.0), change, d)


@scenario
def default_dict_with_other_keys(C: Any, see: Any) -> None:
    d: defaultdict[str, Any] = defaultdict(int)

    @C
    def step(x: Any, key: str) -> Any:
        d[key] += 1
        return x * d[key]

    for k in range(12):
        see(step(numbers(k, 3), "abc"[k % 3]), d)


@scenario
def counter(C: Any, see: Any) -> None:
    c: Counter[str] = Counter()

    def step(x: Any) -> Any:
        c["n"] += 1
        c.update(["m"])
        return x * c["n"] + c["missing"]

    drive(C, see, step, lambda k: c.update(missing=1) if k == 6 else None, c)


@scenario
def chain_map(C: Any, see: Any) -> None:
    a, b = {"x": 1.0}, {"x": 2.0, "y": 3.0}
    chain = ChainMap(a, b)

    def change(k: int) -> None:
        if k == 4:
            del a["x"]
        if k == 6:
            b["y"] = 7.0
        if k == 8:
            chain.maps.insert(0, {"y": 11.0})

    drive(C, see, lambda x: x * chain["x"] + chain["y"], change)


@scenario
def user_dict_and_list(C: Any, see: Any) -> None:
    d, items = UserDict({"x": 1.0}), UserList([1.0, 2.0])

    def change(k: int) -> None:
        if k == 4:
            d["x"] = 3.0
        if k == 6:
            items.append(5.0)

    drive(C, see, lambda x: x * d["x"] + sum(items), change)


@scenario
def user_dict_written(C: Any, see: Any) -> None:
    d, items = UserDict(), UserList()

    def step(x: Any) -> Any:
        d["last"] = x * 2
        items.append(x.sum())
        return d["last"]

    drive(C, see, step, None, d.data, items.data)


@scenario
def list_subclass_with_a_mixin(C: Any, see: Any) -> None:
    class Mixin:
        pass

    class Things(list, Mixin, Generic[T]):  # type: ignore[type-arg]
        pass

    things = Things([np.ones(3), 2.0])

    def step(x: Any) -> Any:
        things[0] = things[0] + x
        return things[0] * things[1]

    drive(C, see, step, lambda k: things.__setitem__(1, 2.0 + (k > 4)), things)


@scenario
def list_subclass_with_its_own_getitem(C: Any, see: Any) -> None:
    class FromOne(list):  # type: ignore[type-arg]
        def __getitem__(self, k: Any) -> Any:
            return super().__getitem__(k - 1)

        def __iter__(self) -> Any:
            return iter([])

    things = FromOne([np.ones(3), np.full(3, 2.0)])

    def change(k: int) -> None:
        if k == 5:
            things[0] = np.full(3, 7.0)

    drive(C, see, lambda x: x * things[1] + things[2], change)


@scenario
def dict_subclass_with_its_own_methods(C: Any, see: Any) -> None:
    class Lower(dict):  # type: ignore[type-arg]
        def __getitem__(self, key: str) -> Any:
            return super().__getitem__(key.lower())

        def __setitem__(self, key: str, value: Any) -> None:
            super().__setitem__(key.lower(), value)

        def items(self) -> Any:
            return []

        def values(self) -> Any:
            return []

        def __iter__(self) -> Any:
            return iter([])

        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    d = Lower()
    d["A"] = 1.0

    def step(x: Any) -> Any:
        d["Last"] = x * d["A"]
        return d["last"]

    def change(k: int) -> None:
        if k == 5:
            d["A"] = 3.0

    step = C(step)
    for k in range(8):
        change(k)
        see(step(numbers(k, 3)), dict.__getitem__(d, "last"))


@scenario
def dict_with_a_missing_method(C: Any, see: Any) -> None:
    class Default(dict):  # type: ignore[type-arg]
        scale = 2.0

        def __missing__(self, key: str) -> Any:
            return self.scale

    d = Default()
    drive(C, see, lambda x: x * d["a"], lambda k: setattr(d, "scale", 2.0 + k // 5))


@scenario
def named_tuple_subclass(C: Any, see: Any) -> None:
    class Point(NamedTuple):
        a: float
        b: float

    class Scaled(Point):
        scale = 1.0

        @property
        def total(self) -> Any:
            return (self.a + self.b) * self.scale

    p = Scaled(1.0, 2.0)

    def change(k: int) -> None:
        if k == 4:
            Scaled.scale = 3.0
        if k == 7:
            p.scale = 5.0

    drive(C, see, lambda x: x * p.total, change)


@scenario
def tuple_subclass_with_a_method(C: Any, see: Any) -> None:
    class Pair(tuple):  # type: ignore[type-arg]
        __slots__ = ()

        def first(self) -> Any:
            return self[0] * FACTORS["A"]

    FACTORS["A"] = 1.0
    s = SimpleNamespace(p=Pair((2.0, 3.0)))
    drive(C, see, lambda x: x * s.p.first(), lambda k: FACTORS.update(A=1.0 + (k > 4)))


@scenario
def frozen_set_with_objects(C: Any, see: Any) -> None:
    class Item:
        scale = 1.0

    item = Item()
    s = frozenset({item})
    drive(C, see, lambda x: x * sum(i.scale for i in s), lambda k: setattr(item, "scale", 1.0 + (k > 4)))


@scenario
def attribute_added_to_a_subclass(C: Any, see: Any) -> None:
    class A:
        scale = 1.0

    class B(A):
        pass

    b = B()

    def change(k: int) -> None:
        if k == 4:
            B.scale = 3.0
        if k == 7:
            del B.scale

    drive(C, see, lambda x: x * b.scale, change)


@scenario
def method_added_to_a_subclass(C: Any, see: Any) -> None:
    class A:
        def f(self, x: Any) -> Any:
            return x * 2

    class B(A):
        pass

    b = B()
    drive(C, see, lambda x: b.f(x), lambda k: setattr(B, "f", lambda self, x: x * 5) if k == 4 else None)


@scenario
def metaclass_attribute(C: Any, see: Any) -> None:
    class Meta(type):
        scale = 1.0

        @property
        def twice(cls) -> Any:
            return cls.scale * 2

    class A(metaclass=Meta):
        pass

    drive(C, see, lambda x: x * A.scale * A.twice, lambda k: setattr(Meta, "scale", 1.0 + k // 4))


@scenario
def descriptor(C: Any, see: Any) -> None:
    class Scaled:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        def __get__(self, obj: Any, kind: Any = None) -> Any:
            return obj.value * self.factor if obj is not None else self

        def __set__(self, obj: Any, value: Any) -> None:
            obj.value = value

    d = Scaled(2.0)

    class A:
        rate = d

    a = A()
    a.rate = 1.0

    def change(k: int) -> None:
        if k == 4:
            d.factor = 3.0
        if k == 7:
            a.rate = 5.0

    drive(C, see, lambda x: x * a.rate, change)


@scenario
def getattr_method(C: Any, see: Any) -> None:
    class Config:
        def __init__(self) -> None:
            self._data = {"lr": 1.0}

        def __getattr__(self, name: str) -> Any:
            try:
                return self.__dict__["_data"][name]
            except KeyError:
                raise AttributeError(name) from None

    c = Config()
    drive(C, see, lambda x: x * c.lr, lambda k: c._data.update(lr=1.0 + (k > 4)))


@scenario
def getattribute_method(C: Any, see: Any) -> None:
    class Config:
        lr = 1.0

        def __getattribute__(self, name: str) -> Any:
            value = object.__getattribute__(self, name)
            return value * FACTORS["A"] if name == "lr" else value

    FACTORS["A"] = 1.0
    c = Config()
    drive(C, see, lambda x: x * c.lr, lambda k: FACTORS.update(A=1.0 + (k > 4)))


@scenario
def slots_with_inheritance(C: Any, see: Any) -> None:
    class A:
        __slots__ = ("__hidden", "a")

        def __init__(self) -> None:
            self.a, self.__hidden = 1.0, 2.0

        def hide(self, v: float) -> None:
            self.__hidden = v

        def total(self) -> Any:
            return self.a + self.__hidden

    class B(A):
        __slots__ = ("b",)

    s = B()

    def change(k: int) -> None:
        if k == 3:
            s.a = 4.0
        if k == 5:
            s.hide(7.0)
        if k == 7:
            s.b = 3.0

    drive(C, see, lambda x: x * s.total() + getattr(s, "b", 0.0), change)


@scenario
def data_class_with_slots_and_factories(C: Any, see: Any) -> None:
    @dataclasses.dataclass(slots=True)
    class Config:
        rate: float = 1.0
        extra: list[float] = dataclasses.field(default_factory=list)
        kind: ClassVar[float] = 2.0

    c = Config()

    def change(k: int) -> None:
        if k == 3:
            c.rate = 2.0
        if k == 5:
            c.extra.append(3.0)
        if k == 7:
            Config.kind = 5.0

    drive(C, see, lambda x: x * c.rate * c.kind + sum(c.extra), change)


@scenario
def frozen_data_class_replaced(C: Any, see: Any) -> None:
    @dataclasses.dataclass(frozen=True)
    class Config:
        rate: float = 1.0
        kind: str = "a"

    s = SimpleNamespace(c=Config())

    def change(k: int) -> None:
        if k >= 3:
            s.c = dataclasses.replace(s.c, rate=float(k))
        if k == 6:
            s.c = dataclasses.replace(s.c, kind="b")

    drive(C, see, lambda x: x * s.c.rate + (1.0 if s.c.kind == "b" else 0.0), change)


@scenario
def data_class_replaced_inside(C: Any, see: Any) -> None:
    @dataclasses.dataclass
    class State:
        value: Any
        n: int = 0
        note: str = "x"

    s = SimpleNamespace(now=State(np.zeros(3)))

    def step(x: Any) -> Any:
        s.now = dataclasses.replace(s.now, value=s.now.value + x, n=s.now.n + 1)
        return s.now.value.sum()

    def change(k: int) -> None:
        if k == 5:
            s.now.note = "y"

    drive(C, see, step, change, s)


@scenario
def fields_of_a_data_class(C: Any, see: Any) -> None:
    @dataclasses.dataclass
    class Config:
        a: float = 1.0
        b: float = 2.0

    c = Config()
    drive(
        C, see, lambda x: x * sum(getattr(c, f.name) for f in dataclasses.fields(c)),
        lambda k: setattr(c, "b", 2.0 + (k > 4)),
    )  # fmt: skip


@scenario
def text_of_an_object(C: Any, see: Any) -> None:
    @dataclasses.dataclass
    class Config:
        kind: str = "a"

    c = Config()
    drive(
        C,
        see,
        lambda x: x * len(f"{c}") * (2.0 if "'b'" in str(c) else 1.0),
        lambda k: setattr(c, "kind", "ab"[k // 5]),
    )


@scenario
def objects_compared(C: Any, see: Any) -> None:
    @dataclasses.dataclass
    class Pair:
        p: int
        q: int

    a, b = Pair(1, 2), Pair(1, 2)
    drive(C, see, lambda x: x * 2 if a == b else x, lambda k: setattr(b, "q", 3) if k == 5 else None)


@scenario
def class_pattern(C: Any, see: Any) -> None:
    @dataclasses.dataclass
    class Linear:
        slope: float

    s = SimpleNamespace(kind=Linear(1.0))

    def step(x: Any) -> Any:
        match s.kind:
            case Linear(a):
                return x * a
            case _:
                return x

    drive(C, see, step, lambda k: setattr(s.kind, "slope", 1.0 + (k > 4)))


@scenario
def copies_of_an_object(C: Any, see: Any) -> None:
    import copy

    s = SimpleNamespace(a=1.0, unread=2.0)

    def step(x: Any) -> Any:
        c = copy.copy(s)
        c.a = x * c.a
        return c

    drive(C, see, step, lambda k: setattr(s, "unread", 2.0 + (k > 4)))


@scenario
def attribute_names_in_an_object(C: Any, see: Any) -> None:
    s = SimpleNamespace(alpha=1.0, beta=2.0)
    which = ["alpha"]
    get = {"f": operator.attrgetter("alpha")}

    def change(k: int) -> None:
        if k == 4:
            s.alpha = 3.0
        if k == 7:
            which[0] = "beta"

    drive(C, see, lambda x: x * getattr(s, which[0]) + get["f"](s), change)


@scenario
def attrgetter_made_outside(C: Any, see: Any) -> None:
    s, get, call = SimpleNamespace(alpha=1.0), operator.attrgetter("alpha"), operator.methodcaller("scale", 2.0)

    class A:
        factor = 1.0

        def scale(self, v: float) -> Any:
            return self.factor * v

    a = A()

    def change(k: int) -> None:
        if k == 4:
            s.alpha = 3.0
        if k == 7:
            a.factor = 5.0

    drive(C, see, lambda x: x * get(s) * call(a), change)


@scenario
def setattr_with_computed_names(C: Any, see: Any) -> None:
    s = SimpleNamespace(last_a=None, n_a=0)

    @C
    def step(x: Any, name: str) -> Any:
        setattr(s, "last_" + name, x * 2)
        setattr(s, "n_" + name, 5)
        return x.sum()

    for k in range(7):
        if k == 4:
            s.n_a = 0
        see(step(numbers(k, 3), "a"), s)


@scenario
def weak_references(C: Any, see: Any) -> None:
    class Config:
        scale = 1.0

    c, d = Config(), Config()
    s = SimpleNamespace(ref=weakref.ref(c), proxy=weakref.proxy(c))

    def change(k: int) -> None:
        if k == 3:
            c.scale = 2.0
        if k == 5:
            s.ref = weakref.ref(d)
        if k == 7:
            d.scale = 3.0

    drive(C, see, lambda x: x * s.ref().scale * s.proxy.scale, change)


@scenario
def weak_dictionaries(C: Any, see: Any) -> None:
    class Key:
        pass

    k1, values = Key(), weakref.WeakKeyDictionary[Any, Any]()
    values[k1] = 1.0
    drive(C, see, lambda x: x * values[k1], lambda k: values.__setitem__(k1, 1.0 + (k > 4)))


@scenario
def decorated_function(C: Any, see: Any) -> None:
    def scaled(f: Any) -> Any:
        @functools.wraps(f)
        def inner(*args: Any) -> Any:
            inner.calls += 1  # type: ignore[attr-defined]
            return f(*args) * inner.calls  # type: ignore[attr-defined]

        inner.calls = 0  # type: ignore[attr-defined]
        return inner

    @scaled
    def step(x: Any) -> Any:
        return x * 2

    compiled = C(step)
    for k in range(8):
        see(compiled(numbers(k, 3)), step.calls)


@scenario
def lru_cache(C: Any, see: Any) -> None:
    s = SimpleNamespace(scale=1.0)

    @functools.lru_cache
    def table(n: int) -> Any:
        return np.arange(n) * s.scale

    def change(k: int) -> None:
        if k == 4:
            s.scale = 2.0
        if k == 7:
            table.cache_clear()

    drive(C, see, lambda x: x * table(3), change)


@scenario
def lru_cache_of_numbers(C: Any, see: Any) -> None:
    s = SimpleNamespace(scale=1.0)

    @functools.lru_cache
    def factor(n: int) -> Any:
        return n * s.scale

    factor(3)

    def change(k: int) -> None:
        if k == 4:
            s.scale = 2.0
        if k == 7:
            factor.cache_clear()

    drive(C, see, lambda x: x * factor(3), change)


@scenario
def partial_method(C: Any, see: Any) -> None:
    class A:
        scale = 1.0

        def f(self, x: Any, k: Any) -> Any:
            return x * k[0] * self.scale

        items = [2.0]  # noqa: RUF012
        twice = functools.partialmethod(f, k=items)

    a = A()

    def change(k: int) -> None:
        if k == 4:
            A.items[0] = 3.0
        if k == 7:
            a.scale = 5.0

    drive(C, see, lambda x: a.twice(x), change)


@scenario
def single_dispatch(C: Any, see: Any) -> None:
    s = SimpleNamespace(scale=1.0)

    @functools.singledispatch
    def f(x: Any) -> Any:
        return x

    @f.register
    def _(x: np.ndarray) -> Any:  # type: ignore[type-arg]
        return x * s.scale

    def change(k: int) -> None:
        if k == 4:
            s.scale = 3.0
        if k == 7:
            f.register(np.ndarray, lambda x: x * 100)

    drive(C, see, lambda x: f(x), change)


@scenario
def single_dispatch_on_a_config(C: Any, see: Any) -> None:
    class A:
        pass

    class B(A):
        pass

    @functools.singledispatch
    def factor(c: Any) -> float:
        return 1.0

    factor.register(A, lambda c: 2.0)

    b = B()

    def change(k: int) -> None:
        if k == 5:
            factor.register(B, lambda c: 5.0)

    drive(C, see, lambda x: x * factor(b), change)


@scenario
def property_on_a_base_class_replaced(C: Any, see: Any) -> None:
    class A:
        @property
        def scale(self) -> float:
            return 1.0

    class B(A):
        pass

    b = B()
    drive(C, see, lambda x: x * b.scale, lambda k: setattr(A, "scale", property(lambda self: 4.0)) if k == 4 else None)


@scenario
def super_through_a_hierarchy(C: Any, see: Any) -> None:
    class A:
        k = 1.0

        def f(self, x: Any) -> Any:
            return x * self.k

    class B(A):
        def f(self, x: Any) -> Any:
            return super().f(x) + 1

    class D(B):
        def f(self, x: Any) -> Any:
            return super().f(x) * 2

    d = D()

    def change(k: int) -> None:
        if k == 3:
            A.k = 2.0
        if k == 5:
            A.f = lambda self, x: x * 7  # type: ignore[method-assign,assignment]
        if k == 7:
            D.__bases__ = (A,)

    drive(C, see, lambda x: d.f(x), change)


@scenario
def vectorized_function(C: Any, see: Any) -> None:
    s = SimpleNamespace(scale=1.0)
    table = np.vectorize(lambda v: v * s.scale)
    drive(C, see, lambda x: x * table(np.arange(3.0)), lambda k: setattr(s, "scale", 1.0 + (k > 4)))


@scenario
def polynomial(C: Any, see: Any) -> None:
    p = np.polynomial.Polynomial([1.0, 2.0])

    def change(k: int) -> None:
        if k == 4:
            p.coef[0] = 5.0
        if k == 7:
            p.coef = np.array([0.0, 1.0])

    drive(C, see, lambda x: x * p(2.0), change)


@scenario
def array_of_objects(C: Any, see: Any) -> None:
    a = np.array([1.0, "b", None], dtype=object)
    drive(C, see, lambda x: x * a[0] if a[2] is None else x, lambda k: a.__setitem__(0 if k < 7 else 2, 1.0 + (k > 4)))


@scenario
def array_of_texts(C: Any, see: Any) -> None:
    a = np.array(["up", "down"])
    drive(C, see, lambda x: x * 2 if a[0] == "up" else -x, lambda k: a.__setitem__(0, "up" if k < 5 else "no"))


@scenario
def array_of_dates_and_records(C: Any, see: Any) -> None:
    days = np.array(["2020-01-01"], dtype="datetime64[D]")
    records = np.array([(1.0, 2)], dtype=[("a", float), ("b", int)])

    def change(k: int) -> None:
        if k == 4:
            days[0] = "2020-01-05"
        if k == 7:
            records["a"][0] = 4.0

    drive(C, see, lambda x: x * float(days.astype(int)[0]) + float(records["a"][0]), change)


@scenario
def record_array_as_state(C: Any, see: Any) -> None:
    r = np.rec.array([(1.0, 2.0)], dtype=[("a", float), ("b", float)])
    drive(C, see, lambda x: x * r.a[0] + float(r.b.sum()), lambda k: r.a.__setitem__(0, 1.0 + (k > 4)))


@scenario
def array_subclass_as_state(C: Any, see: Any) -> None:
    class Sub(np.ndarray):  # type: ignore[type-arg]
        pass

    a = np.ones(3).view(Sub)
    drive(C, see, lambda x: float(a.sum()) * x, lambda k: a.__setitem__(0, 1.0 + (k > 4)))


@scenario
def buffers_of_bytes(C: Any, see: Any) -> None:
    import array

    b, a = bytearray(b"ab"), array.array("d", [1.0, 2.0])
    view = memoryview(a)

    def change(k: int) -> None:
        if k == 4:
            b[0] = 200
        if k == 7:
            a[1] = 9.0

    drive(C, see, lambda x: x * b[0] + a[1] + view[1], change)


@scenario
def function_in_a_class_dictionary(C: Any, see: Any) -> None:
    class Registry:
        functions: ClassVar[dict[str, Any]] = {}

        @classmethod
        def register(cls, f: Any) -> Any:
            cls.functions[f.__name__] = f
            return f

    @Registry.register
    def act(x: Any) -> Any:
        return x * 2

    drive(
        C, see, lambda x: Registry.functions["act"](x),
        lambda k: Registry.functions.update(act=lambda x: x * 5) if k == 5 else None,
    )  # fmt: skip


@scenario
def numpy_function_patched(C: Any, see: Any) -> None:
    original = np.tanh

    def change(k: int) -> None:
        if k == 4:
            np.tanh = lambda x: x * 5  # type: ignore[assignment,misc]
        if k == 7:
            np.tanh = original  # type: ignore[misc]

    try:
        drive(C, see, lambda x: np.tanh(x), change)
    finally:
        np.tanh = original  # type: ignore[misc]


@scenario
def library_function_patched(C: Any, see: Any) -> None:
    from minigrad import functional as F

    original = F.softplus

    def change(k: int) -> None:
        if k == 4:
            F.softplus = lambda x: x * 5  # type: ignore[assignment]
        if k == 7:
            F.softplus = original

    try:
        drive(C, see, lambda x: F.softplus(mg.asarray(x)), change)
    finally:
        F.softplus = original


@scenario
def layer_class_patched(C: Any, see: Any) -> None:
    layer, original = nn.Linear(3, 2, rng=0), nn.Linear.forward

    def change(k: int) -> None:
        if k == 4:
            nn.Linear.forward = lambda self, x: x * 5  # type: ignore[method-assign,assignment]
        if k == 7:
            nn.Linear.forward = original  # type: ignore[method-assign]

    try:
        drive(C, see, lambda x: layer(mg.asarray(x)), change)
    finally:
        nn.Linear.forward = original  # type: ignore[method-assign]


@scenario
def method_of_tensors_patched(C: Any, see: Any) -> None:
    original = mg.Tensor.sum
    w = weight(3)

    def change(k: int) -> None:
        if k == 4:
            mg.Tensor.sum = lambda self, *a, **o: original(self, *a, **o) * 2  # type: ignore[method-assign]
        if k == 7:
            mg.Tensor.sum = original  # type: ignore[method-assign]

    try:
        drive(C, see, lambda x: (w * x).sum(), change)
    finally:
        mg.Tensor.sum = original  # type: ignore[method-assign]


@scenario
def math_function_patched(C: Any, see: Any) -> None:
    import math

    original = math.sqrt

    def change(k: int) -> None:
        if k == 4:
            math.sqrt = lambda v: 10.0  # type: ignore[assignment]
        if k == 7:
            math.sqrt = original

    try:
        drive(C, see, lambda x: x * math.sqrt(4.0), change)
    finally:
        math.sqrt = original


@scenario
def builtin_hidden(C: Any, see: Any) -> None:
    scope: dict[str, Any] = {}
    exec("def step(x):\n    return x * max(1.0, 2.0)\n", scope)

    def change(k: int) -> None:
        if k == 4:
            scope["max"] = min
        if k == 7:
            del scope["max"]

    drive(C, see, scope["step"], change)


@scenario
def global_that_was_missing(C: Any, see: Any) -> None:
    scope: dict[str, Any] = {}
    text = "def step(x):\n    try:\n        return x * late\n    except NameError:\n        return x\n"
    exec(text, scope)
    drive(C, see, scope["step"], lambda k: scope.update(late=4.0) if k == 5 else None)


@scenario
def fractions_and_decimals(C: Any, see: Any) -> None:
    s = SimpleNamespace(f=Fraction(1, 2))
    drive(C, see, lambda x: x * float(s.f), lambda k: setattr(s, "f", Fraction(1 + k // 4, 2)))


@scenario
def deque_read(C: Any, see: Any) -> None:
    d = deque([1.0, 2.0], maxlen=3)

    def change(k: int) -> None:
        if k == 3:
            d.append(5.0)
        if k == 5:
            d.rotate(1)
        if k == 7:
            d.appendleft(9.0)

    drive(C, see, lambda x: x * d[0] + sum(d), change)


@scenario
def collections_abc_mapping(C: Any, see: Any) -> None:
    class Map(collections.abc.Mapping[str, Any]):
        def __init__(self) -> None:
            self._d = {"a": 1.0}

        def __getitem__(self, key: str) -> Any:
            return self._d[key]

        def __iter__(self) -> Any:
            return iter(self._d)

        def __len__(self) -> int:
            return len(self._d)

    m = Map()
    drive(
        C, see, lambda x: x * m["a"] + len(m), lambda k: m._d.update({"a": 1.0 + (k > 4)} | ({"b": 1} if k > 6 else {}))
    )


@scenario
def closures_over_a_loop_variable(C: Any, see: Any) -> None:
    functions = []
    for j in range(3):
        functions.append(lambda x: x * (j + 1))  # noqa: B023, PERF401
    step = C(lambda x: sum(f(x) for f in functions))
    for j in (2, 2, 2, 5, 5, 7, 7):
        see(step(numbers(j, 3)))


@scenario
def mutable_default_that_the_user_changes(C: Any, see: Any) -> None:
    def step(x: Any, scale: Any = [1.0], *, more: Any = {"a": 1.0}) -> Any:  # noqa: B006
        return x * scale[0] + more["a"]

    def change(k: int) -> None:
        if k == 4:
            step.__defaults__[0][0] = 3.0  # type: ignore[index]
        if k == 7:
            step.__kwdefaults__["more"]["a"] = 5.0

    drive(C, see, step, change)
