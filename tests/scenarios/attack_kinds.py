"""Kinds of silent differences that were found by looking for them: memory, numbers that meet other classes, aliases."""

from __future__ import annotations

import datetime
import enum
import functools
import hashlib
import json
import linecache
from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import linalg, optim
from scenarios.parts import in_json, mlp, numbers, weight
from scenarios.scenario import scenario


class Label(enum.IntEnum):
    """Numbers with names."""

    CAT = 0
    DOG = 1
    COW = 2


def _calls(C: Any, see: Any, function: Any, *shape: int) -> None:
    step = C(function)
    for k in range(8):
        see(step(numbers(k, *(shape or (3,)))))


def _delta(x: Any) -> str:
    try:
        return str(datetime.timedelta(seconds=x))
    except TypeError:
        return "no number"


@scenario
def base_first(C: Any, see: Any) -> None:
    def step(x):
        y = x * 2
        return y, y[1:]

    run = C(step)
    for k in range(8):
        a, b = run(numbers(k, 3))
        see(np.shares_memory(a, b))
        b += 100
        see(a, b)


@scenario
def returned_and_stored(C: Any, see: Any) -> None:
    st = SimpleNamespace(b=None)

    def step(x):
        y = x * 2
        st.b = y.T
        return y

    run = C(step)
    for k in range(8):
        r = run(numbers(k, 3))
        r += 100
        see(st, r)


@scenario
def in_list(C: Any, see: Any) -> None:
    h = []

    def step(x):
        y = x * 2
        h.append(y)
        h.append(y[::-1])
        return y.sum()

    run = C(step)
    for k in range(8):
        run(numbers(k, 3))
        h[-1][0] = 55
        see(h)


@scenario
def dict_of(C: Any, see: Any) -> None:
    def step(x):
        y = x * 2
        return {"full": y, "train": y[:2], "test": y[2:]}

    run = C(step)
    for k in range(8):
        r = run(numbers(k, 3))
        r["full"] *= 0
        see(r)


@scenario
def split(C: Any, see: Any) -> None:
    def step(x):
        y = x * 2
        return y, *np.split(y, 3)

    run = C(step)
    for k in range(8):
        r = run(numbers(k, 3))
        r[0][...] = 5
        see(r)


@scenario
def tied_data(C: Any, see: Any) -> None:
    a, b = weight(3), weight(3)

    def step(x):
        a.grad = b.grad = None
        loss = (a * x).sum() + 10 * (b * x * x).sum()
        loss.backward()
        return loss, a.grad, b.grad

    run = C(step)
    for k in range(24):
        if k in (2, 3, 4, 9, 16):
            a.data = numbers(k + 30, 3)
        if k in (6, 12):
            b.data = a.data
        if k == 20:
            a.data = b.data
        see(run(numbers(k, 3)), a, b)


@scenario
def dict_buffers(C: Any, see: Any) -> None:
    d = {"a": np.ones(3), "b": np.zeros(3)}

    def step(x):
        return (d["a"] * x).sum() + 10 * (d["b"] * x).sum()

    run = C(step)
    for k in range(20):
        if k in (2, 3, 4):
            d["a"] = numbers(k + 30, 3)
        if k == 6:
            d["b"] = d["a"]
        if k == 9:
            d["a"] = numbers(k + 30, 3)
        if k == 13:
            d["b"] = d["a"]
        if k == 15:
            d["b"] = d["b"].copy()
        see(run(numbers(k, 3)), d)


@scenario
def window_of_state(C: Any, see: Any) -> None:
    st = SimpleNamespace(buf=np.arange(40.0), win=None)

    def step(x):
        st.buf *= 0.99
        return (st.win * x).sum()

    run = C(step)
    for k in range(20):
        st.win = st.buf[k : k + 3]
        see.attempt(run, numbers(k, 3))


@scenario
def ema_from_online(C: Any, see: Any) -> None:
    # target network starts as the same arrays, then is a copy
    online, target = mlp(d=4), mlp(d=4)

    def evaluate(x):
        return target(x).sum() * 10 + online(x).sum()

    run = C(evaluate)
    for k in range(40):
        if k in (1, 2, 3):
            for p in online.parameters():
                p.data = p.data * 0.9
        if k == 6:
            for p, q in zip(online.parameters(), target.parameters(), strict=True):
                q.data = p.data
        if k == 12:
            for p in online.parameters():
                p.data = p.data * 0.5
        see(run(numbers(k, 2, 4)))


