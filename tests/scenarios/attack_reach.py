"""Kinds of silent differences that were found by looking for what a step can read and the walk did not see."""

from __future__ import annotations

import abc
import array
import ast
import cmd
import collections
import dataclasses
import functools
import itertools
import random
import re
import string
import types
import typing
import weakref
from collections.abc import Iterable, Sized
from typing import Any

import numpy as np

from minigrad import nn, optim
from scenarios.attack_state import drive
from scenarios.parts import numbers
from scenarios.scenario import scenario


def after(when: int, change: Any) -> Any:
    """What changes something once, before a call."""
    return lambda k: change() if k == when else None


# Objects in C, and what is derived from them


@scenario(eager=True)
def a_transform_with_a_random(C: Any, see: Any) -> None:
    class Flip:
        def __init__(self) -> None:
            self.p, self.rnd = 0.2, random.Random(3)

        def __call__(self, x: Any) -> Any:
            return -x if self.rnd.random() < self.p else x

    flip = Flip()
    drive(C, see, lambda x: flip(x), calls=16)
    see(flip.rnd.random())


@scenario(eager=True)
def bound_methods_of_a_random(C: Any, see: Any) -> None:
    r = random.Random(3)
    draw, choose = r.random, r.choice
    drive(C, see, lambda x: x * draw(), calls=6)
    drive(C, see, lambda x: x * choose([1.0, 1.0, 2.0, 3.0]), calls=6)
    see(r.random())


