"""Dataclasses and namespaces as arguments: what they hold are arguments, whichever object holds it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import numpy as np

import minigrad as mg
from scenarios.parts import mlp, numbers, weight
from scenarios.scenario import scenario


@dataclass
class Batch:
    """What many training loops pass."""

    x: Any
    y: Any
    scale: Any = 1.0
    name: str = "mean"
    power: ClassVar[int] = 2

    @property
    def error(self) -> Any:
        return self.x - self.y

    def loss(self) -> Any:
        return getattr(np, self.name)(self.error**self.power) * self.scale


@dataclass(frozen=True)
class Frozen:
    x: Any
    k: int = 1


@dataclass(eq=False)
class Key:
    """Known by its identity, as a key of a dictionary."""

    x: Any


@dataclass
class Node:
    x: Any
    other: Any = None
    parts: list[Any] = field(default_factory=list)


@dataclass
class Derived(Batch):
    mask: Any = None

    @functools.cached_property
    def total(self) -> Any:
        return self.x.sum()


class Pair(NamedTuple):
    x: Any
    inner: Any


def a(k: int, *shape: int) -> Any:
    return numbers(k, *(shape or (3,)))


def new(k: int, n: int = 3, **more: Any) -> Batch:
    return Batch(a(k, n), a(k + 100, n), **more)


@scenario
def fresh_at_each_call(C: Any, see: Any) -> None:
    step = C(lambda b: b.x * b.y + b.scale)
    for k in range(12):
        see(step(new(k)))


@scenario
def trained_on(C: Any, see: Any) -> None:
    model = mlp(0)
    optimizer = mg.optim.Adam(model.parameters())

    @C
    def step(b: Batch) -> Any:
        optimizer.zero_grad()
        loss = ((model(b.x) - b.y) ** 2).mean() * b.scale
        loss.backward()
        optimizer.step()
        return loss.detach()

    width = next(model.parameters()).shape
    for k in range(12):
        see(step(Batch(a(k, [5, 5, 5, 2][k % 4], width[0] if len(width) > 1 else 1), 0.5)))


@scenario
def the_same_with_other_fields(C: Any, see: Any) -> None:
    b = new(0)
    step = C(lambda b: b.loss())
    for k in range(12):
        b.x = a(k)
        b.scale = 1.0 + k // 3
        if k == 8:
            b.name = "sum"
        see(step(b), b)


@scenario
def nested_in_lists(C: Any, see: Any) -> None:
    step = C(lambda parts, rest=None: sum(p.loss() for p in parts) + sum(n.x * n.other.x for n in rest["nodes"]))
    for k in range(10):
        see(step([new(k), new(k + 1)], rest={"nodes": (Node(a(k), Node(a(k + 2))),)}))


@scenario
def nested_in_each_other(C: Any, see: Any) -> None:
    step = C(lambda n: {"y": n.other.x * n.x + sum(n.parts), "first": n.parts[0]})
    for k in range(10):
        see(step(Node(a(k), Frozen(a(k + 1)), [a(k + 2), a(k + 3)])))


@scenario
def methods_and_properties(C: Any, see: Any) -> None:
    step = C(lambda b: (b.loss(), b.error))
    for k in range(12):
        see(step(new(k, scale=0.1 * k)))


@scenario
def a_class_attribute_changes(C: Any, see: Any) -> None:
    step = C(lambda b: b.loss())
    try:
        for k in range(12):
            Batch.power = 2 + k // 4
            see(step(new(k)))
    finally:
        Batch.power = 2


@scenario
def a_method_is_exchanged(C: Any, see: Any) -> None:
    step, before = C(lambda b: b.loss()), Batch.loss
    try:
        for k in range(10):
            if k == 5:
                Batch.loss = lambda self: self.x.max()  # type: ignore[method-assign]
            see(step(new(k)))
    finally:
        Batch.loss = before  # type: ignore[method-assign]


@scenario
def a_default_of_the_class_is_changed(C: Any, see: Any) -> None:
    step = C(lambda n: n.x * n.shift)
    try:
        for k in range(10):
            Node.shift = 1.0 + k // 4  # type: ignore[attr-defined]
            see(step(Node(a(k))))
    finally:
        del Node.shift  # type: ignore[attr-defined]


@scenario
def kept_in_the_state(C: Any, see: Any) -> None:
    s = SimpleNamespace(last=None)

    def step(b: Batch) -> Any:
        y = b.x if s.last is None else b.x - s.last.x
        s.last = b
        return y

    step = C(step)
    for k in range(10):
        b = new(k)
        see(step(b), s.last is b, s.last)


@scenario
def kept_in_a_list(C: Any, see: Any) -> None:
    seen: list[Any] = []

    def step(b: Any) -> Any:
        seen.append(b)
        return b.x * 2

    step = C(step)
    for k in range(10):
        b = new(k)
        see(step(b), seen[-1] is b, len(seen))


@scenario
def returned(C: Any, see: Any) -> None:
    step = C(lambda b: (b, b.x * 2))
    for k in range(10):
        b = new(k)
        result, y = step(b)
        see(result is b, result, y)


@scenario
def its_parts_are_returned(C: Any, see: Any) -> None:
    step = C(lambda b: (b.x, b.x[1:], b.y * 2, b.name))
    for k in range(10):
        b = new(k)
        x, rest, y, name = step(b)
        see(x is b.x, rest.base is b.x, y, name)


@scenario
def its_dictionary_is_returned(C: Any, see: Any) -> None:
    step = C(lambda b: vars(b))
    for k in range(10):
        b = new(k)
        see(step(b) is vars(b), b)


@scenario
def a_method_of_it_is_returned(C: Any, see: Any) -> None:
    step = C(lambda b: (b.loss, b.x * 2))
    for k in range(10):
        b = new(k)
        loss, y = step(b)
        b.scale = 5.0
        see(loss.__self__ is b, loss(), y)


@scenario
def a_closure_over_it_is_returned(C: Any, see: Any) -> None:
    step = C(lambda b: lambda: b.x * b.scale)
    for k in range(10):
        b = new(k)
        f = step(b)
        b.scale = 5.0
        see(f())


@scenario
def a_field_is_written(C: Any, see: Any) -> None:
    def step(b: Any) -> Any:
        b.scale = b.scale + 1
        b.z = b.x * 2
        return b.z.sum() * b.scale

    step = C(step)
    for k in range(10):
        b = new(k)
        see(step(b), b)


@scenario
def an_array_of_it_is_written(C: Any, see: Any) -> None:
    def step(b: Any) -> Any:
        b.x *= 2
        b.y[0] = 5
        return b.x + b.y

    step = C(step)
    for k in range(10):
        b = new(k)
        see(step(b), b)


@scenario
def a_list_of_it_grows(C: Any, see: Any) -> None:
    def step(n: Any) -> Any:
        n.parts.append(n.x * 2)
        return n.x

    step = C(step)
    for k in range(10):
        n = Node(a(k))
        see(step(n), n)


@scenario
def a_state_that_is_passed(C: Any, see: Any) -> None:
    s = SimpleNamespace(w=np.zeros(3), steps=0, w2=weight(3))

    def step(s: Any, x: Any) -> Any:
        s.steps += 1
        s.w = 0.9 * s.w + x
        s.w2 = mg.Tensor(s.w2.data * 2, requires_grad=True)
        return s.w.sum() * s.steps

    step = C(step)
    for k in range(10):
        see(step(s, a(k)), s)


@scenario
def parameters_that_are_passed(C: Any, see: Any) -> None:
    b = Batch(weight(3), weight(3, seed=1))

    def step(b: Any, x: Any) -> Any:
        (b.x * b.y * x).sum().backward()
        for p in (b.x, b.y):
            p.data -= 0.1 * p.grad.data
            p.grad = None

    step = C(step)
    for k in range(10):
        step(b, a(k))
        see(b)


@scenario
def gradients_of_fields(C: Any, see: Any) -> None:
    step = C(lambda b: (b.x * b.y).sum())
    for k in range(10):
        b = Batch(weight(3, seed=k), a(k))
        loss = step(b)
        b.scale = print  # neither is looked at again
        loss.backward()
        see(loss, b.x.grad)


@scenario
def frozen(C: Any, see: Any) -> None:
    step = C(lambda b: b.x * b.k)
    for k in range(12):
        see(step(Frozen(a(k), k)))


@scenario
def writing_a_frozen_one(C: Any, see: Any) -> None:
    def step(b: Any) -> Any:
        y = b.x * 2
        b.x += 1
        return y

    step = C(step)
    for k in range(6):
        b = Frozen(a(k))
        see.attempt(step, b)
        see(b)


@scenario
def namespaces(C: Any, see: Any) -> None:
    step = C(lambda b, n: b.x * n.scale + b.parts["y"] * len(n.name))
    for k in range(12):
        see(step(SimpleNamespace(x=a(k), parts={"y": a(k + 1)}), SimpleNamespace(scale=k, name="ab")))


@scenario
def attributes_that_come_and_go(C: Any, see: Any) -> None:
    step = C(lambda n: n.x * getattr(n, "scale", 2.0) * (3 if hasattr(n, "flag") else 1))
    for k in range(12):
        see(step(SimpleNamespace(x=a(k), **[{}, {"scale": 0.5}, {"flag": None}][k // 2 % 3])))


@scenario
def integers_and_texts(C: Any, see: Any) -> None:
    step = C(lambda b: getattr(np, b.name)(b.x) * b.scale)
    for k in range(12):
        see(step(new(k, scale=k, name=["sin", "cos"][k // 3 % 2])))


@scenario
def the_last_batch_is_smaller(C: Any, see: Any) -> None:
    step = C(lambda b: b.loss() + len(b.x))
    for k in range(12):
        see(step(new(k, n=[4, 4, 4, 2][k % 4])))


@scenario
def none_or_an_array(C: Any, see: Any) -> None:
    step = C(lambda b: b.x if b.mask is None else b.x * b.mask)
    for k in range(12):
        see(step(Derived(a(k), a(k), mask=a(k + 1) if k % 3 else None)))


@scenario
def cached_properties(C: Any, see: Any) -> None:
    step = C(lambda b: b.x / b.total + b.total)
    for k in range(12):
        b = Derived(a(k), a(k))
        see(step(b), sorted(vars(b)))


@scenario
def the_same_is_state(C: Any, see: Any) -> None:
    s = SimpleNamespace(current=new(0))

    def step(b: Any) -> Any:
        s.current.scale += 1
        return b.x * b.scale, b is s.current

    step = C(step)
    for k in range(12):
        see(step(s.current if k % 3 == 1 else new(k)), s.current)


@scenario
def state_later(C: Any, see: Any) -> None:
    s = SimpleNamespace(current=None)
    step = C(lambda b: b.x * (2 if b is s.current else 1) + (0 if s.current is None else s.current.scale))
    for k in range(12):
        b = new(k)
        if k == 4:
            s.current = b
        see(step(b), step(s.current or b))


@scenario
def one_object_twice(C: Any, see: Any) -> None:
    def step(b: Any, c: Any) -> Any:
        return b.x * c.y, b is c, b.x is c.x

    step, b = C(step), new(50)
    for k in range(12):
        c = new(k)
        see(step(c, c if k % 2 else b), step(b, b))


@scenario
def one_that_holds_itself(C: Any, see: Any) -> None:
    step = C(lambda n: n.x * 2 if n.other is n and n.parts[0] is n else n.x)
    for k in range(10):
        n = Node(a(k))
        n.other, n.parts = n, [n]
        see(step(n)) if k % 3 else see(step(Node(a(k), n, [1])))


@scenario
def shared_lists(C: Any, see: Any) -> None:
    def step(n: Any, parts: Any) -> Any:
        return n.x * 2 if n.parts is parts else n.x

    step = C(step)
    for k in range(10):
        parts = [a(k)]
        see(step(Node(a(k), parts=parts), parts if k % 2 else list(parts)))


@scenario
def replaced(C: Any, see: Any) -> None:
    step = C(lambda b: dataclasses.replace(b, x=b.x * 2))
    for k in range(10):
        b = new(k)
        made = step(b)
        see(made, made.y is b.y, made is b)


@scenario
def as_dictionary(C: Any, see: Any) -> None:
    step = C(lambda b: {f.name: getattr(b, f.name) for f in dataclasses.fields(b)})
    for k in range(10):
        see(step(new(k)), step(new(k)))


@scenario
def named_tuples_that_hold_them(C: Any, see: Any) -> None:
    step = C(lambda p: p.x * p.inner.x)
    for k in range(10):
        see(step(Pair(a(k), new(k))))


@scenario
def functions_and_models_in_fields(C: Any, see: Any) -> None:
    model = mlp(0)
    width = next(model.parameters()).shape[0]
    step = C(lambda n: n.other(n.x))
    n = Node(a(0, 2, width), model)
    for k in range(10):
        n.x = a(k, 2, width)
        see(step(n), step(Node(a(k), np.sin)))


@scenario
def generators_in_fields(C: Any, see: Any) -> None:
    step, n = C(lambda n: n.x * n.other.normal(size=3)), Node(a(0), np.random.default_rng(0))
    for _ in range(10):
        see(step(n), n.other)


@scenario
def known_by_identity(C: Any, see: Any) -> None:
    cache: dict[Any, Any] = {}
    step = C(lambda n: n.x * cache.get(n, 1.0))
    nodes = [Key(a(k)) for k in range(3)]
    for k in range(12):
        if k == 4:
            cache[nodes[1]] = 5.0
        see(step(nodes[k % 3]))


@scenario
def strict(C: Any, see: Any) -> None:
    s = SimpleNamespace(last=None)

    def step(b: Any) -> Any:
        s.last = b
        return b.x * 2

    step, same = C(step, fallback="raise"), C(lambda b: b.loss(), fallback="raise")
    b = new(0)
    for k in range(5):
        b.x = a(k)
        see(step(b), s.last is b, same(new(k)))


@scenario
def iterated_over(C: Any, see: Any) -> None:
    @dataclass
    class Rows:
        x: Any
        n: int

        def __iter__(self) -> Iterator[Any]:
            return iter(self.x[: self.n])

    step = C(lambda r: sum(row * k for k, row in enumerate(r)))
    for k in range(10):
        see(step(Rows(a(k, 4, 2), 2 + k // 5)))


@scenario
def a_key_of_the_state(C: Any, see: Any) -> None:
    cache: dict[Any, Any] = {}

    def step(n: Any) -> Any:
        if n not in cache:
            cache[n] = n.x * 2
        return cache[n] + n.x

    step = C(step)
    nodes = [Key(a(k)) for k in range(6)]
    for k in range(12):
        see(step(nodes[k // 2]), [key is n for key, n in zip(cache, nodes, strict=False)], list(cache.values()))


@scenario
def a_key_of_the_result(C: Any, see: Any) -> None:
    step = C(lambda n: ({n: n.x * 2}, {(n, 1): 3}, {n}))
    for k in range(10):
        n = Key(a(k))
        one, two, three = step(n)
        see(n in one, (n, 1) in two, n in three, list(one.values()))


@scenario
def a_member_of_the_state(C: Any, see: Any) -> None:
    seen: set[Any] = set()

    def step(n: Any) -> Any:
        is_new = n not in seen
        seen.add(n)
        return n.x * 2, is_new

    step = C(step)
    nodes = [Key(a(k)) for k in range(6)]
    for k in range(12):
        see(step(nodes[k // 2]), [n in seen for n in nodes])


@scenario
def a_frozen_key_of_the_state(C: Any, see: Any) -> None:
    cache: dict[Any, Any] = {}

    def step(x: Any, f: Any) -> Any:
        if f not in cache:
            cache[f] = x * 2
        return cache[f] + x

    step = C(step)
    for k in range(12):
        see(step(a(k), Frozen("a", k // 3)), cache)


@scenario
def keys_without_arrays(C: Any, see: Any) -> None:
    step = C(lambda x, n: ({n: x * 2}, {(n, 1): 3}, {n}))
    for k in range(10):
        for n in (Key("a"), Frozen("a", k // 3)):
            one, two, three = step(a(k), n)
            see(n in one, (n, 1) in two, n in three, list(one.values()))


@scenario
def generator_argument_that_is_the_states(C: Any, see: Any) -> None:
    s, g = SimpleNamespace(rng=np.random.default_rng(1)), np.random.default_rng(2)
    keys = {g: 5}
    same = C(lambda rng, x: x * (rng.random() + (10 if rng is s.rng else 0)))
    key = C(lambda rng, x: x * rng.random() * keys.get(rng, 1))
    kind = C(lambda rng, x: (x * rng.random(), type(rng).__name__, type(rng.bit_generator).__name__))
    others = [g, g, s.rng, g, np.random.default_rng(3), s.rng, np.random.Generator(np.random.MT19937(0)), g]
    for k, rng in enumerate(others):
        see(same(rng, numbers(k, 3)), key(rng, numbers(k, 3)), kind(rng, numbers(k, 3)))


@dataclass
class Marked:
    x: Any
    scale: float = 1.0


class Other(Marked):
    pass


@scenario
def dictionary_or_class_replaced(C: Any, see: Any) -> None:
    def dictionary(batch: Any) -> Any:
        batch.__dict__ = {"x": batch.x * 2, "q": 3}
        return batch.x.sum()

    def kind(batch: Any) -> Any:
        batch.__class__ = Other
        return batch.x * 2

    steps = C(dictionary), C(kind)
    for k in range(6):
        for step in steps:
            batch = Marked(numbers(k, 3))
            see(step(batch), vars(batch), type(batch).__name__)


@scenario
def known_by_id(C: Any, see: Any) -> None:
    ids: set[int] = set()
    step = C(lambda batch: batch.x * (2 if id(batch) in ids else 3))
    kept = []
    for k in range(8):
        batch = Marked(numbers(k, 3))
        kept.append(batch)
        if k % 3 == 2:
            ids.add(id(batch))
        see(step(batch))


@scenario
def held_by_an_iterator(C: Any, see: Any) -> None:
    batch = Marked(numbers(0, 3))
    endless = itertools.repeat(batch)
    step = C(lambda given: (given.x * 2, given is next(endless)))
    for k in range(6):
        see(step(batch if k % 2 == 0 else Marked(numbers(k, 3))))


@scenario
def weakly_referred_to(C: Any, see: Any) -> None:
    s = SimpleNamespace(last=None)

    def step(batch: Any) -> Any:
        s.last = weakref.ref(batch)
        return batch.x * 2

    compiled = C(step)
    for k in range(5):
        batch = Marked(numbers(k, 3))
        see(compiled(batch), s.last() is batch)