@scenario
def audited_tie(C: Any, see: Any) -> None:
    a, b = weight(3), weight(3)

    def step(x):
        return (a * x).sum() + 10 * (b * x * x).sum()

    run = C(step)
    for k in range(40):
        if k in (2, 3, 4):
            a.data = numbers(k + 30, 3)
        if k == 6:
            b.data = a.data
        if k == 20:
            a.data = numbers(90, 3)
        see(run(numbers(k, 3)))


@scenario
def view_of_scalar_out(C: Any, see: Any) -> None:
    def step(x):
        y = x.sum(keepdims=True)  # (1,)
        return y, y.reshape(()), y[0], y[0:1], float(y[0]), y.item()

    run = C(step)
    kept = []
    for k in range(8):
        r = run(numbers(k, 3))
        kept.append(r)
        see(r)
        r[0][...] = 7
        see(r)
    see(kept)


@scenario
def zero_d2(C: Any, see: Any) -> None:
    def step(x):
        a = np.zeros(()) + x.sum(keepdims=True).reshape(())
        return (
            a,
            a,
            a[...],
            a.reshape(1),
            x.sum(keepdims=True).reshape(()),
            x.sum(keepdims=True).reshape(())[()],
        )

    run = C(step)
    kept = []
    for k in range(9):
        r = run(numbers(k, 3))
        kept.append(r)
        see(r, r[0] is r[1], r[4] is r[0])
        for q in r:
            if isinstance(q, np.ndarray):
                q[...] = 5 + k
        see(r)
    see(kept)


@scenario
def prop_lambda(C: Any, see: Any) -> None:
    class M:
        text = property(lambda self: _delta(self.last))
        last = 0.0

    m = M()

    def step(x):
        y = x * 2
        m.last = x.sum().item()
        return m.text, y

    _calls(C, see, step)


@scenario
def prop_setter(C: Any, see: Any) -> None:
    class M:
        def _get(self):
            return self.t

        def _set(self, v):
            self.t = _delta(v)

        last = property(_get, _set)

    m = M()

    def step(x):
        m.last = x.sum().item()
        return m.t, x * 2

    _calls(C, see, step)


@scenario
def cached_prop(C: Any, see: Any) -> None:
    class M:
        def _t(self):
            return _delta(self.last)

        text = functools.cached_property(_t)
        text.__set_name__(None, "text")

    def step(x):
        m.last = x.sum().item()
        return m.text

    m = M()
    _calls(C, see, step)


@scenario
def hook_looks(C: Any, see: Any) -> None:
    w = weight(3)
    st = SimpleNamespace(last=0.0, texts=[])

    def hook(g):
        st.texts.append(_delta(st.last))
        return g * (2.0 if st.texts[-1] == "no number" else 1.0)

    w.register_hook(hook)

    def step(x):
        w.grad = None
        loss = (w * x).sum()
        st.last = loss.item()
        loss.backward()
        return w.grad

    _calls(C, see, step)


@scenario
def alias_dumps(C: Any, see: Any) -> None:
    st = SimpleNamespace(logs={})

    def step(x):
        d = st.logs
        y = x * 2
        d["loss"] = x.sum().item()
        return json.dumps(st.logs, default=str), y

    _calls(C, see, step)


@scenario
def alias_list_outside(C: Any, see: Any) -> None:
    hist = []
    st = SimpleNamespace(h=hist)

    def step(x):
        hist.append(x.sum().item())
        return json.dumps(st.h, default=str)

    _calls(C, see, step)


@scenario
def nested_container(C: Any, see: Any) -> None:
    st = SimpleNamespace(logs={"train": {}})

    def step(x):
        train = st.logs["train"]
        train["loss"] = x.sum().item()
        return json.dumps(st.logs, default=str)

    _calls(C, see, step)


@scenario
def args_json(C: Any, see: Any) -> None:
    run = C(lambda x, lr: (x * lr, json.dumps({"lr": lr}, default=float), json.dumps([lr], default=repr)))
    for k in range(8):
        see.attempt(run, numbers(k, 3), 0.5**k)


@scenario
def count_json(C: Any, see: Any) -> None:
    st = SimpleNamespace(n=0, lines=[])

    def step(x):
        st.n += 1
        st.lines.append(json.dumps({"step": st.n}, default=str))
        return x * st.n

    run = C(step)
    for k in range(8):
        see.attempt(run, numbers(k, 3))
        see(st)