@scenario(eager=True)
def a_subclass_of_random(C: Any, see: Any) -> None:
    class Source(random.Random):
        bias = 0.5

        def next(self) -> float:
            return self.bias + self.gauss(0.0, 1.0)

    r = Source(3)
    drive(C, see, lambda x: x if r.next() < 2.0 else -x, lambda k: setattr(r, "bias", 0.5 + k // 5), calls=12)
    see(r.random())


@scenario
def a_random_that_is_not_asked(C: Any, see: Any) -> None:
    class Augment:
        def __init__(self) -> None:
            self.rnd, self.training = random.Random(3), False

        def __call__(self, x: Any) -> Any:
            return x * self.rnd.random() if self.training else x * 2

    augment = Augment()
    drive(C, see, lambda x: augment(x), lambda k: augment.rnd.random() if k == 5 else None)
    see(augment.rnd.random())


@scenario
def the_state_of_a_random(C: Any, see: Any) -> None:
    r = random.Random(3)
    drive(C, see, lambda x: x * (hash(r.getstate()) % 7), after(5, r.random))


@scenario
def a_trainer_that_can_be_saved(C: Any, see: Any) -> None:
    class Trainer:
        def __init__(self) -> None:
            self.rng, self.layer = np.random.default_rng(0), nn.Linear(3, 3, rng=0)

        def state_dict(self) -> Any:
            return self.rng.bit_generator.state, random.getstate(), np.random.get_state()  # noqa: NPY002

        def step(self, x: Any) -> Any:
            return self.layer(x) + self.rng.normal(size=3)

    trainer = Trainer()
    drive(C, see, trainer.step)
    see(trainer.state_dict()[0])


@scenario
def the_state_of_bits(C: Any, see: Any) -> None:
    rng, bits = np.random.default_rng(0), np.random.PCG64(0)
    drive(C, see, lambda x: x * (rng.bit_generator.state["state"]["state"] % 7), after(5, rng.normal))
    drive(C, see, lambda x: x * (bits.state["state"]["state"] % 7), after(5, bits.random_raw))


@scenario(eager=True)
def bound_methods_of_a_generator(C: Any, see: Any) -> None:
    rng, old = np.random.default_rng(0), np.random.RandomState(0)
    draw, raw, uniform = rng.normal, rng.bit_generator.random_raw, old.rand
    drive(C, see, lambda x: x if draw() < 0.5 else -x, calls=6)
    drive(C, see, lambda x: x if raw() else -x, calls=6)
    drive(C, see, lambda x: x if uniform() < 0.9 else -x, calls=6)
    see(rng.normal(), old.rand())


@scenario
def a_subclass_of_an_array_of_bytes(C: Any, see: Any) -> None:
    class Levels(array.array):  # type: ignore[type-arg]
        scale = 1.0

    levels = Levels("d", [1.0, 2.0])
    drive(C, see, lambda x: x * levels[0] * levels.scale, lambda k: levels.__setitem__(0, 1.0 + k // 5))
    buffer = bytearray(b"ab")
    drive(C, see, lambda x: x * buffer[0], after(5, lambda: buffer.reverse()))


@scenario
def an_exception_that_is_kept(C: Any, see: Any) -> None:
    error = ValueError(1.0)

    def change(k: int) -> None:
        error.args = (1.0 + k // 5,)

    drive(C, see, lambda x: x * error.args[0], change)


# Iterators


def rates() -> Any:
    for _ in range(5):
        yield 1.0
    while True:
        yield 0.1


def _pairs(x: Any, rate: Any) -> Any:
    return x * (rate[0] if isinstance(rate, tuple) else rate)


MADE = {
    "zip": lambda: zip(rates(), itertools.repeat(0.9), strict=False),
    "map": lambda: map(float, rates()),
    "filter": lambda: filter(None, rates()),
    "enumerate": lambda: (rate for _, rate in enumerate(rates())),
    "takewhile": lambda: itertools.takewhile(bool, rates()),
    "starmap": lambda: itertools.starmap(max, zip(rates(), rates(), strict=False)),
    "pairwise": lambda: itertools.pairwise(rates()),
    "chain": lambda: itertools.chain(rates()),
    "islice": lambda: itertools.islice(rates(), 20),
    "zip_longest": lambda: itertools.zip_longest(rates(), rates()),
    "accumulate": lambda: itertools.accumulate(rates()),
    "batched_by_hand": lambda: zip(*[iter(rates())] * 2, strict=False),
    "tee": lambda: itertools.tee(rates())[0],
    "deep": lambda: map(float, itertools.chain(itertools.islice(map(float, rates()), 20))),
}


@scenario(functions=len(MADE))
def iterators_over_a_generator(C: Any, see: Any) -> None:
    for make in MADE.values():
        it = make()
        drive(C, see, lambda x, it=it: _pairs(x, next(it)), calls=8)


@scenario(eager=True)
def numbers_found_in_a_text(C: Any, see: Any) -> None:
    it = map(lambda m: float(m.group()), re.finditer(r"\d", "1111133333"))  # noqa: C417
    drive(C, see, lambda x: x * next(it), calls=8)


@scenario
def iterators_over_lists(C: Any, see: Any) -> None:
    given = [1.0] * 5 + [3.0] * 20
    its = [
        itertools.cycle(given),
        iter(given),
        reversed(given),
        itertools.chain(given, given),
        iter(dict.fromkeys("ab")),
    ]
    for it in its[:4]:
        drive(C, see, lambda x, it=it: x * next(it), calls=8)
    held = iter(given)
    drive(C, see, lambda x: x * (held is not None) * given[0], lambda k: given.__setitem__(0, 1.0 + k // 5), calls=8)


@scenario
def a_function_that_is_called_until(C: Any, see: Any) -> None:
    log: list[int] = []

    def rate() -> float:
        log.append(1)
        return 1.0 if len(log) < 6 else 3.0

    it = iter(rate, None)
    drive(C, see, lambda x: x * next(it), None, log, calls=8)


@scenario
def a_function_that_is_mapped(C: Any, see: Any) -> None:
    cfg = {"rate": 1.0}
    mapped = map(lambda _: cfg["rate"], itertools.repeat(0))  # noqa: C417
    kept = filter(lambda r: r < cfg["rate"] + 1, itertools.repeat(1.0))
    drive(C, see, lambda x: x * next(mapped), lambda k: cfg.update(rate=1.0 + k // 5))
    drive(C, see, lambda x: x * next(kept), lambda k: cfg.update(rate=1.0 + k // 5))


@scenario
def a_user_made_iterator_in_a_map(C: Any, see: Any) -> None:
    class Rates:
        def __init__(self) -> None:
            self.k = 0

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> float:
            self.k += 1
            return 1.0 if self.k < 6 else 3.0

    source = Rates()
    it = map(float, source)
    drive(C, see, lambda x: x * next(it), None, source, calls=8)


@scenario(eager=True)
def iterators_of_numpy(C: Any, see: Any) -> None:
    given = np.array([1.0] * 5 + [3.0] * 20)
    for it in (given.flat, np.nditer(given), (x for x in given)):
        drive(C, see, lambda x, it=it: x * next(it), calls=8)


@scenario(eager=True)
def more_iterators_of_numpy(C: Any, see: Any) -> None:
    given = np.array([1.0] * 5 + [3.0] * 20)
    pairs, both, indices = np.ndenumerate(given), np.broadcast(given, 1.0), np.ndindex(9, 9)
    drive(C, see, lambda x: x * next(pairs)[1], calls=8)
    drive(C, see, lambda x: x * next(both)[0], calls=8)
    drive(C, see, lambda x: x * next(indices)[1], calls=8)


# Views and mappings


@scenario
def a_key_behind_a_view(C: Any, see: Any) -> None:
    d: dict[str, Any] = {"lr": 1.0}
    cfg = types.MappingProxyType(d)
    drive(C, see, lambda x: np.minimum(x, cfg["clip"]) if "clip" in cfg else x, after(5, lambda: d.update(clip=0.1)))
    drive(C, see, lambda x: x * len(cfg), after(5, lambda: d.pop("clip")))


@scenario
def an_order_behind_a_view(C: Any, see: Any) -> None:
    d = {"a": 1.0, "b": 2.0}
    cfg = types.MappingProxyType(d)
    drive(C, see, lambda x: x * next(iter(cfg.values())), after(5, lambda: d.update(a=d.pop("a"))))


@scenario
def a_class_behind_a_view(C: Any, see: Any) -> None:
    class Config:
        rate = 1.0

    held = Config.__dict__
    drive(
        C, see, lambda x: x * held["rate"] * (2 if "clip" in held else 1), after(5, lambda: setattr(Config, "clip", 1))
    )
    drive(C, see, lambda x: x * held["rate"], after(5, lambda: setattr(Config, "rate", 3.0)))
    drive(C, see, lambda x: x * len(Config.__dict__), after(5, lambda: setattr(Config, "more", 1)))
    drive(C, see, lambda x: x * ("late" in vars(Config)), after(5, lambda: setattr(Config, "late", 1)))


@scenario
def a_mapping_behind_a_view(C: Any, see: Any) -> None:
    class Cfg(collections.UserDict):  # type: ignore[type-arg]
        pass

    inner = Cfg(rate=1.0)
    cfg = types.MappingProxyType(inner)
    drive(C, see, lambda x: x * cfg["rate"], lambda k: inner.__setitem__("rate", 1.0 + k // 5))
    chained = collections.ChainMap({}, {"rate": 1.0})
    seen = types.MappingProxyType(chained)
    drive(C, see, lambda x: x * seen["rate"], after(5, lambda: chained.maps[0].update(rate=3.0)))


class Names:
    """A mapping by protocol."""

    def __init__(self) -> None:
        self._names = ["a"]

    def keys(self) -> list[str]:
        return list(self._names)

    def __getitem__(self, name: str) -> float:
        return 2.0


@scenario
def a_mapping_of_the_users_as_options(C: Any, see: Any) -> None:
    def f(x: Any, **options: float) -> Any:
        return x * sum(options.values())

    c = Names()
    drive(C, see, lambda x: f(x, **c), after(5, lambda: c._names.append("b")))


@scenario
def a_mapping_of_the_users_as_a_dict(C: Any, see: Any) -> None:
    for use in (
        lambda c: dict(c),
        lambda c: {**c},
        lambda c: {"z": 1.0} | dict(c),
        lambda c: collections.OrderedDict(c),
        lambda c: [d := {}, d.update(c)][0],
    ):
        c = Names()
        drive(C, see, lambda x, c=c, use=use: x * len(use(c)), after(5, lambda c=c: c._names.append("b")))


@scenario
def a_dict_of_the_users_with_other_keys(C: Any, see: Any) -> None:
    class Some(dict):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            return iter(self.shown)

        def keys(self) -> Any:
            return list(self.shown)

    d = Some(a=1.0, b=2.0)
    d.shown = ["a"]  # type: ignore[attr-defined]
    drive(C, see, lambda x: x * sum({**d}.values()), after(5, lambda: d.shown.append("b")))  # type: ignore[attr-defined]


@scenario
def yielding_from_an_object(C: Any, see: Any) -> None:
    class Echo:
        def __init__(self) -> None:
            self.rate, self.sent = 1.0, 0

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> float:
            return 1.0

        def send(self, value: float) -> float:
            self.sent += 1
            return value * self.rate

    e = Echo()

    def through() -> Any:
        yield from e

    def step(x: Any) -> Any:
        g = through()
        next(g)
        return x * g.send(2.0)

    drive(C, see, step, lambda k: setattr(e, "rate", 1.0 + k // 5), e)


# Modules


def module(name: str, text: str) -> Any:
    made: Any = types.ModuleType(name)
    exec(text, vars(made))
    return made


@scenario
def a_module_that_computes_attributes(C: Any, see: Any) -> None:
    m = module(
        "cfg",
        "_state = {'rate': 1.0}\nreads = []\ndef __getattr__(n):\n    if n == 'rate':\n        reads.append(n)\n"
        "        return _state[n]\n    raise AttributeError(n)\n",
    )
    drive(C, see, lambda x: x * m.rate, lambda k: m._state.update(rate=1.0 + k // 5), m.reads)


@scenario
def a_module_with_properties(C: Any, see: Any) -> None:
    class Settings(types.ModuleType):
        hidden = 1.0

        @property
        def rate(self) -> float:
            return self.hidden * 2

    m = Settings("settings")
    drive(C, see, lambda x: x * m.rate, lambda k: setattr(m, "hidden", 1.0 + k // 5))


@scenario
def a_module_with_special_names(C: Any, see: Any) -> None:
    m = module("dunder", "__rate__ = 1.0\n__other__ = 0\n")
    drive(C, see, lambda x: x * m.__rate__, lambda k: vars(m).update(__rate__=1.0 + k // 5, __other__=k))


@scenario
def a_module_gets_a_name(C: Any, see: Any) -> None:
    m = module("late", "rate = 1.0\n")

    def step(x: Any) -> Any:
        try:
            return x * m.clip
        except AttributeError:
            return x * m.rate

    drive(C, see, step, after(5, lambda: setattr(m, "clip", 0.1)))
    other = module("later", "rate = 1.0\n")
    drive(C, see, lambda x: x * getattr(other, "clip", 1.0), after(5, lambda: setattr(other, "clip", 0.1)))


@scenario
def special_methods_that_appear(C: Any, see: Any) -> None:
    m, seen = module("lazy", "rate = 1.0\n"), []

    class Flag:
        pass

    flag, other = Flag(), Flag()

    def step(x: Any) -> Any:
        try:
            return x * m.clip
        except AttributeError:
            return x * m.rate

    drive(C, see, step, after(5, lambda: setattr(m, "__getattr__", lambda name: seen.append(name) or 0.1)), seen)
    drive(C, see, lambda x: x if flag else -x, after(5, lambda: setattr(Flag, "__bool__", lambda self: False)))
    drive(C, see, lambda x: x if flag == other else -x, after(5, lambda: setattr(Flag, "__eq__", lambda self, o: True)))


@scenario
def a_module_changes_its_class(C: Any, see: Any) -> None:
    class Doubled(types.ModuleType):
        def __getattribute__(self, name: str) -> Any:
            found = super().__getattribute__(name)
            return found * 2 if name == "rate" else found

    m = module("plain", "rate = 1.0\n")
    drive(C, see, lambda x: x * m.rate, after(5, lambda: setattr(m, "__class__", Doubled)))


# Functions in C with something of the user's inside


@scenario
def methods_in_c_of_objects(C: Any, see: Any) -> None:
    items, settings = [1], types.SimpleNamespace(rate=1.0)
    count, has, get = items.__len__, items.__contains__, settings.__getattribute__
    drive(C, see, lambda x: x * count(), after(5, lambda: items.append(1)))
    drive(C, see, lambda x: x * has(7), after(5, lambda: items.append(7)))
    drive(C, see, lambda x: x * get("ra" + "te"), lambda k: setattr(settings, "rate", 1.0 + k // 5))


@scenario
def a_call_of_a_function_that_is_held(C: Any, see: Any) -> None:
    log: list[Any] = []

    def note(v: Any) -> None:
        log.append(v)

    call = note.__call__

    def step(x: Any) -> Any:
        call(x.sum())
        return x

    drive(C, see, step, None, log)


@scenario
def a_setter_that_is_held(C: Any, see: Any) -> None:
    class Meter:
        pass

    meter: Any = Meter()
    meter.sum1, meter.sum2 = 0.0, 0.0
    put, get = meter.__setattr__, meter.__getattribute__

    def step(x: Any) -> Any:
        for k in (1, 2):
            put(f"sum{k}", get(f"sum{k}") + x.sum())
        return x * 2

    drive(C, see, step, None, meter)


@scenario
def a_setter_that_is_called(C: Any, see: Any) -> None:
    class Meter:
        def __init__(self) -> None:
            self.sum1, self.sum2 = 0.0, 0.0

        def put(self, name: str, value: Any) -> None:
            self.__setattr__("sum" + name, value)

    class Private:
        def __init__(self) -> None:
            self.rate = 1.0

        def __setattr__(self, name: str, value: Any) -> None:
            object.__setattr__(self, "_" + name, value)

    private: Any = Private()

    def hidden(x: Any) -> Any:
        private.rate = x.sum()
        return x * 2

    drive(C, see, hidden, None, private)
    meter = Meter()

    def step(x: Any) -> Any:
        meter.put("1", x.sum())
        return x * 2

    drive(C, see, step, None, meter)


@scenario(eager=True)
def methods_of_an_array(C: Any, see: Any) -> None:
    w = np.ones(3)
    for method in (w.copy, w.sum, w.mean, w.tolist, w.__getitem__, w.__mul__):
        first = method is not w.__getitem__
        given = () if method.__name__ in ("copy", "sum", "mean", "tolist") else (0,) if first else (1,)
        drive(
            C,
            see,
            lambda x, method=method, given=given: x * method(*given),
            lambda k: w.__setitem__(slice(None), 1.0 + k // 5),
        )


@scenario(eager=True)
def methods_that_write_into_an_array(C: Any, see: Any) -> None:
    w = np.ones(3)
    zero, put, sort = w.fill, w.__setitem__, w.sort

    def step(x: Any) -> Any:
        zero(0.0)
        put(0, 5.0)
        sort()
        return x * 2

    drive(C, see, step, lambda k: w.fill(k), w)


@scenario
def functions_of_numpy_made_of_the_users(C: Any, see: Any) -> None:
    cfg, log = {"k": 1.0}, []
    f = np.frompyfunc(lambda a: (log.append(a), a * cfg["k"])[1], 1, 1)  # type: ignore[func-returns-value]
    drive(C, see, lambda x: x * f(2.0), lambda k: cfg.update(k=1.0 + k // 5), log)
    g = np.frompyfunc(log.append, 1, 1)

    def step(x: Any) -> Any:
        g(1)
        return x

    drive(C, see, step, None, log)


@scenario
def a_vectorized_function(C: Any, see: Any) -> None:
    cfg = {"k": 1.0}
    f = np.vectorize(lambda a: a * cfg["k"])
    table = np.arange(3.0)
    drive(C, see, lambda x: x * f([1.0, 2.0, 3.0]), lambda k: cfg.update(k=1.0 + k // 5))
    drive(C, see, lambda x: x * f(table), lambda k: cfg.update(k=1.0 + k // 5))


# Constructors and other special methods that are called by name


@scenario
def a_reset_by_the_constructor(C: Any, see: Any) -> None:
    cfg = {"w": 1.0}

    class M:
        def __init__(self) -> None:
            self.w = cfg["w"]

        def reset(self) -> None:
            self.__init__()  # type: ignore[misc]

    m = M()

    def step(x: Any) -> Any:
        m.reset()
        return x * m.w

    drive(C, see, step, lambda k: cfg.update(w=1.0 + k // 5), m)


@scenario
def a_class_that_makes_itself(C: Any, see: Any) -> None:
    cfg, made = {"w": 1.0}, []

    class Meta(type):
        def build(cls) -> Any:
            return cls()

    class M(metaclass=Meta):
        def __init__(self) -> None:
            self.w = cfg["w"]
            made.append(1)

        @classmethod
        def new(cls) -> M:
            return cls()

    class N(M):
        def __init__(self) -> None:
            super().__init__()
            self.w *= cfg["w"]

    m = N()
    drive(C, see, lambda x: x * m.new().w, lambda k: cfg.update(w=1.0 + k // 5), made)
    drive(C, see, lambda x: x * type(m).build().w, lambda k: cfg.update(w=1.0 + k // 5), made)


@scenario
def a_finalizer_that_is_called(C: Any, see: Any) -> None:
    log: list[int] = []

    class R:
        def __init__(self, n: int) -> None:
            self.n = n

        def close(self) -> None:
            self.__del__()

        def __del__(self) -> None:
            log.append(self.n)

    r = R(1)

    def step(x: Any) -> Any:
        r.close()
        return x

    drive(C, see, step, None, log)


@scenario
def a_state_that_is_set_by_name(C: Any, see: Any) -> None:
    cfg = {"scale": 1.0}

    class Box:
        def __init__(self) -> None:
            self.v = 0.0

        def __setstate__(self, v: float) -> None:
            self.v = v * cfg["scale"]

        def __str__(self) -> str:
            return str(cfg["scale"])

    box = Box()

    def step(x: Any) -> Any:
        box.__setstate__(2.0)
        return x * box.v * len(box.__str__())

    drive(C, see, step, lambda k: cfg.update(scale=1.0 + 100 * (k // 5)), box)


@scenario
def a_hash_that_counts(C: Any, see: Any) -> None:
    n = {"h": 0}

    class K:
        def __hash__(self) -> int:
            n["h"] += 1
            return 1

    k, j = K(), K()
    d, s, t = {k: 1.0}, {j}, {(j, 1): 2.0}
    n["h"] = 0
    drive(C, see, lambda x: x * d[k], None, n)
    drive(C, see, lambda x: x * (j in s), None, n)
    drive(C, see, lambda x: x * t[j, 1], None, n)

    class E:
        def __init__(self, v: int) -> None:
            self.v = v

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            n["h"] += 1
            return isinstance(other, E) and self.v == other.v

    a, b = E(1), E(2)
    table = {a: 1.0, b: 2.0}
    n["h"] = 0
    drive(C, see, lambda x: x * table[b], None, n)


@scenario
def a_hash_that_only_answers(C: Any, see: Any) -> None:
    @dataclasses.dataclass(frozen=True)
    class Key:
        name: str
        size: int

    class Own:
        def __init__(self, name: str) -> None:
            self.name = name

        def __hash__(self) -> int:
            return hash((type(self), self.name.lower()))

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own) and self.name == other.name

    key, own = Key("a", 1), Own("b")
    scales: dict[Any, float] = {key: 1.0, own: 2.0}
    drive(C, see, lambda x: x * scales[key] * scales[own], lambda k: scales.update({own: 2.0 + k // 5}))


# What classes and functions say of themselves


@scenario
def subclasses_that_were_made(C: Any, see: Any) -> None:
    class Loss:
        w = 1.0

    class L2(Loss):
        pass

    keep = [L2]
    listed = Loss.__subclasses__
    change = lambda: keep.append(type("L1", (Loss,), {}))
    drive(C, see, lambda x: x * sum(c.w for c in Loss.__subclasses__()), after(5, change))
    drive(C, see, lambda x: x * sum(c.w for c in listed()), after(5, change))


@scenario
def registered_with_an_abstract_class(C: Any, see: Any) -> None:
    class P(abc.ABC):  # noqa: B024
        pass

    class Q:
        pass

    class R:
        pass

    q, r = Q(), R()
    drive(C, see, lambda x: -x if isinstance(q, P) else x, after(5, lambda: P.register(Q)))
    drive(C, see, lambda x: -x if issubclass(R, Sized) else x, after(5, lambda: Sized.register(R)))

    def step(x: Any) -> Any:
        match r:
            case Iterable():
                return -x
        return x

    drive(C, see, step, after(5, lambda: Iterable.register(R)))


@scenario
def names_and_texts(C: Any, see: Any) -> None:
    class Layer:
        """One."""

    def g() -> None:
        """Two."""

    layer, logs = Layer(), {}

    def named(x: Any) -> Any:
        logs[g.__name__] = 1
        return x

    drive(C, see, named, after(5, lambda: setattr(g, "__name__", "renamed")), logs)
    drive(C, see, lambda x: x * len(Layer.__doc__ or ""), after(5, lambda: setattr(Layer, "__doc__", "Three.")))
    drive(C, see, lambda x: x * len(g.__doc__ or ""), after(5, lambda: setattr(g, "__doc__", None)))
    drive(C, see, lambda x: x * len(type(layer).__name__), after(5, lambda: setattr(Layer, "__name__", "L")))
    drive(C, see, lambda x: x * len(layer.__module__), after(5, lambda: setattr(Layer, "__module__", "m")))


@scenario
def annotations_that_change(C: Any, see: Any) -> None:
    class Config:
        a: int
        b: int

    def g(x: int) -> None:
        pass

    drive(C, see, lambda x: x * len(Config.__annotations__), after(5, lambda: Config.__annotations__.update(c=int)))
    drive(C, see, lambda x: x * len(g.__annotations__), after(5, lambda: g.__annotations__.update(y=int)))
    drive(C, see, lambda x: x * len(typing.get_type_hints(g)), after(5, lambda: g.__annotations__.update(z=int)))
    drive(C, see, lambda x: x * len(g.__annotations__), after(5, lambda: setattr(g, "__annotations__", {})))


@scenario
def the_step_names_its_classes(C: Any, see: Any) -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 3, rng=0)

        def forward(self, x: Any) -> Any:
            if x.shape[-1] != 3:
                raise ValueError(f"{type(self).__name__} takes 3")
            return self.linear(x)

    layer, epochs = Layer(), types.SimpleNamespace(n=0)
    drive(C, see, lambda x: layer(x), lambda k: setattr(epochs, "n", k))


# Lists that only grow, in containers that are looked at as wholes


@scenario
def a_grown_list_in_a_dict_that_is_compared(C: Any, see: Any) -> None:
    d, e = {"loss": []}, {"loss": [1] * 5}

    def step(x: Any) -> Any:
        d["loss"].append(1)
        return d == e

    drive(C, see, step, None, d)


@scenario
def a_grown_list_in_a_list(C: Any, see: Any) -> None:
    rows: dict[str, Any] = {"all": [[], []]}
    total = types.SimpleNamespace(h={"loss": []})

    def step(x: Any) -> Any:
        rows["all"][0].append(1)
        return x * sum(len(r) for r in rows["all"])

    def of_computed_name(x: Any) -> Any:
        for name in ("loss",):
            total.h[name].append(1.0)
        return x * sum(total.h["lo" + "ss"])

    drive(C, see, step, None, rows)
    drive(C, see, of_computed_name, None, total)


@scenario
def a_history_that_only_grows(C: Any, see: Any) -> None:
    history: dict[str, Any] = {"loss": [], "norm": [], "n": 0}

    def step(x: Any) -> Any:
        history["n"] += 1
        history["loss"].append(x.sum())
        for name in ("norm",):
            history[name].append((x * x).sum())
        return x * 2

    drive(C, see, step, None, history)


# Names that the standard library computes


class Visitor(ast.NodeVisitor):
    def __init__(self) -> None:
        self.rate = 1.0

    def visit_Name(self, node: Any) -> float:
        return self.rate


class Shell(cmd.Cmd):
    rate = 1.0
    said = 0.0

    def do_scale(self, text: str) -> None:
        self.said = self.rate * len(text)


class Filled(string.Formatter):
    rate = 1.0

    def get_value(self, key: Any, args: Any, kwargs: Any) -> Any:
        return self.rate


@scenario
def methods_found_by_the_library(C: Any, see: Any) -> None:
    v, tree = Visitor(), ast.parse("rate", mode="eval").body
    drive(C, see, lambda x: x * v.visit(tree), lambda k: setattr(v, "rate", 1.0 + k // 5))


@scenario
def functions_of_the_library_that_read_objects(C: Any, see: Any) -> None:
    @dataclasses.dataclass
    class Config:
        rate: float = 1.0
        unnamed: float = 1.0

    @functools.singledispatch
    def f(v: Any) -> float:
        return 1.0

    cfg = Config()

    def change(k: int) -> None:
        cfg.unnamed = 1.0 + k // 5

    drive(C, see, lambda x: (x, dataclasses.replace(cfg, rate=3.0)), change)
    drive(C, see, lambda x: x * f(2), after(5, lambda: f.register(int, lambda v: 3.0)))


@scenario
def commands_found_by_the_library(C: Any, see: Any) -> None:
    shell = Shell()

    def step(x: Any) -> Any:
        shell.onecmd("scale ab")
        return x * shell.said

    drive(C, see, step, lambda k: setattr(shell, "rate", 1.0 + k // 5))


@scenario
def fields_found_by_the_library(C: Any, see: Any) -> None:
    f = Filled()
    drive(C, see, lambda x: x * len(f.format("{a}")), lambda k: setattr(f, "rate", 10.0 ** (k // 5)))


# What only a program would keep alive


@scenario
def a_weak_cache(C: Any, see: Any) -> None:
    class Big:
        w = 1.0

    box = [Big()]
    cache = weakref.WeakValueDictionary(a=box[0])
    drive(C, see, lambda x: -x if cache.get("a") is None else x, after(5, box.clear))
    full = [Big()]
    ref = weakref.ref(full[0])
    drive(C, see, lambda x: x * len(full) - (ref() is None), after(5, full.clear))
    held = Big()
    kept = [held]
    refs, proxy = weakref.ref(held), weakref.WeakSet(kept)
    del held
    drive(C, see, lambda x: x * (refs() is None) + len(proxy), after(5, kept.clear))


@scenario
def a_weak_reference_to_a_parent(C: Any, see: Any) -> None:
    class Child:
        def __init__(self, parent: Any) -> None:
            self.parent = weakref.ref(parent)

        def __call__(self, x: Any) -> Any:
            return x * self.parent().scale

    class Parent:
        def __init__(self) -> None:
            self.scale, self.child = 1.0, Child(self)

        def __call__(self, x: Any) -> Any:
            return self.child(x)

    parent = Parent()
    drive(C, see, lambda x: parent(x), lambda k: setattr(parent, "scale", 1.0 + k // 5))


@scenario
def a_finalizer_that_marks(C: Any, see: Any) -> None:
    log: list[int] = []

    class Big:
        w = 1.0

    box = types.SimpleNamespace(big=Big())
    weakref.finalize(box.big, log.append, 1)

    def step(x: Any) -> Any:
        return x * (0.5 if log else box.big.w)

    drive(C, see, step)
    see(numbers(0, 2))


@scenario
def groups_of_an_optimizer(C: Any, see: Any) -> None:
    model = nn.Linear(3, 3, rng=0)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    groups = optimizer.param_groups

    def change(k: int) -> None:
        groups[0]["lr"] = 0.1 * (1 + k // 5)

    drive(C, see, lambda x: x * groups[0]["lr"], change)


class Counted:
    pass


@scenario(eager=True)
def how_many_weak_references_there_are(C: Any, see: Any) -> None:
    node, kept = Counted(), list[Any]()
    drive(
        C,
        see,
        lambda x: x * (1 + weakref.getweakrefcount(node)),
        after(5, lambda: kept.append(weakref.proxy(node))),
        calls=8,
    )
