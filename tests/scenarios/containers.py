"""Containers and objects among the arguments: which they are, what they hold, and what the step leaves in them."""

from __future__ import annotations

import functools
from collections import Counter, OrderedDict, UserDict, defaultdict, deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from scenarios.parts import mlp, numbers, weight
from scenarios.scenario import scenario

PAIRS = {
    "list": lambda: [numbers(0, 3)],
    "dict": lambda: {"a": numbers(1, 3)},
    "nested": lambda: [{"a": numbers(1, 3)}],
    "tuple": lambda: (numbers(2, 3), 1),
    "ordered": lambda: OrderedDict(a=numbers(3, 3)),
    "deque": lambda: deque([numbers(4, 3)], maxlen=3),
    "set": lambda: {1, 2},
    "partial": lambda: functools.partial(np.multiply, 2.0),
    "namespace": lambda: SimpleNamespace(a=numbers(5, 3)),
    "object": lambda: Plain(numbers(6, 3)),
    "slots": lambda: Slots(numbers(7, 3)),
    "bytes": lambda: bytearray(b"ab"),
}


class Plain:
    """What people write before they know dataclasses."""

    def __init__(self, x: Any, scale: float = 1.0) -> None:
        self.x, self.scale = x, scale
        self.calls = 0

    def scaled(self) -> Any:
        return self.x * self.scale

    @functools.cached_property
    def squared(self) -> Any:
        return self.x**2


class Slots:
    __slots__ = ("loss", "x")

    def __init__(self, x: Any) -> None:
        self.x = x


@dataclass(slots=True)
class SlotsData:
    x: Any
    history: list[Any] = field(default_factory=list)


@dataclass
class Record:
    x: Any
    history: list[Any] = field(default_factory=list)
    best: Any = None