@scenario
def arg_hasattr_shape(C: Any, see: Any) -> None:
    def arr(v):
        return v if hasattr(v, "shape") else np.asarray(v)

    step = C(lambda x, r: x * arr(r).reshape(-1))
    for k in range(10):
        see.attempt(step, numbers(k, 3), 0.1 * k)


@scenario
def arg_intenum(C: Any, see: Any) -> None:
    def f(x, k):
        return x * k + (100 if k == Label.COW else 0)

    step = C(f)
    for k in range(10):
        see(step(numbers(k, 3), k % 5))


@scenario
def attr_intenum(C: Any, see: Any) -> None:
    st = SimpleNamespace(k=0)

    def f(x):
        st.k += 1
        return x * st.k + (100 if st.k == Label.COW else 0), st.k in (Label.DOG,)

    step = C(f)
    for k in range(10):
        if k == 5:
            st.k = 0
        see(step(numbers(k, 3)), st)


@scenario
def rebound_function(C: Any, see: Any) -> None:
    def loss_of(x):
        return x.sum().item()

    texts = []

    def logged(f):
        def inner(*a):
            r = f(*a)
            texts.append(in_json(r))
            return r

        return inner

    loss_of = logged(loss_of)
    run = C(lambda x: (loss_of(x), x * 2))
    for k in range(8):
        see(run(numbers(k, 3)), texts)


@scenario
def registry(C: Any, see: Any) -> None:
    def loss_of(x):
        return x.sum().item()

    metrics = {"loss": loss_of}

    def step(x):
        return loss_of(x), {k: in_json(f(x)) for k, f in metrics.items()}

    _calls(C, see, step)


@scenario
def wrapped_step_named_step(C: Any, see: Any) -> None:
    w = weight(3)
    opt = optim.SGD([w], lr=0.1)
    texts = []

    def step(x):
        opt.zero_grad()
        loss = (w * x).sum()
        loss.backward()
        opt.step()
        return loss.item()

    def logged(f):
        def inner(*a):
            r = f(*a)
            texts.append(in_json(r))
            return r

        return inner

    run = C(logged(step))
    for k in range(8):
        see(run(numbers(k, 3)), texts)


@scenario
def assert_leak(C: Any, see: Any) -> None:
    def step(x):
        loss = x.sum().item()
        assert x.shape == (4,), loss
        return loss

    run = C(step)
    for k in range(6):
        try:
            run(numbers(k, 3))
        except AssertionError as e:
            see(e.args[0], in_json(e.args[0]))


@scenario
def numbers_that_meet_other_classes(C: Any, see: Any) -> None:
    names = {Label.CAT: "cat", Label.DOG: "dog", Label.COW: "cow"}
    _calls(C, see, lambda x: (int(np.argmax(x)) == Label.CAT, int(np.argmax(x)) in (Label.CAT, Label.DOG)))
    _calls(C, see, lambda x: names[Label(int(np.argmax(x)))])
    _calls(C, see, lambda x: ((x[0].item() * 0) == 0j, x[0].item() * 0 == np.float32(0)))


@scenario
def floats_beside_single_precision(C: Any, see: Any) -> None:
    functions = (
        *(lambda x, v: np.outer(x, v), lambda x, v: np.append(x, v), lambda x, v: np.multiply.outer(x, v)),
        *(lambda x, v: np.where(x > 0, x, v), lambda x, v: np.real(v) * x, lambda x, v: np.ldexp(v, 2) * x),
        *(lambda x, v: np.clip(x, None, v), lambda x, v: np.full_like(x, v), lambda x, v: np.diff(x, prepend=v)),
    )
    for function in functions:
        step = C(function)
        for k in range(7):
            see(step(numbers(k, 3).astype(np.float32), 0.5 + k))


@scenario
def compared_with_anything(C: Any, see: Any) -> None:
    history: list[Any] = [None]

    def step(x: Any) -> Any:
        loss = x.sum()
        return [loss == None, loss != "a", None in [loss], loss in history, [loss] == [None]]  # noqa: E711

    _calls(C, see, step)


