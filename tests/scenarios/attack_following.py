"""Numbers out of arrays on their way to code that can tell them from what stands for them: by ever other ways."""

from __future__ import annotations

import array
import contextlib
import copy
import functools
import io
import math
import operator
import weakref
from collections import Counter, UserDict, UserList, deque, namedtuple
from dataclasses import dataclass
from math import isnan
from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import nn, optim
from scenarios.attack_state import drive
from scenarios.parts import in_json, numbers, weight
from scenarios.scenario import scenario


def tried(C: Any, see: Any, *steps: Any) -> None:
    """Call each step some times with other values; what it raises counts too."""
    for step in steps:
        run = C(step)
        for k in range(7):
            see.attempt(run, numbers(k, 3))


class Meter:
    """Keeps a sum, and shows it as text."""

    def __init__(self) -> None:
        self.sum, self.text = 0.0, ""

    def update(self, v: Any, n: int = 1) -> None:
        """Add to the sum."""
        self.sum += v * n

    def shown(self) -> str:
        """The sum as JSON."""
        return in_json(self.sum)


@scenario
def names_that_mean_something_else(C: Any, see: Any) -> None:
    def round(v: Any, n: int = 0) -> Any:
        return in_json(v)

    class math:
        isnan = staticmethod(in_json)
        sqrt = staticmethod(lambda v: type(v) is float)

    def step(x: Any) -> Any:
        return round(x.sum().item(), 2), x

    def other(x: Any) -> Any:
        v = x.sum().item()
        return math.isnan(v), math.sqrt(v)

    def third(x: Any, float: Any = in_json, sum: Any = in_json) -> Any:
        v = x.sum().item()
        return float(v), sum(v)

    def fourth(x: Any) -> Any:
        int = in_json
        return int(x.sum().item()), [isnan(v) for v in (x.sum().item(),)]

    tried(C, see, step, other, third, fourth)


@scenario
def globals_that_mean_something_else(C: Any, see: Any) -> None:
    scope: dict[str, Any] = {"in_json": in_json, "round": in_json, "isnan": in_json, "float": in_json}
    text = "def step(x):\n    v = x.sum().item()\n    return round(v), isnan(v), float(v)\n"
    exec(text, scope)
    tried(C, see, scope["step"])


@scenario
def methods_that_are_replaced(C: Any, see: Any) -> None:
    one, two, three = Meter(), Meter(), Meter()
    one.update = in_json  # type: ignore[method-assign,assignment]
    two.update = functools.partial(in_json)  # type: ignore[method-assign,assignment]
    three.update = {}.setdefault  # type: ignore[method-assign,assignment]
    s = SimpleNamespace(meter=Meter(), add=Meter().update)

    class Texts(Meter):
        def update(self, v: Any, n: int = 1) -> None:
            self.text = in_json(v)

    def replaced(x: Any) -> Any:
        s.meter = Texts()
        s.meter.update(x.sum().item(), 2)
        return s.meter.text, s.meter.sum

    def switched(x: Any) -> Any:
        s.add = in_json
        return s.add(x.sum().item())

    tried(
        C,
        see,
        lambda x: one.update(x.sum().item()),
        lambda x: two.update(x.sum().item()),
        lambda x: three.update(x.sum().item(), 1),
        replaced,
        switched,
    )


@scenario
def a_helper_that_the_step_replaces(C: Any, see: Any) -> None:
    def plain(v: Any) -> Any:
        return v * 2

    helper = plain

    def step(x: Any) -> Any:
        nonlocal helper
        helper = in_json
        found = helper(x.sum().item())
        helper = plain
        return found, helper(x.mean().item())

    tried(C, see, step)


@scenario
def properties(C: Any, see: Any) -> None:
    class Logs:
        def __init__(self) -> None:
            self.values: list[Any] = []

        @property
        def last(self) -> Any:
            return self.values[-1]

        @last.setter
        def last(self, v: Any) -> None:
            self.values.append(in_json(v))

        @property
        def text(self) -> str:
            return in_json(self.values)

        @functools.cached_property
        def first(self) -> str:
            return in_json(self.values[:1])

    logs = Logs()

    def step(x: Any) -> Any:
        logs.values.append(x.sum().item())
        return logs.text, logs.first, logs.last

    def setter(x: Any) -> Any:
        logs.last = x.sum().item()
        return logs.last

    tried(C, see, step, setter)
    see(logs.values)