class Batch(dict):  # type: ignore[type-arg]
    """A dictionary whose items are attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


class Encoding(UserDict):  # type: ignore[type-arg]
    pass


class Rows(list):  # type: ignore[type-arg]
    def total(self) -> Any:
        return sum(x.sum() for x in self)


class Pair(NamedTuple):
    a: Any
    b: Any


def _identity(kind: str, order: str) -> Any:
    """Whether an argument is the one that the state has, passed in turns with an equal one."""

    def run(C: Any, see: Any) -> None:
        state = SimpleNamespace(items=PAIRS[kind](), x=numbers(9, 3))
        other = PAIRS[kind]()

        def step(q: Any, x: Any) -> Any:
            return x * 2 if q is state.items else x + state.x

        compiled = C(step)
        for which in order:
            see(compiled(state.items if which == "s" else other, numbers(8, 3)))

    run.__name__ = f"{kind}_{order}"
    run.__module__ = __name__
    return run


for _kind in PAIRS:
    for _order in ("oooso", "sssos", "ososos"):
        scenario(_identity(_kind, _order))


@scenario
def two_arguments_hold_one(C: Any, see: Any) -> None:
    def step(p: Any, q: Any, x: Any) -> Any:
        return x * 2 if p["parts"] is q else x

    step = C(step)
    for k in range(6):
        parts = [numbers(k)]
        see(step({"parts": parts}, parts if k % 2 else list(parts), numbers(k)))


@scenario
def a_tuple_of_the_state(C: Any, see: Any) -> None:
    state = SimpleNamespace(pair=(numbers(0, 3), numbers(1, 3)))
    step = C(lambda p, x: p[0] * x if p is state.pair else p[0] + x)
    for k in range(8):
        see(step(state.pair if k % 3 == 2 else (numbers(0, 3), numbers(1, 3)), numbers(k, 3)))


@scenario
def one_tuple_twice(C: Any, see: Any) -> None:
    step = C(lambda p, q, x: x * 2 if p is q else x)
    for k in range(8):
        p, q = (numbers(k), 1), (numbers(k), 1)
        see(step(p, p if k % 3 else q, numbers(k)))
        see(step(p[1:], p[1:], numbers(k)))
    shape = (2, 3)
    see(step(shape, shape, numbers(0)), step(shape, tuple(range(2, 4)), numbers(0)))


@scenario
def arguments_of_the_state_with_a_star(C: Any, see: Any) -> None:
    state = SimpleNamespace(pair=(numbers(0, 3), numbers(1, 3)))
    step = C(lambda *p: p[0] * p[1] + state.pair[0])
    for k in range(6):
        see(step(*state.pair) if k % 2 else step(numbers(k, 3), numbers(1, 3)))


@scenario
def metrics_are_filled(C: Any, see: Any) -> None:
    w = weight(3)

    def step(x: Any, logs: Any) -> Any:
        loss = ((w * x) ** 2).sum()
        loss.backward()
        logs["loss"] = loss.detach()
        logs["norm"] = np.sqrt((w.grad**2).sum())
        w.grad = None
        return loss

    step = C(step)
    kept = {}
    for k in range(6):
        logs = {} if k % 2 else kept
        see(step(numbers(k, 3), logs), logs, list(logs))


@scenario
def metrics_are_added_up(C: Any, see: Any) -> None:
    def step(x: Any, logs: Any) -> None:
        logs["sum"] = logs["sum"] + x.sum()
        logs["count"] += 1

    step = C(step)
    logs = {"sum": np.float64(0), "count": 0, "name": "train"}
    for k in range(8):
        step(numbers(k, 3), logs)
        see(logs)


@scenario
def a_default_dictionary(C: Any, see: Any) -> None:
    def step(x: Any, found: Any) -> Any:
        found["mean"].append(x.mean())
        return x * 2

    step = C(step)
    found = defaultdict(list)
    for k in range(6):
        see(step(numbers(k, 3), found), dict(found))
        see(step(numbers(k, 3), defaultdict(list)))


@scenario
def a_counter(C: Any, see: Any) -> None:
    def step(x: Any, seen: Any) -> Any:
        seen["calls"] += 1
        return x * seen["calls"]

    step = C(step)
    seen = Counter()
    for k in range(8):
        see(step(numbers(k, 3), seen), seen)


@scenario
def ordered_dictionaries(C: Any, see: Any) -> None:
    def step(p: Any) -> Any:
        p.move_to_end("a")
        return sum(k * x for k, x in enumerate(p.values()))

    step = C(step)
    for k in range(6):
        p = OrderedDict(a=numbers(k, 3), b=numbers(k + 1, 3), c=numbers(k + 2, 3))
        see(step(p), list(p))


@scenario
def keys_are_removed(C: Any, see: Any) -> None:
    def step(p: Any) -> Any:
        x = p.pop("x")
        p["y"] = x * p["y"]
        return p

    step = C(step)
    for k in range(6):
        p = {"x": numbers(k, 3), "y": numbers(k + 1, 3)}
        see(step(p) is p, p)


@scenario
def a_list_is_appended_to(C: Any, see: Any) -> None:
    history: list[Any] = []

    def step(x: Any, history: Any) -> Any:
        history.append(x.mean())
        return x * 2

    step = C(step)
    for k in range(12):
        see(step(numbers(k, 3), history), history)


@scenario
def lists_of_a_dictionary_are_appended_to(C: Any, see: Any) -> None:
    history: dict[str, list[Any]] = {"loss": [], "norm": []}

    def step(x: Any, history: Any) -> Any:
        history["loss"].append(x.mean())
        history["norm"].append((x**2).sum())
        return x * 2

    step = C(step)
    for k in range(12):
        see(step(numbers(k, 3), history), history)


@scenario
def a_fresh_list_is_appended_to(C: Any, see: Any) -> None:
    def step(x: Any, out: Any) -> Any:
        for k in range(3):
            out.append(x * k)

    step = C(step)
    for k in range(6):
        out: list[Any] = []
        step(numbers(k, 3), out)
        see(out)


@scenario
def a_list_is_reordered(C: Any, see: Any) -> None:
    def step(parts: Any) -> Any:
        parts.reverse()
        parts[0], parts[1] = parts[1], parts[0] + 1
        return parts

    step = C(step)
    for k in range(6):
        parts = [numbers(k), numbers(k + 1), numbers(k + 2)]
        held = list(parts)
        see(step(parts) is parts, parts, parts[1] is held[2], parts[2] is held[0])


@scenario
def items_are_exchanged(C: Any, see: Any) -> None:
    def step(p: Any, q: Any) -> None:
        p["x"], q["x"] = q["x"], p["x"]

    step = C(step)
    for k in range(6):
        p, q = {"x": numbers(k)}, {"x": numbers(k + 1)}
        a, b = p["x"], q["x"]
        step(p, q)
        see(p, q, p["x"] is b, q["x"] is a)
    one = {"x": numbers(1)}
    step(one, one)
    see(one)


@scenario
def one_list_is_put_into_another(C: Any, see: Any) -> None:
    def step(p: Any, q: Any) -> Any:
        p.append(q)
        q.append(len(p))
        return p[-1] is q

    step = C(step)
    for k in range(6):
        p, q = [numbers(k)], [numbers(k + 1)]
        see(step(p, q), p[-1] is q, p, q)


@scenario
def an_argument_is_left_in_the_state(C: Any, see: Any) -> None:
    state = SimpleNamespace(latest=None, all=[])

    def step(batch: Any) -> Any:
        state.latest = batch
        return batch["x"] * 2

    step = C(step)
    for k in range(6):
        batch = {"x": numbers(k, 3)}
        see(step(batch), state.latest is batch)


@scenario
def an_argument_is_appended_to_the_state(C: Any, see: Any) -> None:
    buffer: list[Any] = []

    def step(batch: Any) -> Any:
        buffer.append(batch)
        return batch["x"] * 2

    step = C(step)
    for k in range(6):
        batch = {"x": numbers(k, 3)}
        see(step(batch), buffer[-1] is batch, len(buffer))


@scenario
def an_argument_is_returned(C: Any, see: Any) -> None:
    step = C(lambda batch, other: (batch, {"other": other, "sum": batch["x"] + other[0]}))
    for k in range(6):
        batch, other = {"x": numbers(k, 3)}, [numbers(k + 1, 3)]
        one, two = step(batch, other)
        see(one is batch, two["other"] is other, two)


@scenario
def gradients_through_filled_containers(C: Any, see: Any) -> None:
    w = weight(3)

    def loss(x: Any, logs: Any) -> Any:
        y = w * x
        logs["y"] = y.detach()
        return (y**2).sum()

    loss = C(loss)
    for k in range(6):
        logs: dict[str, Any] = {"old": k}
        loss(numbers(k, 3), logs).backward()
        see(w.grad, logs)


@scenario
def a_tensor_with_history_in_a_filled_container(C: Any, see: Any) -> None:
    w = weight(3)

    def step(x: Any, out: Any) -> Any:
        out["y"] = w * x
        return x.sum()

    step = C(step)
    for k in range(5):
        out: dict[str, Any] = {}
        see(step(numbers(k, 3), out))
        out["y"].sum().backward()
        see(w.grad)


@scenario
def plain_objects(C: Any, see: Any) -> None:
    step = C(lambda p: p.scaled() + p.squared)
    for k in range(10):
        see(step(Plain(numbers(k, 3), 1.0 + k)))


@scenario
def plain_objects_that_are_written(C: Any, see: Any) -> None:
    def step(p: Any) -> Any:
        p.calls += 1
        p.loss = p.scaled().sum()
        return p

    step = C(step)
    for k in range(10):
        p = Plain(numbers(k, 3), 1.0 + k)
        see(step(p) is p, p.calls, p.loss, sorted(vars(p)))


@scenario
def cached_properties_of_plain_objects(C: Any, see: Any) -> None:
    step = C(lambda p: p.squared * 2)
    for k in range(10):
        p = Plain(numbers(k, 3))
        see(step(p), sorted(vars(p)), p.squared)


@scenario
def one_plain_object_for_ever(C: Any, see: Any) -> None:
    p = Plain(numbers(0, 3))
    p.history = []

    def step(p: Any, x: Any) -> Any:
        p.x = p.x + x
        p.scale *= 0.5
        return p.scaled()

    step = C(step)
    for k in range(10):
        see(step(p, numbers(k, 3)))
        p.history.append(k)
    see(p.x, p.scale)


@scenario
def two_plain_objects_in_turns(C: Any, see: Any) -> None:
    parts = [Plain(numbers(0, 3)), Plain(numbers(1, 3))]

    def step(p: Any, x: Any) -> Any:
        p.x = p.x * 0.5 + x
        return p.x.sum()

    step = C(step)
    for k in range(12):
        see(step(parts[k % 2], numbers(k, 3)))
    see(*parts)


@scenario
def plain_objects_that_hold_a_model(C: Any, see: Any) -> None:
    model = mlp()

    class Context:
        def __init__(self, x: Any) -> None:
            self.model, self.x = model, x

    def step(c: Any) -> Any:
        loss = (c.model(c.x) ** 2).mean()
        loss.backward()
        return loss

    step = C(step)
    for k in range(10):
        see(step(Context(numbers(k, 5, 3))))
        for p in model.parameters():
            see(p.grad)
            p.grad = None


@scenario
def objects_with_slots(C: Any, see: Any) -> None:
    def step(p: Any) -> Any:
        p.loss = p.x.sum()
        p.x = p.x * 2
        return p.loss

    step = C(step)
    for k in range(10):
        p = Slots(numbers(k, 3))
        see(step(p), p.x, p.loss)


@scenario
def dataclasses_with_slots(C: Any, see: Any) -> None:
    def step(p: Any) -> Any:
        p.history.append(p.x.mean())
        p.x = -p.x
        return p.x * 2

    step = C(step)
    for k in range(6):
        p = SlotsData(numbers(k, 3))
        see(step(p), p.x, p.history)


@scenario
def records_that_are_written(C: Any, see: Any) -> None:
    def step(p: Any) -> Any:
        p.history.append(p.x.mean())
        p.best = p.x if p.best is None else np.maximum(p.best, p.x)
        return p

    step = C(step)
    for k in range(6):
        p = Record(numbers(k, 3))
        for j in range(3):
            p.x = numbers(k + j, 3)
            see(step(p) is p, p.best, p.history)


@scenario
def attributes_are_deleted(C: Any, see: Any) -> None:
    def step(p: Any) -> Any:
        x = p.x
        del p.x
        p.y = x * 2
        return x

    step = C(step)
    for k in range(6):
        p = SimpleNamespace(x=numbers(k, 3), z=k)
        see(step(p), sorted(vars(p)), p.y)


@scenario
def dictionaries_with_attributes(C: Any, see: Any) -> None:
    def step(p: Any) -> Any:
        p.loss = (p.x * p["y"]).sum()
        return p.loss

    step = C(step)
    for k in range(10):
        p = Batch(x=numbers(k, 3), y=numbers(k + 1, 3))
        see(step(p), p.loss, list(p))


@scenario
def dictionaries_of_the_standard_library(C: Any, see: Any) -> None:
    step = C(lambda p: p["x"] * len(p))
    for k in range(10):
        see(step(Encoding(x=numbers(k, 3), y=k)))


@scenario
def lists_with_methods(C: Any, see: Any) -> None:
    def step(p: Any) -> Any:
        p.append(p[0] * 2)
        return p.total()

    step = C(step)
    for k in range(10):
        p = Rows([numbers(k, 3)])
        see(step(p), p)


@scenario
def deques(C: Any, see: Any) -> None:
    def step(p: Any, x: Any) -> Any:
        p.append(x * 2)
        return sum(p)

    step = C(step)
    lasting: Any = deque(maxlen=3)
    for k in range(8):
        see(step(lasting, numbers(k, 3)), list(lasting))
    for k in range(8):
        fresh: Any = deque([numbers(k, 3)], maxlen=2)
        see(step(fresh, numbers(k, 3)), list(fresh))


@scenario
def sets_are_changed(C: Any, see: Any) -> None:
    def step(p: Any, x: Any) -> Any:
        p.add(3)
        return x * len(p)

    step = C(step)
    for k in range(8):
        p = {1, 2}
        see(step(p, numbers(k, 3)), p)


@scenario
def objects_without_arrays_are_changed(C: Any, see: Any) -> None:
    class Count:
        def __init__(self) -> None:
            self.n = 0

    def step(p: Any, x: Any) -> Any:
        p.n += 1
        return x * p.n

    step = C(step)
    for k in range(8):
        p = Count()
        see(step(p, numbers(k, 3)), p.n)
        see(step(p, numbers(k, 3)), p.n)


@scenario
def functions_with_attributes_are_changed(C: Any, see: Any) -> None:
    def step(f: Any, x: Any) -> Any:
        f.calls = getattr(f, "calls", 0) + 1
        return f(x)

    step = C(step)
    for k in range(8):
        f = lambda x: x * 2
        see(step(f, numbers(k, 3)), f.calls)  # type: ignore[attr-defined]


@scenario
def closures_are_changed(C: Any, see: Any) -> None:
    def counter() -> Any:
        count = 0

        def f(x: Any) -> Any:
            nonlocal count
            count += 1
            return x * count

        return f

    step = C(lambda f, x: f(x))
    for k in range(8):
        f = counter()
        see(step(f, numbers(k, 3)), step(f, numbers(k, 3)))


@scenario
def methods_of_fresh_objects(C: Any, see: Any) -> None:
    class Gain:
        def __init__(self, k: float) -> None:
            self.k, self.calls = k, 0

        def __call__(self, x: Any) -> Any:
            return x * self.k

        def counted(self, x: Any) -> Any:
            self.calls += 1
            return x * self.k * self.calls

    step = C(lambda f, x: f(x))
    for k in range(8):
        see(step(Gain(2.0), numbers(k, 3)))
        g = Gain(3.0)
        see(step(g.counted, numbers(k, 3)), g.calls)


@scenario
def partials_of_containers(C: Any, see: Any) -> None:
    def scaled(logs: Any, x: Any) -> Any:
        logs["calls"] += 1
        return x * logs["calls"]

    step = C(lambda f, x: f(x))
    for k in range(8):
        logs = {"calls": k % 2}
        see(step(functools.partial(scaled, logs), numbers(k, 3)), logs)


@scenario
def lists_inside_tuples_are_changed(C: Any, see: Any) -> None:
    def step(p: Any) -> Any:
        p.a.append(p.b * 2)
        return p.b

    step = C(step)
    for k in range(6):
        p = Pair([], numbers(k, 3))
        see(step(p), p.a)


@scenario
def keys_that_are_objects(C: Any, see: Any) -> None:
    state: dict[Any, Any] = {}

    def step(p: Any) -> Any:
        state[p] = p.x * 2
        return state[p]

    step = C(step)
    kept = []
    for k in range(10):
        kept.append(Plain(numbers(k, 3)))
        see(step(kept[-1]), len(state), all(x in state for x in kept))


@scenario
def named_by_keywords(C: Any, see: Any) -> None:
    def step(x: Any, **options: Any) -> Any:
        options["extra"] = 1
        options["logs"]["n"] = len(options)
        return x * options["scale"]

    step = C(step)
    for k in range(6):
        logs: dict[str, Any] = {}
        given = {"scale": 2.0, "logs": logs}
        see(step(numbers(k, 3), **given), logs, sorted(given))


@scenario
def the_step_raises_half_way(C: Any, see: Any) -> None:
    def step(logs: Any, labels: Any, x: Any) -> Any:
        logs["started"] = x.sum()
        out = x[labels]
        logs["done"] = out.sum()
        return out

    step = C(step)
    for k in range(8):
        logs: dict[str, Any] = {}
        see.attempt(step, logs, np.array([0, 5 if k == 5 else 2]), numbers(k, 3))
        see(logs)


@scenario
def tuples_are_returned_and_kept(C: Any, see: Any) -> None:
    kept: dict[str, Any] = {}

    def step(p: Any, q: Any, x: Any) -> Any:
        kept["p"] = p
        return p, q, p[0] * x

    step = C(step)
    for k in range(6):
        p, q = (numbers(k, 3), 1), Pair([], k)
        one, two, _ = step(p, q, numbers(k, 3))
        see(one is p, two is q, kept["p"] is p)


@scenario
def plain_objects_whose_attribute_is_assigned(C: Any, see: Any) -> None:
    def step(p: Any, x: Any) -> Any:
        p.x = p.x * x
        return p.x

    step = C(step)
    for k in range(12):
        p = Plain(numbers(k, 3))
        see(step(p, numbers(k, 3)), p.x)


@scenario(eager=True)
def lists_of_ever_other_lengths(C: Any, see: Any) -> None:
    step = C(lambda parts, x: sum(parts) * x)
    for k in range(60):
        see(step([numbers(j) for j in range(k % 40 + 1)], numbers(k)))


@scenario
def an_own_type_error_after_a_change(C: Any, see: Any) -> None:
    s = SimpleNamespace(t=0.5)

    def step(logs: Any, x: Any) -> Any:
        s.t += 0.25
        logs.append(s.t)
        if x[0] > 0:
            raise TypeError("mine")
        return x * s.t

    step = C(step)
    for k in range(12):
        logs: list[Any] = []
        see.attempt(step, logs, numbers(k, 3))
        see(logs, s.t)


@scenario
def what_the_state_has_is_put_into_an_argument(C: Any, see: Any) -> None:
    s = SimpleNamespace(w=np.ones(3))

    def step(p: Any, x: Any) -> Any:
        p["q"] = s.w
        return x + s.w

    step, p = C(step), {}
    for k in range(12):
        if k % 3 == 2:
            s.w = np.full(3, float(k))
        see(step(p, numbers(k, 3)), p, p["q"] is s.w)
