"""Around the step: nested compilation, threads, context managers, copies, objects made inside, the file system."""

from __future__ import annotations

import contextlib
import copy
import pickle
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from scenarios.parts import batch, mlp, numbers, trainer, weight
from scenarios.scenario import scenario


@scenario
def compiled_in_compiled(C: Any, see: Any) -> None:
    s = SimpleNamespace(scale=1.0)
    inner = C(lambda x: mg.sin(x) * s.scale)
    outer = C(lambda x: inner(x) + inner(x * 2))
    for k in range(8):
        s.scale = 1.0 + k // 3
        see(outer(mg.asarray(numbers(k, 3))), inner(mg.asarray(numbers(k, 3))))


@scenario
def compiled_twice(C: Any, see: Any) -> None:
    s = {"scale": 1.0}
    step = C(C(lambda x: x * s["scale"]))
    for k in range(8):
        s["scale"] = 1.0 + k // 3
        see(step(numbers(k, 3)))


@scenario
def same_function_compiled_twice(C: Any, see: Any) -> None:
    s = SimpleNamespace(a=np.zeros(3))

    def step(x: Any) -> Any:
        s.a = s.a + x
        return s.a * 2

    one, two = C(step), C(step)
    for k in range(8):
        see((one if k % 2 else two)(numbers(k, 3)), s)


@scenario
def compiled_inside_a_step(C: Any, see: Any) -> None:
    s = SimpleNamespace(scale=1.0)

    @C
    def step(x: Any) -> Any:
        inner = C(lambda x: x * s.scale)
        return inner(x) + 1

    for k in range(8):
        s.scale = 1.0 + k // 3
        see(step(numbers(k, 3)))


