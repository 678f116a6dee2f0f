"""Objects that a step reads its options from, of every kind, changed between calls."""

from __future__ import annotations

import enum
import functools
from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass, field, replace
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from scenarios.parts import numbers
from scenarios.scenario import scenario

SCALE = 2.0
TABLE = {"scale": 2.0}
Point = namedtuple("Point", "x y")


class Kind(enum.Enum):
    LINEAR = 1
    SQUARE = 2


def watch(C: Any, see: Any, function: Any, change: Any, calls: int = 9) -> None:
    """Call change(k) and the compiled function, and look at the results."""
    step = C(function)
    for k in range(calls):
        change(k)
        see(step(mg.asarray(numbers(k, 3))))


@scenario
def dict_value(C: Any, see: Any) -> None:
    c = {"a": 1.0, "b": {"c": 2}}
    watch(C, see, lambda x: x * c["a"] + c["b"]["c"], lambda k: c.update(a=float(k // 3)))


@scenario
def nested_dict(C: Any, see: Any) -> None:
    c = {"a": {"b": {"c": 1.0}}}
    watch(C, see, lambda x: x * c["a"]["b"]["c"], lambda k: c["a"].update(b={"c": k // 3 + 0.5}))


@scenario
def dict_gets_a_key(C: Any, see: Any) -> None:
    c: dict[str, float] = {}
    watch(C, see, lambda x: x * c.get("scale", 1.0), lambda k: c.update(scale=3.0) if k == 4 else None)


@scenario
def sum_over_a_dict(C: Any, see: Any) -> None:
    c = {"one": 1.0}

    def change(k: int) -> None:
        if k in (3, 5):
            c[f"k{k}"] = 0.5
        if k == 7:
            del c["one"]

    watch(C, see, lambda x: sum((x * v for v in c.values()), 0.0 * x), change)


@scenario
def key_tested(C: Any, see: Any) -> None:
    c = {"a"}
    watch(C, see, lambda x: x * 2 if "b" in c else x, lambda k: (c.add, c.discard)[k % 4 == 3]("b"))


@scenario
def list_element(C: Any, see: Any) -> None:
    c = [1.0, 2.0]
    watch(C, see, lambda x: x * c[-1], lambda k: c.append(k + 0.5) if k in (3, 6) else None)


@scenario
def list_length(C: Any, see: Any) -> None:
    c: list[str] = []
    watch(C, see, lambda x: x * len(c), lambda k: c.append("x") if k in (3, 6) else None)


@scenario
def truth_of_a_list(C: Any, see: Any) -> None:
    c: list[int] = []
    watch(C, see, lambda x: x * 2 if c else x, lambda k: c.append(k) if k == 4 else None)


@scenario
def list_sorted_by_the_user(C: Any, see: Any) -> None:
    c = [3, 1, 2]
    watch(C, see, lambda x: x[c[0] - 1] * x, lambda k: c.sort() if k == 4 else None)


@scenario
def tuple_replaced(C: Any, see: Any) -> None:
    s = SimpleNamespace(betas=(0.9, 0.99))
    watch(C, see, lambda x: x * s.betas[0] - s.betas[1], lambda k: setattr(s, "betas", (0.9, 0.99 if k < 4 else 0.5)))


@scenario
def named_tuple(C: Any, see: Any) -> None:
    s = SimpleNamespace(p=Point(1.0, 2.0))
    watch(C, see, lambda x: x * s.p.x + s.p.y, lambda k: setattr(s, "p", s.p._replace(y=float(k // 4))))


@scenario
def data_class(C: Any, see: Any) -> None:
    @dataclass
    class Config:
        scale: float = 1.0
        sizes: list[int] = field(default_factory=lambda: [1, 2])

    c = Config()

    def change(k: int) -> None:
        if k == 3:
            c.scale = 4.0
        if k == 6:
            c.sizes[1] = 7

    watch(C, see, lambda x: x * c.scale + c.sizes[1], change)


@scenario
def frozen_data_class(C: Any, see: Any) -> None:
    @dataclass(frozen=True, slots=True)
    class Config:
        scale: float = 1.0
        name: str = "tanh"

    s = SimpleNamespace(c=Config())

    def change(k: int) -> None:
        if k in (3, 6):
            s.c = replace(s.c, scale=3.0, name="tanh" if k == 3 else "sin")

    watch(C, see, lambda x: getattr(mg, s.c.name)(x) * s.c.scale, change)


@scenario
def frozen_argument(C: Any, see: Any) -> None:
    @dataclass(frozen=True)
    class Config:
        scale: float

    step = C(lambda x, c: mg.asarray(x) * c.scale)
    for k in range(8):
        see(step(numbers(k, 3), Config(1.0 + k // 3)))


@scenario
def enum_member(C: Any, see: Any) -> None:
    s = SimpleNamespace(kind=Kind.LINEAR)
    watch(C, see, lambda x: x * x if s.kind is Kind.SQUARE else x, lambda k: setattr(s, "kind", list(Kind)[k % 4 == 3]))


@scenario
def class_attribute(C: Any, see: Any) -> None:
    class Config:
        scale = 1.0

        def apply(self, x: Any) -> Any:
            return x * self.scale

    c = Config()

    def change(k: int) -> None:
        if k == 3:
            Config.scale = 2.0
        if k == 6:
            c.scale = 5.0

    watch(C, see, lambda x: c.apply(x), change)


@scenario
def inherited_attribute(C: Any, see: Any) -> None:
    class Base:
        scale = 1.0

    class Config(Base):
        pass

    watch(C, see, lambda x: x * Config.scale, lambda k: setattr(Base, "scale", float(k // 3)))


@scenario
def property_over_a_private_attribute(C: Any, see: Any) -> None:
    class Config:
        def __init__(self) -> None:
            self._scale = 1.0

        @property
        def scale(self) -> float:
            return self._scale * 2

    c = Config()
    watch(C, see, lambda x: x * c.scale, lambda k: setattr(c, "_scale", float(k // 3)))


@scenario
def slots(C: Any, see: Any) -> None:
    class Config:
        __slots__ = ("_hidden", "scale")

    c = Config()
    c.scale = c._hidden = 1.0
    watch(C, see, lambda x: x * c.scale + c._hidden, lambda k: setattr(c, "_hidden" if k % 2 else "scale", k // 2))


@scenario
def computed_getattr(C: Any, see: Any) -> None:
    class Config:
        def __init__(self) -> None:
            self.values = {"a": 1.0}

        def __getattr__(self, name: str) -> Any:
            return self.values[name]

    c = Config()
    watch(C, see, lambda x: x * c.a, lambda k: c.values.update(a=float(k // 3)))


@scenario
def attribute_dict(C: Any, see: Any) -> None:
    class Config(dict[str, Any]):
        __getattr__ = dict.__getitem__

    c = Config(scale=1.0)
    watch(C, see, lambda x: x * c.scale, lambda k: c.update(scale=float(k // 3)))


@scenario
def vars_of_an_object(C: Any, see: Any) -> None:
    c = SimpleNamespace(a=1.0, b=2.0)
    watch(C, see, lambda x: x * sum(vars(c).values()), lambda k: setattr(c, "abc"[k % 3], float(k)))


@scenario
def special_mappings(C: Any, see: Any) -> None:
    inner, other = {"a": 1.0}, OrderedDict(b=2.0)
    view, missing = MappingProxyType(inner), defaultdict(float)

    def change(k: int) -> None:
        if k == 3:
            inner["a"] = 3.0
        if k == 5:
            other["b"] = 4.0
        if k == 7:
            missing["c"] = 5.0

    watch(C, see, lambda x: x * view["a"] + other["b"] + missing.get("c", 0.0), change, 10)


@scenario
def module_global(C: Any, see: Any) -> None:
    global SCALE

    def step(x: Any) -> Any:
        return x * SCALE + TABLE["scale"]

    compiled = C(step)
    try:
        for k in range(9):
            SCALE = float(k // 3)
            TABLE["scale"] = 1.0 if k < 5 else 9.0
            see(compiled(numbers(k, 3)))
    finally:
        SCALE, TABLE["scale"] = 2.0, 2.0


@scenario
def mutable_default(C: Any, see: Any) -> None:
    defaults = {"scale": 1.0}

    def step(x: Any, options: Any = defaults, *, shift: Any = [0.0]) -> Any:  # noqa: B006
        return x * options["scale"] + shift[0]

    def change(k: int) -> None:
        if k == 3:
            defaults["scale"] = 3.0
        if k == 6:
            step.__kwdefaults__["shift"][0] = 5.0

    watch(C, see, step, change)


@scenario
def defaults_replaced(C: Any, see: Any) -> None:
    def step(x: Any, scale: float = 2.0) -> Any:
        return x * scale

    watch(C, see, lambda x: step(x), lambda k: setattr(step, "__defaults__", (float(k // 3),)))


@scenario
def partial_with_an_object(C: Any, see: Any) -> None:
    c = SimpleNamespace(scale=1.0)
    function = functools.partial(lambda c, x, shift: x * c.scale + shift, c, shift=1.0)
    watch(C, see, function, lambda k: setattr(c, "scale", float(k // 3)))


@scenario
def nonlocal_number(C: Any, see: Any) -> None:
    scale, shift = 1.0, 0

    @C
    def step(x: Any) -> Any:
        return x * scale + shift

    for k in range(9):
        if k == 3:
            scale = 2.0
        if k == 6:
            shift = -1
        see(step(numbers(k, 3)))


@scenario
def function_rebound(C: Any, see: Any) -> None:
    activation = mg.tanh

    @C
    def step(x: Any) -> Any:
        return activation(mg.asarray(x))

    for k in range(9):
        if k == 3:
            activation = mg.sin
        if k == 6:
            activation = lambda x: x * k  # noqa: B023
        see(step(numbers(k, 3)))


@scenario
def functions_in_a_dict(C: Any, see: Any) -> None:
    table = {"act": np.tanh}
    watch(C, see, lambda x: table["act"](x), lambda k: table.update(act=np.sin) if k == 4 else None)


@scenario
def inner_closure(C: Any, see: Any) -> None:
    def make() -> Any:
        scale = 1.0

        def get() -> float:
            return scale

        def put(value: float) -> None:
            nonlocal scale
            scale = value

        return get, put

    get, put = make()
    watch(C, see, lambda x: x * get(), lambda k: put(float(k // 3)))


@scenario
def callable_object(C: Any, see: Any) -> None:
    class Loss:
        def __init__(self) -> None:
            self.power = 2

        def __call__(self, x: Any) -> Any:
            return (x**self.power).sum()

    loss = Loss()
    watch(C, see, loss, lambda k: setattr(loss, "power", 2 + k // 3))


@scenario
def class_and_static_methods(C: Any, see: Any) -> None:
    class Net:
        scale = 1.0

        @classmethod
        def scaled(cls, x: Any) -> Any:
            return x * cls.scale

        @staticmethod
        def shifted(x: Any, by: float = 1.0) -> Any:
            return x + by

    def change(k: int) -> None:
        if k == 3:
            Net.scale = 4.0
        if k == 6:
            Net.shifted = staticmethod(lambda x: x - 1)

    watch(C, see, lambda x: Net.shifted(Net.scaled(x)), change)


@scenario
def method_replaced_on_the_class(C: Any, see: Any) -> None:
    class Net:
        def apply(self, x: Any) -> Any:
            return x * 2

    net = Net()

    def change(k: int) -> None:
        if k == 3:
            Net.apply = lambda self, x: x * 3  # type: ignore[method-assign]
        if k == 6:
            net.apply = lambda x: x * 4  # type: ignore[method-assign]

    watch(C, see, lambda x: net.apply(x), change)


@scenario(functions=3)
def decorated_methods_of_several_instances(C: Any, see: Any) -> None:
    class Net:
        def __init__(self, scale: float) -> None:
            self.scale, self.seen = scale, np.zeros(3)

        @C
        def step(self, x: Any) -> Any:
            self.seen += x
            return self.seen * self.scale

    nets = [Net(1.0), Net(2.0), Net(3.0)]
    for k in range(10):
        if k == 5:
            nets[0].scale = 10.0
        see([net.step(numbers(k, 3)) for net in nets], [net.seen for net in nets])


@scenario
def class_of_an_instance_changed(C: Any, see: Any) -> None:
    class A:
        def apply(self, x: Any) -> Any:
            return x + 1

    class B(A):
        def apply(self, x: Any) -> Any:
            return x - 1

    a = A()
    watch(C, see, lambda x: a.apply(x), lambda k: setattr(a, "__class__", B if k >= 4 else A))


@scenario
def float_and_int_and_bool(C: Any, see: Any) -> None:
    s = SimpleNamespace(v=1)
    values = [1, 1, 1.0, True, np.float32(1), np.float64(1), 1, False, 0.0, -0.0]
    watch(C, see, lambda x: x.astype(np.float32) * s.v, lambda k: setattr(s, "v", values[k]), len(values))


@scenario
def zero_and_minus_zero(C: Any, see: Any) -> None:
    s = SimpleNamespace(v=0.0)
    watch(C, see, lambda x: mg.copysign(x, s.v), lambda k: setattr(s, "v", [0.0, 0.0, -0.0, 0.0, -0.0][k % 5]))


@scenario
def none_becomes_an_array(C: Any, see: Any) -> None:
    s = SimpleNamespace(mask=None)
    watch(
        C, see, lambda x: x if s.mask is None else x * s.mask,
        lambda k: setattr(s, "mask", None if k < 3 else np.array([1.0, 0.0, k // 6])),
    )  # fmt: skip


@scenario
def label_smoothing_and_strings(C: Any, see: Any) -> None:
    s = SimpleNamespace(smoothing=0.1, reduction="mean")

    def change(k: int) -> None:
        s.smoothing = 0.1 * (k // 2)
        s.reduction = "mean" if k < 4 else "sum"

    def step(x: Any) -> Any:
        return F.cross_entropy(mg.stack([x, -x]), np.array([0, 2]), label_smoothing=s.smoothing, reduction=s.reduction)

    watch(C, see, step, change)


@scenario
def array_in_a_config(C: Any, see: Any) -> None:
    c = {"w": np.ones(3), "list": [np.zeros(3)]}

    def change(k: int) -> None:
        if k == 3:
            c["w"] = np.full(3, 2.0)
        if k == 5:
            c["list"][0] = np.full(3, 7.0)
        if k == 7:
            c["w"] = 3.0

    watch(C, see, lambda x: x * c["w"] + c["list"][0], change)


@scenario
def range_and_slice(C: Any, see: Any) -> None:
    s = SimpleNamespace(rows=range(2), part=slice(0, 2))

    def change(k: int) -> None:
        s.rows = range(2 + k // 3)
        s.part = slice(0, 1 + k // 4)

    watch(C, see, lambda x: sum((x[s.part] * r for r in s.rows), 0 * x[s.part]), change)