@scenario
def generators_and_closures(C: Any, see: Any) -> None:
    def losses(x: Any) -> Any:
        for row in x:
            yield row.item()

    def counted() -> Any:
        total = 0.0

        def add(v: Any) -> None:
            nonlocal total
            total += v

        return add, lambda: in_json(total)

    add, text = counted()

    def step(x: Any) -> Any:
        add(x.sum().item())
        return text()

    def inner(x: Any) -> Any:
        v = x.sum().item()

        def described(w: Any = v) -> str:
            return in_json(w)

        return described()

    tried(C, see, lambda x: [in_json(v) for v in losses(x)], step, inner, lambda x: list(map(in_json, losses(x))))


@scenario
def finally_and_else(C: Any, see: Any) -> None:
    s = SimpleNamespace(last=0.0, text="")

    def ended(x: Any) -> Any:
        try:
            s.last = x.sum().item()
            return s.last
        finally:
            s.text = in_json(s.last)

    def otherwise(x: Any) -> Any:
        try:
            s.last = x.sum().item()
        except ValueError:
            return None
        else:
            s.text = in_json(s.last)
        for _ in range(2):
            if s.last == 0.125:
                break
            s.last += 1
        else:
            s.text += in_json(s.last)
        return s.text

    def looped(x: Any) -> Any:
        for _ in range(2):
            s.text = in_json(s.last)
            s.last = x.sum().item()
        return s.text

    def while_(x: Any) -> Any:
        k, text = 0, ""
        while k < 2:
            text, k = in_json(s.last), k + 1
            s.last = x.mean().item()
        return text

    tried(C, see, ended, otherwise, looped, while_)
    see(s.text)


@scenario
def stars_and_defaults(C: Any, see: Any) -> None:
    def shown(a: Any, *rest: Any, b: Any = 0, **options: Any) -> Any:
        return in_json(a), in_json(rest), in_json(b), in_json(options)

    def passed(*values: Any, **options: Any) -> Any:
        return shown(*values, **options)

    def forwarded(f: Any, *values: Any) -> Any:
        return f(*values)

    tried(
        C,
        see,
        lambda x: shown(*[x.sum().item(), 1]),
        lambda x: shown(0, x.sum().item()),
        lambda x: shown(0, **{"b": x.sum().item()}),
        lambda x: shown(0, c=x.sum().item()),
        lambda x: passed(x.sum().item(), c=1),
        lambda x: forwarded(in_json, x.sum().item()),
        lambda x: (lambda v: in_json(v))(x.sum().item()),  # noqa: PLC3002
        lambda x: [f(x.sum().item()) for f in (in_json, repr)],
    )


@scenario
def meters_in_c(C: Any, see: Any) -> None:
    class Counts(Counter):  # type: ignore[type-arg]
        pass

    class Queue(deque):  # type: ignore[type-arg]
        def append(self, v: Any) -> None:
            super().append(in_json(v))

    counts, queue, doubles = Counts(), Queue(), array.array("d")
    keys: dict[Any, int] = {}
    members: set[Any] = set()
    weak: Any = weakref.WeakSet()
    users, mapping = UserList[Any](), UserDict[str, Any]()

    def counted(x: Any) -> Any:
        counts.update([x.sum().item()])
        counts.update({"loss": x.sum().item()})
        counts["last"] += x.mean().item()
        return dict(counts), in_json(counts["last"])

    def queued(x: Any) -> Any:
        queue.append(x.sum().item())
        return list(queue)

    def doubled(x: Any) -> Any:
        doubles.append(x.sum().item())
        doubles.extend([x.mean().item()])
        return doubles.tolist()

    def keyed(x: Any) -> Any:
        keys[x.sum().item()] = 1
        members.add(x.mean().item())
        return list(keys), sorted(members), {x.sum().item(): 2}, {x.sum().item()}

    def weakly(x: Any) -> Any:
        weak.add(x.sum().item())
        return len(weak)

    def wrapped(x: Any) -> Any:
        users.append(x.sum().item())
        mapping["loss"] = x.mean().item()
        return in_json(users.data), in_json(mapping.data)

    tried(C, see, counted, queued, doubled, keyed, weakly, wrapped)


@scenario
def texts(C: Any, see: Any) -> None:
    def caught(x: Any) -> Any:
        v = x.sum().item()
        try:
            return f"{v:.3f}", "%s" % v, "{}".format(v), format(v, ".2f"), str(v)  # noqa: UP031, UP032
        except TypeError:
            return "none"

    def raised(x: Any) -> Any:
        v = x.sum().item()
        if v > 0:
            raise ValueError(f"loss {v:.3f}")
        raise KeyError(v)

    def joined(x: Any) -> Any:
        return ", ".join([str(v) for v in (x.sum().item(), x.mean().item())]), repr([x.sum().item()])

    tried(C, see, caught, raised, joined)