@scenario
def compiled_and_eager_mixed(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    eager = trainer(model, optimizer)
    step = C(eager)
    for k in range(10):
        see((eager if k % 3 == 2 else step)(*batch(k)), model, optimizer)


@scenario
def recursion(C: Any, see: Any) -> None:
    s: dict[str, Any] = {}

    def power(x: Any, n: int) -> Any:
        return x if n <= 1 else x * s["power"](x, n - 1)

    s["power"] = C(power)
    for k in range(8):
        see(s["power"](numbers(k, 3), 1 + k % 4))


@scenario
def calls_from_threads_in_turn(C: Any, see: Any) -> None:
    model = mlp()
    step, out = C(trainer(model, optim.SGD(model.parameters(), lr=0.1))), []
    for k in range(8):
        thread = threading.Thread(target=lambda k=k: out.append(step(*batch(k))))
        thread.start()
        thread.join()
        see(out[-1], model)


@scenario
def calls_from_threads_at_once(C: Any, see: Any) -> None:
    step, out = C(lambda x: (mg.sin(mg.asarray(x)) * x).sum()), {}
    for k in range(4):
        threads = [
            threading.Thread(target=lambda j=j: out.update({j: step(numbers(j, 3 + j % 2))}))
            for j in range(4 * k, 4 * k + 4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    see([out[j] for j in range(16)])


@scenario
def one_model_for_each_thread(C: Any, see: Any) -> None:
    models = [mlp(k) for k in range(3)]

    def work(model: Any) -> None:
        step = C(trainer(model, optim.SGD(model.parameters(), lr=0.1)))
        for k in range(6):
            step(*batch(k))

    threads = [threading.Thread(target=work, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    see(models)


@scenario
def no_grad_inside(C: Any, see: Any) -> None:
    model, s = mlp(), SimpleNamespace(frozen=False)

    @C
    def step(x: Any) -> Any:
        with mg.no_grad() if s.frozen else contextlib.nullcontext():
            y = model(x)
        return y, y.requires_grad

    for k in range(8):
        s.frozen = k in (3, 4, 6)
        see(step(batch(k)[0]))


@scenario
def no_grad_outside(C: Any, see: Any) -> None:
    w = weight(3)

    @C
    def step(x: Any) -> Any:
        loss = (w * x).sum()
        if mg.is_grad_enabled():
            loss.backward()
        return loss

    for k in range(8):
        with mg.no_grad() if k % 3 == 2 else contextlib.nullcontext():
            see(step(numbers(k, 3)), w)


@scenario
def scope_and_names(C: Any, see: Any) -> None:
    w = weight(3)

    @C
    def step(x: Any) -> Any:
        with mg.scope("block"):
            return mg.name("y", w * x).sum()

    for k in range(6):
        with mg.scope(f"epoch{k // 3}"):
            see(step(numbers(k, 3)))


@scenario
def errstate_inside(C: Any, see: Any) -> None:
    @C
    def step(x: Any) -> Any:
        with np.errstate(divide="raise"):
            return 1 / x

    for k in range(6):
        see.attempt(step, np.array([1.0, 0.0 if k in (2, 4) else 2.0]))


@scenario
def anomalies_detected_outside(C: Any, see: Any) -> None:
    w = weight(3)
    step = C(lambda x: (mg.log(mg.asarray(x)) * w).sum().backward())
    for k in range(6):
        w.grad = None
        x = np.array([1.0, 2.0, -1.0 if k == 4 else 3.0])
        see.kind_of(mg.detect_anomaly()(step) if k in (2, 4) else step, x)
        see(w)


@scenario
def context_manager_of_the_user(C: Any, see: Any) -> None:
    s = SimpleNamespace(scale=1.0)

    @contextlib.contextmanager
    def doubled() -> Any:
        before, s.scale = s.scale, s.scale * 2
        try:
            yield
        finally:
            s.scale = before

    @C
    def step(x: Any) -> Any:
        with doubled():
            return x * s.scale

    for k in range(8):
        s.scale = 1.0 + k // 3
        see(step(numbers(k, 3)), s)


@scenario
def copied_in_between(C: Any, see: Any) -> None:
    s = SimpleNamespace(model=mlp())
    predict = C(lambda x: s.model(x))
    for k in range(8):
        if k in (3, 6):
            s.model = copy.deepcopy(s.model)
            next(s.model.parameters()).data *= 2
        see(predict(batch(k)[0]))


@scenario
def pickled_in_between(C: Any, see: Any) -> None:
    s = SimpleNamespace(config={"w": np.ones(3), "scale": 1.0})

    @C
    def step(x: Any) -> Any:
        s.config["w"] += x
        return s.config["w"] * s.config["scale"]

    for k in range(8):
        if k in (3, 6):
            s.config = pickle.loads(pickle.dumps(s.config))
            s.config["scale"] += 1
        see(step(numbers(k, 3)), s)


@scenario
def trainer_copied(C: Any, see: Any) -> None:
    class Net:
        def __init__(self) -> None:
            self.a = np.zeros(3)

        def step(self, x: Any) -> Any:
            self.a = self.a + x
            return self.a * 2

    net = Net()
    step = C(lambda x: net.step(x))
    for k in range(8):
        if k == 4:
            other, net = net, copy.deepcopy(net)
            see(other)
        see(step(numbers(k, 3)), net)


@scenario
def module_made_inside(C: Any, see: Any) -> None:
    @C
    def step(x: Any) -> Any:
        layer = nn.Linear(3, 2, rng=0)
        (layer(x) ** 2).sum().backward()
        return layer.weight.grad

    for k in range(6):
        see(step(numbers(k, 4, 3)))


@scenario
def optimizer_made_inside(C: Any, see: Any) -> None:
    w = weight(3)

    @C
    def step(x: Any) -> Any:
        optimizer = optim.SGD([w], lr=0.1, momentum=0.9)
        optimizer.zero_grad()
        (w * x).sum().backward()
        optimizer.step()

    for k in range(6):
        step(numbers(k, 3))
        see(w)


@scenario
def made_at_the_first_call(C: Any, see: Any) -> None:
    s = SimpleNamespace(layer=None)

    @C
    def step(x: Any) -> Any:
        if s.layer is None:
            s.layer = nn.Linear(x.shape[-1], 2, rng=0)
        return s.layer(x)

    for k in range(8):
        if k == 5:
            s.layer = None
        see(step(numbers(k, 4, 3)), s)


@scenario
def cached_property_and_cache(C: Any, see: Any) -> None:
    import functools

    @functools.lru_cache
    def table(n: int) -> Any:
        return np.arange(n, dtype=float)

    class Net:
        @functools.cached_property
        def mask(self) -> Any:
            return np.array([1.0, 0.0, 1.0])

    net = Net()
    step = C(lambda x: x * net.mask + table(3))
    for k in range(8):
        if k == 4:
            net.mask = np.ones(3)
        if k == 6:
            del net.mask
        see(step(numbers(k, 3)), net)


@scenario
def imported_inside(C: Any, see: Any) -> None:
    @C
    def step(x: Any) -> Any:
        import math

        from scenarios import parts

        return x * math.sqrt(2) + parts.numbers(0, 3)

    for k in range(6):
        see(step(numbers(k, 3)))


@scenario
def saved_and_loaded_state(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    step, saved = C(trainer(model, optimizer)), None
    for k in range(10):
        if k == 3:
            saved = pickle.dumps((model.state_dict(), optimizer.state_dict()))
        if k == 7:
            one, two = pickle.loads(saved)
            model.load_state_dict(one)
            optimizer.load_state_dict(two)
        see(step(*batch(k)), model, optimizer)


@scenario
def two_models_one_function(C: Any, see: Any) -> None:
    s = SimpleNamespace(model=mlp(0))
    models = [s.model, mlp(1)]
    step = C(lambda x, y: F.cross_entropy(s.model(x), y).backward())
    for k in range(8):
        s.model = models[k % 2]
        step(*batch(k))
        see(models)


@scenario
def objects_of_the_step_are_dropped(C: Any, see: Any) -> None:
    steps = []
    for k in range(6):
        w = weight(3, seed=k)
        steps.append(C(lambda x, w=w: w * x))
        see(steps[-1](numbers(k, 3)), steps[0](numbers(k, 3)))


@scenario
def star_arguments_and_annotations(C: Any, see: Any) -> None:
    step = C(lambda *xs, **options: sum(xs) * options.get("scale", 1.0))
    for k in range(8):
        see(step(*[numbers(j, 3) for j in range(1 + k % 3)], **({"scale": k} if k % 2 else {})))
    see(getattr(step, "__name__", None))


@scenario(eager=True)
def float_is_asked_for_its_type(C: Any, see: Any) -> None:
    """`float` is used otherwise than by calling it, so that nothing may hide it."""
    step = C(lambda x: (float(x.sum()), type(x.sum().item()) is float, [float, int][0] is float))
    for k in range(5):
        see(step(np.arange(3.0) + k))
