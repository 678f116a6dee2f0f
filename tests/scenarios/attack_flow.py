"""Calls around calls: exceptions and retries, nesting, recursion, threads, methods, modules that change."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import functools
import pickle
import threading
from types import MethodType, SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from scenarios.attack_state import drive
from scenarios.parts import batch, mlp, numbers, trainer, weight
from scenarios.scenario import scenario


@scenario
def half_written_state(C: Any, see: Any) -> None:
    s = SimpleNamespace(a=np.zeros(3), b=np.zeros(3), n=0)

    @C
    def step(x: Any) -> Any:
        s.n += 1
        s.a = s.a + x
        if s.n in (1, 5):
            raise ValueError(f"call {s.n}")
        s.b += x
        return s.a + s.b

    for k in range(9):
        see.attempt(step, numbers(k, 3))
        see(s)


@scenario
def finally_and_context_managers(C: Any, see: Any) -> None:
    s = SimpleNamespace(depth=0, log=[], fail=False)

    @contextlib.contextmanager
    def entered(name: str) -> Any:
        s.depth += 1
        s.log.append(name)
        try:
            yield s.depth
        finally:
            s.depth -= 1
            s.log.append("end")

    @C
    def step(x: Any) -> Any:
        with entered("a") as depth, entered("b"):
            if s.fail:
                raise KeyError("failed")
            try:
                return x * depth
            finally:
                s.last = x + 1

    for k in range(9):
        s.fail = k in (4, 7)
        see.attempt(step, numbers(k, 3))
        see(s)


@scenario
def retried_inside(C: Any, see: Any) -> None:
    s = SimpleNamespace(tries=0)

    @C
    def step(x: Any) -> Any:
        for k in range(3):
            s.tries += 1
            try:
                if k < 1:
                    raise ValueError
                return x * k
            except ValueError:
                continue
        return None

    for k in range(7):
        see(step(numbers(k, 3)), s)


@scenario
def suppressed_and_chained(C: Any, see: Any) -> None:
    s = SimpleNamespace(k=0)

    @C
    def step(x: Any) -> Any:
        with contextlib.suppress(ZeroDivisionError):
            x = x / (1 // (s.k % 3))
        if s.k == 5:
            try:
                raise ValueError("first")
            except ValueError as error:
                raise RuntimeError("second") from error
        return x

    for k in range(8):
        s.k = k
        see.attempt(step, numbers(k, 3))


@scenario
def exception_of_a_shape_then_right(C: Any, see: Any) -> None:
    w = weight(3, 2)
    step = C(lambda x: (x @ w).sum())
    for k in range(9):
        see.attempt(step, numbers(k, 2, 3 if k not in (0, 4, 5) else 4))


@scenario
def stop_iteration_and_generators(C: Any, see: Any) -> None:
    s = SimpleNamespace(items=[1.0, 2.0])

    @C
    def step(x: Any) -> Any:
        def pieces() -> Any:
            for v in s.items:
                yield x * v

        return sum(pieces()), next(iter(pieces())), next((p for p in pieces()), None)

    for k in range(8):
        if k == 4:
            s.items.append(3.0)
        see(step(numbers(k, 3)))


@scenario
def coroutines(C: Any, see: Any) -> None:
    s = SimpleNamespace(scale=1.0)
    step = C(lambda x: x * s.scale)

    async def main() -> None:
        for k in range(8):
            s.scale = 1.0 + k // 4
            see(step(numbers(k, 3)))
            await asyncio.sleep(0)

    asyncio.run(main())


@scenario
def coroutine_inside(C: Any, see: Any) -> None:
    async def double(x: Any) -> Any:
        return x * 2

    def step(x: Any) -> Any:
        coroutine = double(x)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value

    drive(C, see, step)


@scenario
def recursive_step(C: Any, see: Any) -> None:
    @C
    def step(x: Any, n: int) -> Any:
        return x if n == 0 else step(x, n - 1) * 2

    for k in range(9):
        see(step(numbers(k, 3), k % 3))


@scenario
def two_compiled_functions_share_state(C: Any, see: Any) -> None:
    s = SimpleNamespace(n=0, total=np.zeros(3))

    @C
    def add(x: Any) -> Any:
        s.n += 1
        s.total = s.total + x
        return s.total

    @C
    def reset() -> Any:
        old, s.total, s.n = s.total, s.total * 0, 0
        return old

    for k in range(12):
        see(add(numbers(k, 3)), s)
        if k % 3 == 2:
            see(reset(), s)


@scenario
def compiled_calls_compiled(C: Any, see: Any) -> None:
    s = SimpleNamespace(scale=1.0, n=0)

    @C
    def inner(x: Any) -> Any:
        s.n += 1
        return x * s.scale

    @C
    def outer(x: Any) -> Any:
        return inner(x) + inner(x + 1)

    for k in range(9):
        s.scale = 1.0 + k // 4
        see(outer(numbers(k, 3)), inner(numbers(k, 3)), s)


@scenario
def one_model_three_functions(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    train, test = C(trainer(model, optimizer)), C(lambda x: model(x).argmax(axis=1))
    norm = C(lambda: sum((p.data**2).sum() for p in model.parameters()))
    for k in range(9):
        x, y = batch(k)
        see(train(x, y), test(x), norm(), model(x), optimizer)
        if k == 4:
            for p in model.parameters():
                p.data *= 0.5


@scenario
def threads_with_objects_of_their_own(C: Any, see: Any) -> None:
    w = np.arange(3.0)
    step = C(lambda x: (x * w).sum())
    found: dict[int, list[Any]] = {j: [] for j in range(4)}

    def work(j: int) -> None:
        for k in range(12):
            found[j].append(step(numbers(100 * j + k, 3)))

    threads = [threading.Thread(target=work, args=(j,)) for j in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    see(found)


@scenario
def eager_calls_of_the_model_in_another_thread(C: Any, see: Any) -> None:
    model = mlp()
    step = C(lambda x: model(x).sum())
    found: list[Any] = []

    def work() -> None:
        found.extend(model(batch(k)[0]).data for k in range(20))

    thread = threading.Thread(target=work)
    thread.start()
    mine = [step(batch(k)[0]) for k in range(8)]
    thread.join()
    see(found, mine)


@scenario
def equal_frozen_instances(C: Any, see: Any) -> None:
    @dataclasses.dataclass(frozen=True)
    class Model:
        scale: float
        more: Any = dataclasses.field(default=None, compare=False)

        @C
        def step(self, x: Any) -> Any:
            return x * self.scale + self.more[0]

    a, b = Model(2.0, [1.0]), Model(2.0, [5.0])
    for k in range(8):
        see(a.step(numbers(k, 3)), b.step(numbers(k, 3)))


@scenario
def instances_of_data_classes(C: Any, see: Any) -> None:
    @dataclasses.dataclass
    class Model:
        scale: float

        @C
        def step(self, x: Any) -> Any:
            self.scale += 1
            return x * self.scale

    a, b = Model(2.0), Model(2.0)
    for k in range(8):
        see(a.step(numbers(k, 3)), b.step(numbers(k, 3)), a, b)


@scenario
def class_and_static_methods_compiled(C: Any, see: Any) -> None:
    class Model:
        scale = 1.0

        @classmethod
        @C
        def of_class(cls, x: Any) -> Any:
            return x * cls.scale

        @staticmethod
        @C
        def static(x: Any) -> Any:
            return x * Model.scale

        @property
        @C
        def total(self) -> Any:
            return np.ones(3) * self.scale

    class Sub(Model):
        scale = 5.0

    m = Model()
    for k in range(9):
        Model.scale = 1.0 + k // 4
        see(m.of_class(numbers(k, 3)), Sub.of_class(numbers(k, 3)), Model.static(numbers(k, 3)), m.total)


@scenario
def step_overridden_in_a_subclass(C: Any, see: Any) -> None:
    class A:
        k = 2.0

        @C
        def step(self, x: Any) -> Any:
            return x * self.k

    class B(A):
        @C
        def step(self, x: Any) -> Any:
            return super().step(x) + 1

    a, b = A(), B()
    for k in range(8):
        b.k = 2.0 + k // 4
        see(a.step(numbers(k, 3)), b.step(numbers(k, 3)))


@scenario
def copies_of_an_object_with_a_compiled_step(C: Any, see: Any) -> None:
    class Trainer:
        def __init__(self) -> None:
            self.w, self.n = np.ones(3), 0
            self.step = C(self._step)

        def _step(self, x: Any) -> Any:
            self.n += 1
            self.w = self.w + x
            return self.w * self.n

    t = Trainer()
    for k in range(4):
        see(t.step(numbers(k, 3)))
    u = copy.deepcopy(t)
    v = copy.copy(t)
    for k in range(5):
        see(t.step(numbers(k, 3)), u.step(numbers(k, 3)), v.step(numbers(k, 3)), t.w, u.w, v.w, t.n, u.n, v.n)


@scenario
def compiled_function_is_pickled(C: Any, see: Any) -> None:
    step = C(np.square)
    for k in range(4):
        see(step(numbers(k, 3)))
    again = pickle.loads(pickle.dumps(step))
    for k in range(4):
        see(again(numbers(k, 3)))


@scenario
def decorators_around_a_compiled_step(C: Any, see: Any) -> None:
    def counted(f: Any) -> Any:
        @functools.wraps(f)
        def inner(*args: Any, **options: Any) -> Any:
            inner.calls += 1
            return f(*args, **options)

        inner.calls = 0
        return inner

    @counted
    @C
    @counted
    def step(x: Any) -> Any:
        """Doc."""
        return x * 2

    for k in range(7):
        see(step(numbers(k, 3)), step.calls, step.__wrapped__.calls, step.__name__, step.__doc__)


@scenario
def step_with_a_cache_in_front(C: Any, see: Any) -> None:
    inner = C(lambda n: np.ones(n) * n)
    step = functools.lru_cache(inner)
    for k in (1, 2, 1, 2, 3, 1):
        see(step(k))


@scenario
def nonlocal_counters(C: Any, see: Any) -> None:
    n, total = 0, 0.0

    @C
    def step(x: Any) -> Any:
        nonlocal n, total
        n += 1
        total = total + x.sum()
        return x * n, total

    for k in range(9):
        if k == 5:
            n, total = 0, 0.0
        see(step(numbers(k, 3)), n, total)


@scenario
def method_of_an_instance_replaced(C: Any, see: Any) -> None:
    class A:
        def f(self, x: Any) -> Any:
            return x * 2

    a = A()
    step = C(lambda x: a.f(x))
    for k in range(9):
        if k == 3:
            a.f = MethodType(lambda self, x: x * 3, a)  # type: ignore[method-assign]
        if k == 6:
            del a.f
        see(step(numbers(k, 3)))


@scenario
def modules_inserted_and_removed(C: Any, see: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 3, rng=0), nn.Tanh())
    extra = nn.ModuleList([nn.Linear(3, 3, rng=1)]) if hasattr(nn, "ModuleList") else None

    def forward(x: Any) -> Any:
        y = model(x)
        for layer in extra or ():
            y = layer(y)
        return y.sum()

    step = C(forward)
    for k in range(10):
        if k == 3 and extra is not None:
            extra.append(nn.Linear(3, 3, rng=2))
        if k == 6:
            setattr(model, next(name for name, _ in model.named_children()), nn.Linear(3, 3, rng=3))
        see(step(numbers(k, 2, 3)))


@scenario
def module_that_counts_and_keeps(C: Any, see: Any) -> None:
    class Net(nn.Module):
        calls = 0

        def __init__(self) -> None:
            self.layer = nn.Linear(3, 3, rng=0)
            self.scales = {"a": 1.0}
            self.tags = ["x"]

        def forward(self, x: Any) -> Any:
            Net.calls += 1
            self.seen = x.shape
            y = self.layer(x) * self.scales["a"]
            return y * 2 if "y" in self.tags else y

    model = Net()
    step = C(lambda x: model(x).sum())
    for k in range(10):
        if k == 4:
            model.scales["a"] = 2.0
        if k == 7:
            model.tags.append("y")
        see(step(numbers(k, 2, 3)), Net.calls, model)


@scenario
def parameters_frozen_shared_and_resized(C: Any, see: Any) -> None:
    a, b = nn.Linear(3, 3, rng=0), nn.Linear(3, 3, rng=1)
    step = trainer(lambda x: b(mg.tanh(a(x))), SimpleNamespace(zero_grad=lambda: None, step=lambda: None))

    @C
    def train(x: Any, y: Any) -> Any:
        for p in (*a.parameters(), *b.parameters()):
            p.grad = None
        loss = step(x, y)
        for p in {id(p): p for p in (*a.parameters(), *b.parameters())}.values():
            if p.requires_grad and p.grad is not None:
                p.data -= 0.1 * p.grad.data
        return loss

    for k in range(12):
        if k == 3:
            a.weight.requires_grad = False
        if k == 6:
            b.weight = a.weight
        if k == 8:
            a.weight.requires_grad = True
        if k == 10:
            b.bias = mg.Tensor(np.zeros(3), requires_grad=True)
        see(train(*batch(k, classes=3)), a, b)


@scenario
def optimizer_gets_a_group(C: Any, see: Any) -> None:
    model, extra = nn.Linear(3, 4, rng=0), weight(4)
    optimizer = optim.Adam(model.parameters(), lr=0.05)

    @C
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        extra.grad = None
        loss = F.cross_entropy(model(x) * extra, y)
        loss.backward()
        optimizer.step()
        return loss

    for k in range(10):
        if k == 4 and hasattr(optimizer, "add_param_group"):
            optimizer.add_param_group({"params": [extra], "lr": 0.5})
        if k == 7:
            for group in optimizer.param_groups:
                group["lr"] = 0.01
        see(step(*batch(k)), model, extra)


@scenario
def state_loaded_in_between(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    step = C(trainer(model, optimizer))
    saved: Any = None
    for k in range(10):
        see(step(*batch(k)), model)
        if k == 3:
            saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
        if k == 6:
            model.load_state_dict(saved[0])
            optimizer.load_state_dict(saved[1])


@scenario
def train_and_eval_of_nested_parts(C: Any, see: Any) -> None:
    model = nn.Sequential(
        nn.Linear(3, 4, rng=0), nn.BatchNorm(4), nn.Sequential(nn.Dropout(0.5, rng=0), nn.Linear(4, 2, rng=1))
    )
    step = C(lambda x: model(x).sum())
    for k in range(12):
        if k == 3:
            model.eval()
        if k == 6:
            list(model.children())[2].train()
        if k == 9:
            model.train()
        see(step(numbers(k, 5, 3)), model)


@scenario
def hooks_come_and_go(C: Any, see: Any) -> None:
    model, seen, w = nn.Linear(3, 2, rng=0), [], weight(2)
    scale = [2.0]

    @C
    def step(x: Any) -> Any:
        for p in (*model.parameters(), w):
            p.grad = None
        loss = (model(x) * w).sum()
        loss.backward()
        return loss

    removers: list[Any] = []
    for k in range(12):
        if k == 3:
            removers.append(model.register_forward_hook(lambda m, i, y: y * scale[0]))
        if k == 5:
            scale[0] = 3.0
        if k == 7:
            removers.append(w.register_hook(lambda g: g * 10))
        if k == 9:
            getattr(removers[0], "remove", removers[0])()
        see(step(numbers(k, 4, 3)), model, w, seen)


@scenario
def buffers_rebound(C: Any, see: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(3, 2, rng=0)
            self.mean = np.zeros(2)

        def forward(self, x: Any) -> Any:
            y = self.layer(x)
            if self.training:
                self.mean = 0.9 * self.mean + 0.1 * y.data.mean(axis=0)
            return (y - self.mean).sum()

    model = Net()
    step = C(model)
    for k in range(10):
        if k == 4:
            model.mean = np.ones(2)
        if k == 6:
            model.eval()
        if k == 8:
            model.train()
        see(step(numbers(k, 4, 3)), model.mean)


@scenario
def tensors_made_and_kept_by_a_module(C: Any, see: Any) -> None:
    class Memory(nn.Module):
        def __init__(self) -> None:
            self.cell, self.state = nn.GRUCell(2, 3, rng=0), None

        def forward(self, x: Any) -> Any:
            if self.state is None or self.state.shape[0] != x.shape[0]:
                self.state = mg.Tensor(np.zeros((x.shape[0], 3)))
            self.state = self.cell(x, self.state.detach()).detach()
            return self.state.sum()

    m = Memory()
    step = C(m)
    for k in range(12):
        if k == 5:
            m.state = None
        see(step(numbers(k, 2 if k < 8 else 3, 2)), m.state)


@scenario
def state_named_by_the_option(C: Any, see: Any) -> None:
    registry: dict[str, Any] = {"w": np.ones(3)}
    step = C(lambda x: x * registry["w"], state=[registry])
    for k in range(8):
        if k == 4:
            registry["w"] = np.full(3, 2.0)
        if k == 6:
            registry["w"] *= 2
        see(step(numbers(k, 3)))


@scenario
def globals_of_a_module_written(C: Any, see: Any) -> None:
    scope: dict[str, Any] = {"np": np}
    text = """
N = 0
LAST = None
TABLE = {}
def step(x):
    global N, LAST
    N += 1
    LAST = x * N
    TABLE[N % 3] = LAST
    return LAST.sum()
"""
    exec(text, scope)
    step = C(scope["step"])
    for k in range(10):
        see(step(numbers(k, 3)), scope["N"], scope["LAST"], scope["TABLE"])


@scenario
def copies_of_an_object_with_a_compiled_method(C: Any, see: Any) -> None:
    class Trainer:
        def __init__(self) -> None:
            self.w, self.n = np.ones(3), 0

        @C
        def step(self, x: Any) -> Any:
            self.n += 1
            self.w = self.w + x
            return self.w * self.n

    t = Trainer()
    for k in range(4):
        see(t.step(numbers(k, 3)))
    u, v = copy.deepcopy(t), copy.copy(t)
    for k in range(5):
        if k == 3:
            v.step = lambda x: x  # type: ignore[method-assign]
        see(t.step(numbers(k, 3)), u.step(numbers(k, 3)), v.step(numbers(k, 3)), t.w, u.w, v.w, t.n, u.n, v.n)