@scenario
def asked_what_it_is(C: Any, see: Any) -> None:
    kept = SimpleNamespace(v=0.0)

    def kind(v: Any) -> Any:
        return type(v) is float, type(v) in (int, float), isinstance(v, np.floating), v.__class__ is float

    def same(x: Any) -> Any:
        v = x.sum().item()
        kept.v = v
        return kept.v is v, v is not None, [v] == [v], v in [v], v in (1.0, 2.0)

    tried(
        C,
        see,
        lambda x: kind(x.sum().item()),
        lambda x: [kind(v) for v in (float(x.sum()), int(x[0]))],
        same,
        lambda x: (x.sum().item().real, x.sum().item().imag, x.sum().item().is_integer(), float(x[0]).hex()),
        lambda x: (x.sum().item().as_integer_ratio(), int(x[0] * 9).bit_length(), operator.index(int(x[0] * 9))),
        lambda x: (hash(x.sum().item()), x.sum().item().__repr__(), callable(x.sum().item())),
        lambda x: hasattr(x.sum().item(), "shape"),
    )


@scenario
def two_names_of_one_list(C: Any, see: Any) -> None:
    shared: list[Any] = []
    s = SimpleNamespace(one=shared, two=shared, logs={"a": shared})
    meter = Meter()

    def aliased(x: Any) -> Any:
        s.one.append(x.sum().item())
        return in_json(s.two)

    def inside(x: Any) -> Any:
        h = s.logs["a"]
        h.append(x.sum().item())
        return in_json(s.logs)

    def whole(x: Any) -> Any:
        meter.update(x.sum().item())
        return in_json(vars(meter)), in_json(meter.__dict__), copy.copy(meter).shown(), copy.deepcopy(meter).sum

    def as_dict(x: Any) -> Any:
        meter.__dict__["sum"] = x.sum().item()
        meter.__dict__.update(text=x.mean().item())
        return meter.shown(), in_json(meter.text)

    def by_name(x: Any) -> Any:
        setattr(meter, "su" + "m", x.sum().item())
        return meter.shown(), in_json(getattr(meter, "su" + "m"))

    tried(C, see, aliased, inside, whole, as_dict, by_name)


