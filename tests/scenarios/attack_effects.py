"""What a step leaves behind in containers, objects and functions of all kinds, and what is kept or given back later."""

from __future__ import annotations

import dataclasses
import enum
import functools
import gc
import weakref
from collections import Counter, OrderedDict, defaultdict, deque
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from scenarios.attack_state import drive
from scenarios.parts import numbers, weight
from scenarios.scenario import scenario


@scenario
def window_of_the_last_losses(C: Any, see: Any) -> None:
    s = SimpleNamespace(losses=[])

    def step(x: Any) -> Any:
        s.losses.append(x.sum())
        if len(s.losses) > 4:
            s.losses.pop(0)
        return x * 2

    drive(C, see, step, None, s, calls=14)


@scenario
def list_truncated_when_it_is_long(C: Any, see: Any) -> None:
    history: list[Any] = []

    def step(x: Any) -> Any:
        history.append(x * 2)
        if len(history) >= 6:
            history.clear()
        return x.sum()

    drive(C, see, step, None, history, calls=14)


@scenario
def list_that_grows_and_whose_start_is_read(C: Any, see: Any) -> None:
    items = [2.0]

    def step(x: Any) -> Any:
        items.append(1.0)
        return x * items[0]

    drive(C, see, step, lambda k: items.__setitem__(0, 2.0 + (k > 5)), items)


@scenario
def list_that_grows_is_replaced_outside(C: Any, see: Any) -> None:
    s = SimpleNamespace(items=[])

    def step(x: Any) -> Any:
        s.items.append(x.sum())
        return x * 2

    def change(k: int) -> None:
        if k == 5:
            s.items = []
        if k == 7:
            s.items.clear()

    drive(C, see, step, change, s)


@scenario
def length_is_returned(C: Any, see: Any) -> None:
    items: list[Any] = []

    def step(x: Any) -> Any:
        items.append(x.sum())
        return len(items)

    drive(C, see, step, None, items)


@scenario
def list_of_lists(C: Any, see: Any) -> None:
    s: list[list[Any]] = [[]]

    def step(x: Any) -> Any:
        s[-1].append(x.sum())
        s.append([])
        return x * 2

    drive(C, see, step, None, s)


@scenario
def innermost_list_changes_outside(C: Any, see: Any) -> None:
    s: list[list[Any]] = [[]]

    def step(x: Any) -> Any:
        s[-1].append(x.sum())
        return x * 2

    drive(C, see, step, lambda k: s.append([]) if k in (4, 7) else None, s)


@scenario
def inserted_at_the_front(C: Any, see: Any) -> None:
    items = [np.zeros(3)]

    def step(x: Any) -> Any:
        items.insert(0, x * 2)
        return items[0].sum()

    drive(C, see, step, None, items)


@scenario
def inserted_and_popped(C: Any, see: Any) -> None:
    items = [np.zeros(3), np.ones(3), np.full(3, 2.0)]

    def step(x: Any) -> Any:
        items.insert(0, x * 2)
        return items.pop() + items[1]

    drive(C, see, step, None, items)


@scenario
def reversed_sorted_and_sliced(C: Any, see: Any) -> None:
    items, order = [np.zeros(3), np.ones(3)], [3, 1, 2]

    def step(x: Any) -> Any:
        items.reverse()
        order.sort()
        items[1:] = [x * 2, x * 3]
        del items[2]
        return items[0] + order[0]

    drive(C, see, step, lambda k: order.reverse() if k == 5 else None, items, order)


@scenario
def extended_and_multiplied(C: Any, see: Any) -> None:
    a: list[Any] = []
    b = [1]

    def step(x: Any) -> Any:
        a.extend([x.sum(), x * 2])
        a[-1:] = [x * 3, x * 4]
        b.append(2)
        return x

    drive(C, see, step, None, a, b)


@scenario
def deque_rotated(C: Any, see: Any) -> None:
    d = deque([np.zeros(3), np.ones(3), np.full(3, 2.0)], maxlen=3)

    def step(x: Any) -> Any:
        d.rotate(1)
        d[0] = d[0] + x
        return d[0] * 2

    drive(C, see, step, None, d)


@scenario
def deque_from_the_left(C: Any, see: Any) -> None:
    d: deque[Any] = deque(maxlen=3)

    def step(x: Any) -> Any:
        d.appendleft(x * 2)
        return d[0].sum() + len(d)

    drive(C, see, step, None, d)


@scenario
def deque_read_while_it_fills(C: Any, see: Any) -> None:
    d: deque[Any] = deque(maxlen=4)

    def step(x: Any) -> Any:
        d.append(x)
        return np.stack(list(d)).mean(axis=0)

    drive(C, see, step, None, d, calls=12)