@scenario
def scaled_against_overflow(C: Any, see: Any) -> None:
    functions = (
        *(lambda x: linalg.vector_norm(x, ord=3), lambda x: mg.sum((x / mg.max(mg.abs(x))) ** 2)),
        *(lambda x: mg.hypot(x, x).sum(), lambda x: mg.sum(x / linalg.vector_norm(x)), lambda x: mg.std(x)),
    )
    for f in functions:
        step = C(lambda x, f=f: mg.value_and_grad(f)(x))
        for scale in (1.0, 1.0, 1.0, 1e20, 1e-20, 1e30, 1e-30):
            see(step((np.linspace(1, 2, 8) * scale).astype(np.float32)))


@scenario
def appended_now_and_then(C: Any, see: Any) -> None:
    s = SimpleNamespace(t=0, losses=[])

    def step(x: Any) -> Any:
        s.t += 1
        loss = (x * x).sum()
        if s.t % 5 == 0:
            s.losses.append(loss.item())
        return loss

    run = C(step)
    for k in range(32):
        see(run(numbers(k, 3)), s.losses)


@scenario
def a_rate_that_is_computed(C: Any, see: Any) -> None:
    w, s = weight(3), SimpleNamespace(t=0)
    optimizer = optim.SGD([w], lr=0.1)

    def step(x: Any) -> Any:
        s.t += 1
        optimizer.param_groups[0]["lr"] = 0.1 * (1 + np.cos(np.pi * s.t / 20))
        optimizer.zero_grad()
        loss = (w * x).sum()
        loss.backward()
        optimizer.step()
        return float(loss)

    run = C(step)
    for k in range(9):
        see(run(numbers(k, 3)), type(optimizer.param_groups[0]["lr"]))


@scenario
def tied_to_a_part_of_a_tuple(C: Any, see: Any) -> None:
    s = SimpleNamespace(q=np.ones(3), n=(np.ones(3) * 5, np.ones(3) * 6))
    d = {"q": np.ones(3)}

    def step(x: Any) -> Any:
        return (s.q - s.n[1]) * x + d["q"] - s.n[0]

    run = C(step)
    for k in range(16):
        if k in (1, 9):
            s.q, d["q"] = s.n[1], s.n[0]
        if k in (3, 5, 12):
            s.q, d["q"] = s.q + 0.5, d["q"] + k
        see(run(numbers(k, 3)))


@scenario(eager=True)
def the_data_of_a_gradient_is_replaced(C: Any, see: Any) -> None:
    w = weight(3)
    w.grad = mg.Tensor(np.ones(3) * 8)

    def step(x: Any) -> None:
        w.grad.data = w.grad.data * 0.5 + x  # type: ignore[union-attr]

    run = C(step)
    for k in range(5):
        run(numbers(k, 3))
        see(w)


@scenario
def a_float_of_the_modules_own(C: Any, see: Any) -> None:
    scope: dict[str, Any] = {"np": np}
    text = "def step(x):\n    return float(x.sum()), int(x[0] > 0)\n"
    linecache.cache["<own float>"] = (len(text), None, text.splitlines(True), "<own float>")
    exec(compile(text, "<own float>", "exec"), scope)
    run = C(scope["step"])
    for k in range(10):
        if k == 4:
            scope["float"] = lambda v: "mine"
        if k == 7:
            del scope["float"]
            scope["int"] = str
        see(run(numbers(k, 3)))


@scenario
def two_places_hold_one_tensor(C: Any, see: Any) -> None:
    s = SimpleNamespace(u=mg.Tensor(np.ones(3)), v=mg.Tensor(np.full(3, 9.0)))

    def step(x: Any) -> Any:
        s.u.data[...] = x
        return s.v.data.sum()

    run = C(step)
    for k in range(12):
        if k in (1, 7):
            s.v = s.u
        if k in (3, 9):
            s.v = mg.Tensor(np.full(3, 5.0 + k))
        see(run(np.full(3, float(k))), s)


@scenario(eager=True)
def sequences_are_repeated(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: ([0] * (x > 0).sum(), (1, 2) * np.argmax(x), "a" * (x > -9).sum()))
    _calls(C, see, lambda x: np.argmax(x) * [1, 2])


@scenario(eager=True)
def refused_by_c_code(C: Any, see: Any) -> None:
    for function in (
        lambda x: hashlib.sha256(x * 2).hexdigest(),
        lambda x: json.dumps({"loss": x.sum()}),
        lambda x: bytes(x.astype(np.uint8)),
        lambda x: np.random.default_rng(x.astype(np.uint8)).random(),
        lambda x: x.__array_interface__["shape"],
    ):
        _calls(C, see, function)