@scenario
def code_of_the_users_that_minigrad_runs(C: Any, see: Any) -> None:
    s = SimpleNamespace(last=0.0, texts=[])

    class Net(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(3, 1, rng=0)

        def forward(self, x: Any) -> Any:
            s.texts.append(in_json(s.last))
            return self.layer(x)

    class Descent(optim.SGD):
        def step(self) -> None:
            s.texts.append(in_json(s.last))
            super().step()

    net, w = Net(), weight(3)
    plain = nn.Linear(3, 1, rng=0)
    mine = Descent(plain.parameters(), lr=0.1)
    w.register_hook(lambda g: s.texts.append(in_json(s.last)))

    def called(x: Any) -> Any:
        s.last = x.sum().item()
        return net(x).sum(), s.texts[-1]

    def hooked(x: Any) -> Any:
        w.grad = None
        loss = (w * x).sum()
        s.last = loss.item()
        loss.backward()
        return s.texts[-1]

    def stepped(x: Any) -> Any:
        loss = plain(x).sum()
        mine.zero_grad()
        loss.backward()
        s.last = loss.item()
        mine.step()
        return s.texts[-1]

    def mapped(x: Any) -> Any:
        s.last = x.sum().item()
        return mg.tree_map(lambda p: in_json(s.last), {"a": 1}), mg.tree_map(in_json, [x.sum().item()])

    tried(C, see, called, hooked, stepped, mapped)


@scenario
def objects_that_are_called_or_made(C: Any, see: Any) -> None:
    class Logger:
        def __call__(self, v: Any) -> str:
            return in_json(v)

        @staticmethod
        def static(v: Any) -> str:
            return in_json(v)

        @classmethod
        def of_class(cls, v: Any) -> str:
            return in_json(v)

    class Record:
        def __init__(self, v: Any) -> None:
            self.text = in_json(v)

    class Box:
        def item(self) -> str:
            return in_json(kept.v)

    @dataclass
    class Loss:
        value: float
        text: str = ""

        def __post_init__(self) -> None:
            self.text = in_json(self.value)

    pair = namedtuple("pair", "a b")
    kept, log, box = SimpleNamespace(v=0.0), Logger(), Box()

    @functools.lru_cache
    def cached(v: Any) -> str:
        return in_json(v)

    @functools.singledispatch
    def dispatched(v: Any) -> str:
        return "object"

    @dispatched.register
    def _(v: float) -> str:
        return in_json(v)

    def boxed(x: Any) -> Any:
        kept.v = x.sum().item()
        return box.item()

    tried(
        C,
        see,
        lambda x: (log(x.sum().item()), log.static(x.sum().item()), Logger.of_class(x.sum().item())),
        lambda x: Record(x.sum().item()).text,
        lambda x: Loss(x.sum().item()).text,
        lambda x: in_json(pair(x.sum().item(), 2)),
        lambda x: (cached(x.sum().item()), dispatched(x.sum().item())),
        lambda x: (functools.reduce(operator.add, [x.sum().item(), 1.0]), in_json(max([x.sum().item()], key=in_json))),
        lambda x: sorted([x[0].item(), x[1].item()], key=in_json),
        boxed,
    )


@scenario
def errors_of_arithmetic(C: Any, see: Any) -> None:
    def root(x: Any) -> Any:
        try:
            return math.sqrt(x.sum().item())
        except ValueError:
            return -1.0

    def inverse(x: Any) -> Any:
        try:
            return 1.0 / int(x.sum())
        except ZeroDivisionError:
            return 0.0

    def power(x: Any) -> Any:
        try:
            return (x.sum().item() * 1e150) ** 3
        except OverflowError:
            return "large"

    def whole(x: Any) -> Any:
        try:
            return round((x.sum() / (x[0] > 0)).item())
        except (ValueError, OverflowError):
            return "not finite"

    def caught_by_a_helper(x: Any) -> Any:
        return [root(row) for row in (x, -x)], math.log(abs(x.sum().item())), (-abs(x.sum().item())) ** 0.5

    tried(C, see, root, inverse, power, whole, caught_by_a_helper)
    raising = C(lambda x: (math.sqrt(x.sum().item()), x.sum().item() ** -2, round(x.sum().item(), 1)))
    for values in ([1.0], [2.0], [3.0], [-1.0], [0.0], [np.nan], [np.inf], [4.0]):
        see.attempt(raising, np.array(values))


@scenario
def into_arrays(C: Any, see: Any) -> None:
    table = np.arange(30.0)

    def written(x: Any) -> Any:
        fresh = np.zeros(3)
        fresh[0] = x.sum().item()
        return fresh

    tried(
        C,
        see,
        written,
        lambda x: np.array([x.sum().item(), 1.0]),
        lambda x: (np.float32(x.sum().item()), np.full(2, x.sum().item()), np.asarray(x.sum().item())),
        lambda x: (np.mean([x.sum().item(), 2.0]), np.isscalar(x.sum().item()), np.ndim(x.sum().item())),
        lambda x: (table[int(x[0] * 3)], table[: int(abs(x[0]) * 3)], np.zeros(int(abs(x[0]) * 3))),
        lambda x: (x * round(x.sum().item(), 1), np.round(x.sum().item(), 1), np.sqrt(abs(x.sum().item()))),
        lambda x: [2 * k for k in range(int(abs(x[0]) * 3))],
        lambda x: mg.Tensor([x.sum().item(), 1.0]),
    )


@scenario
def statements(C: Any, see: Any) -> None:
    def matched(x: Any) -> Any:
        match x.sum().item():
            case float() as v:
                return v
            case _:
                return "no float"

    def walrus(x: Any) -> Any:
        if (v := x.sum().item()) > 0:
            return in_json(v)
        return v

    def with_class(x: Any) -> Any:
        v = x.sum().item()

        class Local:
            text = in_json(v)

        return Local.text

    def imported(x: Any) -> Any:
        v = x.sum().item()
        from json import dumps

        try:
            return dumps(v)
        except TypeError:
            return "no number"

    def asserted(x: Any) -> Any:
        v = x.sum().item()
        assert v < 100, in_json(v)
        return v

    def deleted(x: Any) -> Any:
        v, w = x.sum().item(), [x.mean().item()]
        del v, w[0]
        return w

    tried(C, see, matched, walrus, with_class, imported, asserted, deleted)


@scenario
def callbacks_and_subclasses(C: Any, see: Any) -> None:
    class Texts(Meter):
        def update(self, v: Any, n: int = 1) -> None:
            super().update(v, n)
            self.text = in_json(v)

    callbacks, several = [in_json, repr], {"a": Meter(), "b": Texts()}

    def each(x: Any) -> Any:
        return [f(x.sum().item()) for f in callbacks], callbacks[0](x.sum().item())

    def all_of_them(x: Any) -> Any:
        for meter in several.values():
            meter.update(x.sum().item(), 2)
        several["b"].update(x.mean().item())
        return several["b"].text, several["a"].sum, several["a"].shown()

    tried(C, see, each, all_of_them)


@scenario
def containers_that_are_replaced_and_read(C: Any, see: Any) -> None:
    """What the step puts into a place in each call, and reads by ever other ways, or the user replaces."""
    one: dict[str, Any] = {"w": None, "n": 0}
    two: dict[str, Any] = {"w": [0.0]}
    three: dict[str, Any] = {"w": [1.0]}
    held, s = (three,), SimpleNamespace(w=[1.0], v=[2.0], u=None)

    class Kept:
        w: Any = (3.0,)

        def __iter__(self) -> Any:
            return iter(vars(self).values())

    kept = Kept()

    def by_values(x: Any) -> Any:
        found = [v for v in one.values() if v is not None]
        one["w"] = [x.sum() * 2]
        return len(found), found[0]

    def by_another_name(x: Any) -> Any:
        other = two
        before = other["w"][0]
        two["w"] = [x * 2]
        return before

    def in_a_tuple(x: Any) -> Any:
        before = [next(iter(part.values()))[0] for part in held]
        three["w"] = [x * 2]
        return before

    def attribute(x: Any) -> Any:
        before = s.w[0]
        s.w = [x * 2]
        s.v = {"a": x}
        return before

    def iterated(x: Any) -> Any:
        before = [*kept]
        kept.w = (x * 2,)
        return before

    def only_sometimes(x: Any) -> Any:
        if x[0] > 0:
            s.u = {"x": x * 2}
        return x.sum()

    steps = [C(f) for f in (by_values, by_another_name, in_a_tuple, attribute, iterated, only_sometimes)]
    for k in range(12):
        for step in steps:
            see.attempt(step, numbers(k, 3))
        see(one, two, three, s, kept.w)
        if k == 5:
            s.v, s.u, s.w = None, [1], [x * 3 for x in s.w]
        if k == 8:
            two["w"], one["w"] = [np.ones(3)], None
            del s.v


# Dictionaries of losses that have the keys of the history


@scenario
def a_dictionary_with_the_keys_of_the_history(C: Any, see: Any) -> None:
    log: dict[str, list[float]] = {"loss": [], "size": []}

    def step(x: Any) -> Any:
        out = {"loss": (x * x).mean()}
        sizes = {"size": np.abs(x).max(), "loss": out["loss"] * 2}
        log["loss"].append(float(out["loss"]))
        log["size"].append(sizes["size"].item())
        return sizes["loss"]

    drive(C, see, step, calls=14)
    see(log)


@scenario
def a_history_read_through_a_dictionary_of_the_steps(C: Any, see: Any) -> None:
    log: dict[str, list[Any]] = {"loss": [], "all": [], "kept": []}

    def step(x: Any) -> Any:
        out: dict[str, Any] = {}
        out.update(log)
        more = {"kept": log["kept"]}
        log["loss"].append(1.0)
        log["all"].append(2.0)
        log["kept"].append(3.0)
        also = {"all": x}
        also["all"] = log["all"]
        return x * (len(out["loss"]) + 10 * len(also["all"]) + 100 * len(more["kept"]))

    drive(C, see, step, calls=12)


@scenario(eager=True)
def a_rare_print_at_the_first_call_and_after_a_change(C: Any, see: Any) -> None:
    state = {"n": 0, "rate": 0.1}

    def step(x: Any) -> Any:
        loss = (x * state["rate"]).sum()
        if state["n"] % 4 == 0:
            print(f"{float(loss):.3f}")
        state["n"] += 1
        return loss

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        drive(C, see, step, lambda k: state.update(rate=0.1 + (k > 6) * 0.1), calls=14)
    see(text.getvalue())


@scenario
def a_confusion_matrix_beside_an_accuracy(C: Any, see: Any) -> None:
    matrix, rates = np.zeros((2, 2), int), list[float]()

    def step(x: Any) -> Any:
        guess, label = (x > 0).astype(int), (x > 0.1).astype(int)
        rates.append(float((guess == label).mean()))
        np.add.at(matrix, (label, guess), 1)
        return x * 2

    drive(C, see, step)
    see(matrix, rates)