@scenario
def queue_of_a_delay(C: Any, see: Any) -> None:
    d = deque([np.zeros(3)] * 3)

    def step(x: Any) -> Any:
        d.append(x * 2)
        return d.popleft() + x

    drive(C, see, step, None, d)


@scenario
def keys_popped_and_updated(C: Any, see: Any) -> None:
    d: dict[str, Any] = {"a": 1.0, "b": np.ones(3)}

    def step(x: Any) -> Any:
        b = d.pop("b")
        d.update(c=x * 2, b=b + 1)
        d.setdefault("n", 0)
        d["n"] += 1
        return b.sum()

    drive(C, see, step, None, d)
    see(list(d))


@scenario
def dict_cleared(C: Any, see: Any) -> None:
    d: dict[str, Any] = {"old": 1}

    def step(x: Any) -> Any:
        d.clear()
        d["x"] = x * 2
        d["y"] = {"z": [x.sum()]}
        return x

    drive(C, see, step, lambda k: d.update(other=k) if k == 5 else None, d)


@scenario
def nested_dict_of_results(C: Any, see: Any) -> None:
    d: dict[str, Any] = {"train": {}, "test": {"loss": None}}

    def step(x: Any) -> Any:
        d["train"]["loss"] = x.sum()
        d["train"].setdefault("all", []).append(x.mean())
        d["test"]["loss"] = d["train"]["loss"] * 2
        return d["train"]["loss"]

    drive(C, see, step, None, d)


@scenario
def default_dict_of_lists(C: Any, see: Any) -> None:
    d: defaultdict[str, list[Any]] = defaultdict(list)

    def step(x: Any) -> Any:
        d["loss"].append(x.sum())
        d["norm"].append((x * x).sum())
        return x * 2

    drive(C, see, step, lambda k: d.clear() if k == 6 else None, d)


@scenario
def sets_and_counters(C: Any, see: Any) -> None:
    seen: set[Any] = set()
    c: Counter[Any] = Counter()

    def step(x: Any) -> Any:
        seen.add(x.shape)
        c[x.shape] += 1
        return x * len(seen)

    step = C(step)
    for k in range(10):
        see(step(numbers(k, 3 + (k > 5))), seen, c)


@scenario
def new_objects_left(C: Any, see: Any) -> None:
    class Record:
        made = 0

        def __init__(self, loss: Any, step: int) -> None:
            self.loss, self.step = loss, step
            Record.made += 1

    s = SimpleNamespace(last=None, n=0, all=[])

    def step(x: Any) -> Any:
        s.n += 1
        s.last = Record(x.sum(), s.n)
        s.all.append(s.last)
        return s.last

    step = C(step)
    for k in range(8):
        r = step(numbers(k, 3))
        see(r, s, r is s.last, r is s.all[-1], Record.made)


@scenario
def objects_with_new_needing_arguments(C: Any, see: Any) -> None:
    class Pair:
        def __new__(cls, a: Any, b: Any) -> Any:
            made = super().__new__(cls)
            made.total = a + b  # type: ignore[attr-defined]
            return made

    drive(C, see, lambda x: Pair(x, x * 2))


@scenario
def slots_in_new_objects(C: Any, see: Any) -> None:
    class Pair:
        __slots__ = ("__b", "a")

        def __init__(self, a: Any, b: Any) -> None:
            self.a, self.__b = a, b

        def total(self) -> Any:
            return self.a + self.__b

    step = C(lambda x: Pair(x, x * 2))
    for k in range(7):
        p = step(numbers(k, 3))
        see(p.a, p.total())


@scenario
def frozen_and_slotted_data_classes_returned(C: Any, see: Any) -> None:
    @dataclasses.dataclass(frozen=True)
    class A:
        x: Any
        k: int = 1

    @dataclasses.dataclass(slots=True)
    class B:
        a: A
        more: list[Any] = dataclasses.field(default_factory=list)

    step = C(lambda x: B(A(x * 2), [x.sum()]))
    kept = []
    for k in range(7):
        b = step(numbers(k, 3))
        b.more.append(k)
        kept.append(b)
        see(b.a.x, b.a.k, b.more)
    see([b.more for b in kept], [b.a.x for b in kept])


@scenario
def named_tuples_returned(C: Any, see: Any) -> None:
    class Out(NamedTuple):
        loss: Any
        more: Any = None

    class Scaled(Out):
        pass

    def step(x: Any) -> Any:
        s = Scaled(x.sum(), 2)
        s.note = "a"
        return Out(x * 2), s

    step = C(step)
    for k in range(7):
        out, s = step(numbers(k, 3))
        see(out, s, s.note, type(s).__name__)


@scenario
def container_subclasses_returned(C: Any, see: Any) -> None:
    class Items(list):  # type: ignore[type-arg]
        made = 0

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            Items.made += 1
            self.note: Any = None

    class Table(dict):  # type: ignore[type-arg]
        pass

    def step(x: Any) -> Any:
        items, table = Items([x * 2]), Table(a=x)
        items.note, table.note = "n", x.sum()  # type: ignore[attr-defined]
        return items, table

    step = C(step)
    for k in range(7):
        items, table = step(numbers(k, 3))
        see(list(items), items.note, dict(table), table.note, Items.made)


@scenario
def ordered_and_default_dicts_returned(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        d: defaultdict[str, list[Any]] = defaultdict(list)
        d["a"].append(x)
        o = OrderedDict(b=x, a=x * 2)
        o.move_to_end("b")
        return d, o, Counter(a=2), deque([x], maxlen=2), frozenset([1])

    step = C(step)
    for k in range(7):
        d, o, c, q, f = step(numbers(k, 3))
        d["b"].append(1)
        q.append(1)
        q.append(2)
        see(d, list(o.items()), c, q, f)


@scenario
def exceptions_returned(C: Any, see: Any) -> None:
    class Stop(Exception):
        pass

    s = SimpleNamespace(error=None)

    def step(x: Any) -> Any:
        try:
            raise Stop("stopped", 3)
        except Stop as error:
            s.error = error
        return x * 2

    step = C(step)
    for k in range(6):
        see(step(numbers(k, 3)), type(s.error).__name__, s.error.args)


@scenario
def numbers_of_a_user_returned(C: Any, see: Any) -> None:
    class Rate(float):
        pass

    def step(x: Any) -> Any:
        r = Rate(2.0)
        r.note = [1]  # type: ignore[attr-defined]
        return x * r, r

    step = C(step)
    for k in range(6):
        y, r = step(numbers(k, 3))
        r.note.append(k)
        see(y, r.note)


@scenario
def functions_returned(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        seen: list[Any] = []

        def add(v: Any) -> Any:
            seen.append(v)
            return len(seen)

        return x * 2, add

    step = C(step)
    for k in range(7):
        y, add = step(numbers(k, 3))
        see(y, add(1), add(2))


@scenario
def functions_over_results_returned(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        out = [x * 2]
        y = x * 3
        return lambda: out[0] + y

    step = C(step)
    for k in range(7):
        see(step(numbers(k, 3))())


@scenario
def partials_returned(C: Any, see: Any) -> None:
    s = SimpleNamespace(f=None)

    def step(x: Any) -> Any:
        s.f = functools.partial(np.add, x * 2)
        return x

    step = C(step)
    for k in range(7):
        step(numbers(k, 3))
        see(s.f(1.0))


@scenario
def bound_methods_returned(C: Any, see: Any) -> None:
    class A:
        def __init__(self, y: Any) -> None:
            self.y = y

        def get(self) -> Any:
            return self.y

    step = C(lambda x: A(x * 2).get)
    for k in range(7):
        see(step(numbers(k, 3))())


@scenario
def enums_and_classes_returned(C: Any, see: Any) -> None:
    class E(enum.Enum):
        A = 1

    class B:
        pass

    step = C(lambda x: (E.A, B, x.sum(), Ellipsis, slice(1, 2), range(3), 1j, b"x"))
    for k in range(6):
        a, b, *rest = step(numbers(k, 3))
        see(a is E.A, b is B, rest)


@scenario
def generators_returned(C: Any, see: Any) -> None:
    step = C(lambda x: (v * 2 for v in (x, x + 1)))
    for k in range(6):
        see(list(step(numbers(k, 3))))


@scenario
def iterators_and_views_returned(C: Any, see: Any) -> None:
    step = C(lambda x: (zip([x], [x * 2], strict=True), {"a": x * 3}.values(), map(np.sum, [x])))
    for k in range(6):
        a, b, c = step(numbers(k, 3))
        see(list(a), list(b), list(c))


@scenario
def classes_made_inside(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        class Out:
            value = x * 2

        return Out

    step = C(step)
    for k in range(6):
        see(step(numbers(k, 3)).value)


@scenario
def cycles_of_objects(C: Any, see: Any) -> None:
    class N:
        pass

    def step(x: Any) -> Any:
        a, b = N(), N()
        a.other, b.other, a.x = b, a, x * 2  # type: ignore[attr-defined]
        return a

    step = C(step)
    for k in range(6):
        a = step(numbers(k, 3))
        see(a.other.other is a, a.x)


@scenario
def list_that_contains_itself(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        a: list[Any] = [x * 2]
        a.append(a)
        return a

    step = C(step)
    for k in range(6):
        a = step(numbers(k, 3))
        see(a[1] is a, a[0])


@scenario
def same_object_in_two_places(C: Any, see: Any) -> None:
    s = SimpleNamespace(a=None, b=None, c=[])

    def step(x: Any) -> Any:
        y = mg.asarray(x) * 2
        s.a, s.b = y, [y]
        s.c.append(s.b)
        return y, s.b

    step = C(step)
    for k in range(7):
        y, b = step(numbers(k, 3))
        see(s, y is s.a, b is s.b, s.c[-1] is b, b[0] is y)


@scenario
def views_of_results_left(C: Any, see: Any) -> None:
    s = SimpleNamespace(whole=None, part=None)

    def step(x: Any) -> Any:
        s.whole = x * 2
        s.part = s.whole[1:]
        return s.part[:1], s.whole.reshape(3, 1).T

    step = C(step)
    for k in range(7):
        a, b = step(numbers(k, 3))
        a += 100.0
        see(s, a, b)


@scenario
def state_aliased_by_the_step(C: Any, see: Any) -> None:
    s = SimpleNamespace(a=np.zeros(3), b=None)

    def step(x: Any) -> Any:
        s.b = s.a
        s.a = s.a + x
        s.b += 1
        return s.a

    drive(C, see, step, None, s)


@scenario
def user_changes_what_was_returned(C: Any, see: Any) -> None:
    s = SimpleNamespace(total=np.zeros(3))

    def step(x: Any) -> Any:
        s.total = s.total + x
        return s.total

    step = C(step)
    for k in range(8):
        y = step(numbers(k, 3))
        if k % 3 == 1:
            y[0] = 50.0
        see(y, s)


@scenario
def user_changes_state_returned(C: Any, see: Any) -> None:
    buffer = np.zeros(3)

    def step(x: Any) -> Any:
        buffer[:] = buffer * 0.5 + x
        return buffer, buffer[1:]

    step = C(step)
    for k in range(8):
        y, z = step(numbers(k, 3))
        y *= 2
        z[0] = k
        see(y, z, buffer)


@scenario
def results_of_earlier_calls_kept(C: Any, see: Any) -> None:
    w = weight(3)
    step = C(lambda x: {"y": w * x, "v": (w.data * x)[:2], "s": (w.data * x).sum()})
    kept = []
    for k in range(9):
        kept.append(step(numbers(k, 3)))
        w.data += 0.1
        see(kept)


@scenario
def result_is_given_back(C: Any, see: Any) -> None:
    step = C(lambda h, x: (h * 0.5 + x, h))
    h = np.zeros(3)
    for k in range(9):
        h, old = step(h, numbers(k, 3))
        see(h, old)


@scenario
def constant_results(C: Any, see: Any) -> None:
    step = C(lambda x: (np.ones(2), [1, 2], {"a": {}}, None, "x", mg.Tensor(np.zeros(1))))
    for k in range(7):
        a, b, c, d, e, t = step(numbers(k, 3))
        a += 1
        b.append(3)
        c["a"]["k"] = k
        t.data[0] = k
        see(a, b, c, d, e, t)


@scenario
def weak_reference_to_a_result(C: Any, see: Any) -> None:
    s = SimpleNamespace(last=None)

    def step(x: Any) -> Any:
        s.last = mg.asarray(x) * 2
        return x.sum()

    step = C(step)
    for k in range(7):
        step(numbers(k, 3))
        r = weakref.ref(s.last)
        s.last = None
        gc.collect()
        see(r() is None)


@scenario
def replaced_state_is_freed(C: Any, see: Any) -> None:
    class Cache:
        def __init__(self, v: float) -> None:
            self.v = v

    s = SimpleNamespace(cache=Cache(1.0))
    step = C(lambda x: x * s.cache.v)
    refs = []
    for k in range(7):
        refs.append(weakref.ref(s.cache))
        see(step(numbers(k, 3)))
        if k == 4:
            s.cache = Cache(2.0)
    see(s.cache.v)


@scenario
def attributes_deleted(C: Any, see: Any) -> None:
    s = SimpleNamespace(a=1.0, b=2.0)

    def step(x: Any) -> Any:
        if hasattr(s, "b"):
            y = x * s.b
            del s.b
            return y
        s.b = 3.0
        return x

    drive(C, see, step, None, s)


@scenario
def properties_that_write(C: Any, see: Any) -> None:
    class A:
        def __init__(self) -> None:
            self._v, self.reads, self.writes = np.zeros(3), 0, 0

        @property
        def v(self) -> Any:
            self.reads += 1
            return self._v

        @v.setter
        def v(self, value: Any) -> None:
            self.writes += 1
            self._v = value

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)

    a = A()

    def step(x: Any) -> Any:
        a.v = a.v + x
        return a.v.sum()

    drive(C, see, step, None, a)


@scenario
def argument_object_is_written(C: Any, see: Any) -> None:
    @C
    def step(x: Any, ctx: Any) -> Any:
        ctx.last = x * 2
        return x.sum()

    for k in range(8):
        ctx = SimpleNamespace(name="a")
        see(step(numbers(k, 3), ctx), ctx)


@scenario
def same_argument_object_is_written(C: Any, see: Any) -> None:
    ctx = SimpleNamespace(n=0, scale=2.0)

    @C
    def step(x: Any, ctx: Any) -> Any:
        ctx.n += 1
        return x * ctx.scale * ctx.n

    for k in range(10):
        see(step(numbers(k, 3), ctx), ctx)


@scenario
def argument_function_writes(C: Any, see: Any) -> None:
    @C
    def step(x: Any, report: Any) -> Any:
        report(x.sum())
        return x * 2

    for k in range(8):
        seen: list[Any] = []
        see(step(numbers(k, 3), seen.append), seen)


@scenario
def argument_closure_writes(C: Any, see: Any) -> None:
    @C
    def step(x: Any, report: Any) -> Any:
        report(x.sum())
        return x * 2

    for k in range(8):
        seen: list[Any] = []
        see(step(numbers(k, 3), lambda v, seen=seen: seen.append(v)), seen)


@scenario
def argument_objects_with_arrays(C: Any, see: Any) -> None:
    @dataclasses.dataclass
    class Batch:
        x: Any
        y: Any
        name: str = "a"

    w = weight(3)

    @C
    def step(batch: Any) -> Any:
        loss = ((w * batch.x - batch.y) ** 2).sum()
        w.grad = None
        loss.backward()
        w.data -= 0.1 * w.grad.data
        return loss

    for k in range(12):
        see(step(Batch(numbers(k, 4, 3), numbers(k + 50, 4, 3))), w)


@scenario
def argument_object_is_returned(C: Any, see: Any) -> None:
    step = C(lambda x, o: (x * o.scale, o, [o]))
    for k in range(8):
        o = SimpleNamespace(scale=2.0)
        y, same, inside = step(numbers(k, 3), o)
        see(y, same is o, inside[0] is o)


@scenario
def argument_object_is_kept(C: Any, see: Any) -> None:
    s = SimpleNamespace(last=None)

    @C
    def step(x: Any, o: Any) -> Any:
        s.last = o
        return x * o.scale

    for k in range(8):
        o = SimpleNamespace(scale=2.0)
        step(numbers(k, 3), o)
        see(s.last is o)


@scenario
def argument_is_the_state(C: Any, see: Any) -> None:
    s = SimpleNamespace(main=SimpleNamespace(scale=2.0))
    step = C(lambda x, o: x * o.scale if o is s.main else x)
    for k in range(8):
        o = s.main if k % 3 else SimpleNamespace(scale=2.0)
        see(step(numbers(k, 3), o))


@scenario
def container_arguments_changed(C: Any, see: Any) -> None:
    @C
    def step(x: Any, out: Any) -> Any:
        out["y"] = x * 2
        return x.sum()

    for k in range(7):
        out: dict[str, Any] = {}
        see(step(numbers(k, 3), out), out)


@scenario
def subclass_of_dict_as_an_argument(C: Any, see: Any) -> None:
    class Config(dict):  # type: ignore[type-arg]
        __getattr__ = dict.__getitem__

    step = C(lambda x, c: x * c.scale + c["y"])
    for k in range(9):
        see(step(numbers(k, 3), Config(scale=1.0 + k // 4, y=numbers(k + 9, 3))))


@scenario
def argument_becomes_the_state_late(C: Any, see: Any) -> None:
    s = SimpleNamespace(main=SimpleNamespace(scale=2.0), act=lambda x: x * 2)
    step = C(lambda x, o, f: (x * o.scale if o is s.main else x, f(x) if f is s.act else x))
    for k in range(10):
        o, f = (s.main, s.act) if k in (5, 8) else (SimpleNamespace(scale=2.0), lambda x: x * 2)
        see(step(numbers(k, 3), o, f))
