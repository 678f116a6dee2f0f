"""Effects and answers from outside of the process, exceptions that carry values, and what C code reads by itself."""

from __future__ import annotations

import builtins
import collections
import contextlib
import ctypes
import decimal
import functools
import io
import os
import pickle
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from scenarios.parts import numbers
from scenarios.scenario import scenario


def _calls(C: Any, see: Any, function: Any, change: Any = lambda k: None, count: int = 10) -> None:
    step = C(function)
    for k in range(count):
        change(k)
        see.attempt(step, numbers(k, 3))


# Files and other effects


@scenario(eager=True)
def text_in_memory(C: Any, see: Any) -> None:
    buffer = io.StringIO()

    def step(x):
        buffer.write("a")
        return x * 2

    _calls(C, see, step)
    see(buffer.getvalue())


@scenario(eager=True)
def bytes_in_memory(C: Any, see: Any) -> None:
    buffer = io.BytesIO()

    def step(x):
        pickle.dump(1, buffer)
        return x * 2

    _calls(C, see, step)
    see(len(buffer.getvalue()))


@scenario(eager=True)
def appended_to_a_file(C: Any, see: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"

        def step(x):
            with open(path, "a") as file:
                file.write("a")
            return x * 2

        _calls(C, see, step)
        see(path.read_text())


@scenario(eager=True)
def a_file_that_is_open(C: Any, see: Any) -> None:
    with tempfile.TemporaryFile("w+") as file:

        def step(x):
            file.write("a")
            return x * 2

        _calls(C, see, step)
        file.seek(0)
        see(file.read())


@scenario(eager=True)
def written_by_a_path(C: Any, see: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "n"
        path.write_text("0")

        def step(x):
            path.write_text(str(int(path.read_text()) + 1))
            return x * 2

        _calls(C, see, step)
        see(path.read_text())


@scenario(eager=True)
def folders_are_made(C: Any, see: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:

        def step(x):
            os.makedirs(os.path.join(folder, str(len(os.listdir(folder)))))
            return x * 2

        _calls(C, see, step)
        see(sorted(os.listdir(folder)))


@scenario(eager=True)
def written_to_standard_output(C: Any, see: Any) -> None:
    before, sys.stdout = sys.stdout, io.StringIO()
    try:

        def step(x):
            sys.stdout.write("a")
            return x * 2

        _calls(C, see, step)
        see(sys.stdout.getvalue())
    finally:
        sys.stdout = before


@scenario
def saved_in_a_rare_branch(C: Any, see: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        st = SimpleNamespace(n=0)

        def step(x):
            st.n += 1
            if st.n == 7:
                with open(os.path.join(folder, "state"), "wb") as file:
                    file.write(b"saved")
            return x * st.n

        _calls(C, see, step)
        see(os.listdir(folder))


@scenario(eager=True)
def arrays_saved(C: Any, see: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        st = SimpleNamespace(n=0)
        fixed = np.arange(3.0)

        def step(x):
            st.n += 1
            np.save(os.path.join(folder, f"{len(os.listdir(folder))}.npy"), fixed)
            return x * st.n

        _calls(C, see, step)
        see(sorted(os.listdir(folder)))


# Answers from outside


@scenario(eager=True)
def a_file_that_stops_it(C: Any, see: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "stop")
        _calls(
            C,
            see,
            lambda x: x * 0 if os.path.exists(path) else x * 2,
            lambda k: Path(path).touch() if k == 6 else None,
        )


@scenario(eager=True)
def a_budget_of_time(C: Any, see: Any) -> None:
    st = SimpleNamespace(end=time.monotonic() + 1e9)

    def change(k):
        if k == 6:
            st.end = 0.0

    end = [st]
    _calls(C, see, lambda x: x * 0 if time.monotonic() > end[0].end else x * 2, change)


@scenario(eager=True)
def precision_of_decimals(C: Any, see: Any) -> None:
    context = decimal.getcontext()
    before = context.prec

    def change(k):
        context.prec = 5 if k > 5 else before

    try:
        _calls(C, see, lambda x: x * decimal.getcontext().prec, change)
    finally:
        context.prec = before


@scenario(eager=True)
def limit_of_recursion(C: Any, see: Any) -> None:
    before = sys.getrecursionlimit()
    try:
        _calls(C, see, lambda x: x * sys.getrecursionlimit(), lambda k: sys.setrecursionlimit(before + k // 5))
    finally:
        sys.setrecursionlimit(before)


# The data of Tensors among the arguments


@dataclass
class Holder:
    """A record with a Tensor."""

    w: Any


def _assign(C: Any, see: Any, make: Any, get: Any, fresh: bool = False) -> None:
    def step(holder, x):
        w = get(holder)
        w.grad = None
        (w * x).sum().backward()
        w.data = w.data - 0.1 * w.grad.data
        return w * 1.0

    run = C(step)
    holder = make()
    for k in range(9):
        holder = make() if fresh else holder
        see(run(holder, numbers(k, 3 if k != 6 else 1)), get(holder), get(holder).grad)


def _tensor() -> mg.Tensor:
    return mg.Tensor(np.ones(3), requires_grad=True)


@scenario
def data_of_a_tensor(C: Any, see: Any) -> None:
    _assign(C, see, _tensor, lambda w: w)


@scenario
def data_in_a_namespace(C: Any, see: Any) -> None:
    _assign(C, see, lambda: SimpleNamespace(w=_tensor()), lambda h: h.w)


@scenario
def data_in_a_record(C: Any, see: Any) -> None:
    _assign(C, see, lambda: Holder(_tensor()), lambda h: h.w)


@scenario
def data_in_fresh_records(C: Any, see: Any) -> None:
    _assign(C, see, lambda: Holder(_tensor()), lambda h: h.w, fresh=True)


@scenario
def data_in_nested_containers(C: Any, see: Any) -> None:
    _assign(C, see, lambda: {"a": [SimpleNamespace(w=_tensor())]}, lambda h: h["a"][0].w)


@scenario
def data_in_a_tuple(C: Any, see: Any) -> None:
    _assign(C, see, lambda: (_tensor(), 1.0), lambda h: h[0])


@scenario
def data_before_an_exception(C: Any, see: Any) -> None:
    def step(w, x):
        w.data = w.data * 2
        if x[0] > 0.5:
            raise ValueError("too large")
        return w * x

    run, w = C(step), _tensor()
    for k in range(10):
        see.attempt(run, w, np.full(3, 1.0 if k in (4, 7) else 0.1))
        see(w)


@scenario(eager=True)
def data_before_a_refusal(C: Any, see: Any) -> None:
    def step(w, x):
        w.data = w.data * 2
        return w.data[w.data > x.item()]

    run, w = C(step), _tensor()
    for k in range(6):
        see(run(w, np.array([k + 0.5])), w)


# Exceptions that carry values


class Diverged(Exception):
    """With the loss."""

    def __init__(self, loss: Any, step: int) -> None:
        super().__init__("diverged")
        self.loss, self.step = loss, step


def _raising(C: Any, see: Any, fail: Any) -> None:
    st = SimpleNamespace(n=0)

    def step(x):
        st.n += 1
        if x[0] > 0.5:
            fail(x * 2, st.n)
        return x + 1

    run = C(step)
    for k in range(10):
        try:
            see(run(np.full(3, 1.0 if k in (0, 5, 8) else 0.1)))
        except BaseException as error:
            inner = getattr(error, "exceptions", ())
            see(type(error), error.args, vars(error), getattr(error, "code", None), [e.args for e in inner])
            cause = error.__cause__
            see(None if cause is None else cause.args)
        see(st.n)


def _fail_with_both(y: Any, n: int) -> None:
    raise ValueError(y, n, [y, {"n": n}])


def _fail_with_attributes(y: Any, n: int) -> None:
    raise Diverged(mg.Tensor(y), n)


def _fail_with_a_key(y: Any, n: int) -> None:
    raise KeyError(n)


def _fail_in_a_group(y: Any, n: int) -> None:
    raise ExceptionGroup("several", [ValueError(y), TypeError(n)])


def _fail_with_a_cause(y: Any, n: int) -> None:
    try:
        raise ValueError(y, n)
    except ValueError as error:
        raise RuntimeError("outer") from error


def _exit(y: Any, n: int) -> None:
    sys.exit(n)


@scenario
def arrays_and_numbers_in_an_exception(C: Any, see: Any) -> None:
    _raising(C, see, _fail_with_both)


@scenario
def attributes_of_an_exception(C: Any, see: Any) -> None:
    _raising(C, see, _fail_with_attributes)


@scenario
def a_number_as_a_key_that_is_missing(C: Any, see: Any) -> None:
    _raising(C, see, _fail_with_a_key)


@scenario
def a_group_of_exceptions(C: Any, see: Any) -> None:
    _raising(C, see, _fail_in_a_group)


@scenario
def the_cause_of_an_exception(C: Any, see: Any) -> None:
    _raising(C, see, _fail_with_a_cause)


@scenario
def the_status_of_an_exit(C: Any, see: Any) -> None:
    _raising(C, see, _exit)


# What C code reads by itself


class Config:
    """With a rate whose name is in no source."""

    def __init__(self) -> None:
        setattr(self, "ra" + "te", 1.0)


def _hidden(C: Any, see: Any, read: Any) -> None:
    config = Config()
    _calls(C, see, lambda x: x * read(config), lambda k: setattr(config, "ra" + "te", 5.0) if k == 6 else None)


@scenario
def read_by_a_format(C: Any, see: Any) -> None:
    template = "{o." + "ra" + "te}"
    _hidden(C, see, lambda c: float(template.format(o=c)))


@scenario
def read_by_a_mapping_of_a_format(C: Any, see: Any) -> None:
    template = "{o." + "ra" + "te}"
    _hidden(C, see, lambda c: float(template.format_map({"o": c})))


@scenario
def read_by_pickle_s_protocol(C: Any, see: Any) -> None:
    _hidden(C, see, lambda c: next(iter(c.__reduce_ex__(2)[2].values())))


@scenario
def read_as_a_state(C: Any, see: Any) -> None:
    _hidden(C, see, lambda c: c.__getstate__().popitem()[1])


def _cached(C: Any, see: Any, size: int | None) -> None:
    config = SimpleNamespace(rate=1.0)

    class Key:
        pass

    key = Key()

    @functools.lru_cache(size)
    def rate(key):
        return config.rate

    def change(k):
        if k == 4:
            config.rate = 3.0
        if k == 7:
            rate.cache_clear()
        if k == 9:
            rate.cache_clear()
            rate(key)

    _calls(C, see, lambda x: x * rate(key), change, 12)


@scenario
def a_cache_that_is_cleared(C: Any, see: Any) -> None:
    _cached(C, see, None)


@scenario
def a_bounded_cache_that_is_cleared(C: Any, see: Any) -> None:
    _cached(C, see, 8)


# Numbers that are not finite


def _special(C: Any, see: Any, function: Any, dtype: Any = float) -> None:
    step = C(function)
    for k in range(9):
        x = np.array([[1.0, 4.0, -0.0], [2.0, 3.0, 0.5]], dtype)
        if k > 4:
            x[0, k % 3] = (np.nan, np.inf, -np.inf)[k % 3]
        with np.errstate(all="ignore"):
            see(np.isnan(step(x)), np.isinf(step(x)))


@scenario
def deviations_of_what_is_not_finite(C: Any, see: Any) -> None:
    _special(C, see, lambda x: (x - x.mean()).sum())


@scenario
def deviations_in_columns(C: Any, see: Any) -> None:
    _special(C, see, lambda x: (x - x.mean(axis=0)).sum(axis=0))


@scenario
def deviations_in_a_gradient(C: Any, see: Any) -> None:
    bias = mg.Tensor(np.zeros(3), requires_grad=True)

    def step(x):
        bias.grad = None
        y = bias + x
        centred = y - mg.mean(y, axis=0)
        (centred / mg.sqrt(mg.mean(centred**2, axis=0) + 1e-5) * np.arange(3.0)).sum().backward()
        return bias.grad.data

    _special(C, see, step)


@scenario
def roots_of_float16(C: Any, see: Any) -> None:
    _special(C, see, lambda x: x**0.5, np.float16)


@scenario
def roots_of_scalars(C: Any, see: Any) -> None:
    step = C(lambda x: x.sum() ** 0.5)
    for k in range(8):
        for dtype in (np.float16, np.float32, np.float64):
            with np.errstate(all="ignore"):
                see(step(np.array([(4.0, -np.inf, -0.0, np.inf)[k % 4], -0.0], dtype)))


@scenario
def a_method_of_an_argument(C: Any, see: Any) -> None:
    step = C(lambda h: (h.w * 2, h.__init__))
    for k in range(6):
        holder = Holder(numbers(k, 3))
        y, made = step(holder)
        see(y, made.__self__ is holder)


@scenario
def made_when_it_is_first_needed(C: Any, see: Any) -> None:
    st = SimpleNamespace(ring=None)

    class Ring(list):
        def __init__(self, size: int) -> None:
            super().__init__(range(size))

    def step(x):
        if st.ring is None:
            st.ring = Ring(3)
        return x * st.ring[1]

    _calls(C, see, step)


@scenario(eager=True)
def effects_in_a_finally(C: Any, see: Any) -> None:
    buffer = io.StringIO()

    def step(x):
        try:
            time.sleep(0)
            return x * 2
        finally:
            buffer.write("a")

    _calls(C, see, step)
    see(buffer.getvalue())


@scenario(eager=True)
def effects_at_the_end_of_a_block(C: Any, see: Any) -> None:
    buffer = io.StringIO()

    class Block:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            buffer.write("a")

    def step(x):
        with Block():
            return x * time.monotonic() * 0 + x

    _calls(C, see, step)
    see(buffer.getvalue())


@scenario(eager=True)
def a_lock_around_a_counter(C: Any, see: Any) -> None:
    lock, taken = threading.Lock(), []

    class Noted:
        def __enter__(self):
            taken.append(lock.locked())

        def __exit__(self, *error):
            pass

    st = SimpleNamespace(n=0)

    def step(x):
        with lock:
            st.n += 1
            return x * st.n

    _calls(C, see, step)
    with Noted():
        see(st.n, taken)


# C code that calls C code, and objects in C that hide their state


def _in_folder(C: Any, see: Any, make: Any, count: int = 10) -> None:
    """A step over a folder that gets another file in each call."""
    with tempfile.TemporaryDirectory() as folder:
        step = C(make(folder))
        for k in range(count):
            Path(folder, f"f{k}").write_bytes(np.full(3, k + 1.0).tobytes())
            see(step(numbers(k, 3)))


@scenario(eager=True)
def mapped_calls_of_the_system(C: Any, see: Any) -> None:
    _in_folder(C, see, lambda folder: lambda x: x * sum(map(len, map(os.listdir, [folder]))))


@scenario(eager=True)
def a_partial_call_of_the_system(C: Any, see: Any) -> None:
    def make(folder: str) -> Any:
        files = functools.partial(os.listdir, folder)
        return lambda x: x * len(files())

    _in_folder(C, see, make)


@scenario(eager=True)
def a_default_of_the_system(C: Any, see: Any) -> None:
    before = os.getcwd()
    try:

        def make(folder: str) -> Any:
            os.chdir(folder)
            places: Any = collections.defaultdict(os.listdir)

            def step(x: Any) -> Any:
                places.clear()
                return x * len(places["all"])

            return step

        _in_folder(C, see, make)
    finally:
        os.chdir(before)


@scenario(eager=True)
def arrays_from_a_file(C: Any, see: Any) -> None:
    _in_folder(C, see, lambda folder: lambda x: x * np.fromfile(os.path.join(folder, max(os.listdir(folder)))))


@scenario(eager=True)
def lines_of_a_file(C: Any, see: Any) -> None:
    file = io.StringIO("".join(f"{k}\n" for k in range(40)))
    _calls(C, see, lambda x: x * float(next(file)))
    see(file.read())


@scenario(eager=True)
def a_method_that_is_bound_before(C: Any, see: Any) -> None:
    buffer = io.StringIO()
    write = buffer.write

    def step(x):
        write("a")
        return x * 2

    _calls(C, see, step)
    see(buffer.getvalue())


@scenario(eager=True)
def printed_by_the_module(C: Any, see: Any) -> None:
    def step(x):
        builtins.print("a", end="", file=None)
        return x * 2

    with contextlib.redirect_stdout(io.StringIO()) as out:
        _calls(C, see, step)
    see(out.getvalue())


@scenario(eager=True)
def a_class_in_c_is_called(C: Any, see: Any) -> None:
    def make(folder: str) -> Any:
        path = os.path.join(folder, "log")

        def step(x: Any) -> Any:
            with io.FileIO(path, "a") as file:
                file.write(b"a")
            return x * os.stat(path).st_size

        return step

    _in_folder(C, see, make)


@scenario(eager=True)
def a_variable_of_ctypes(C: Any, see: Any) -> None:
    n = ctypes.c_int(1)

    def change(k: int) -> None:
        n.value = 1 + k // 4

    _calls(C, see, lambda x: x * n.value, change)


@scenario(eager=True)
def quotients_of_decimals(C: Any, see: Any) -> None:
    context, ten = decimal.getcontext(), decimal.Decimal(10)
    before = context.prec

    def change(k: int) -> None:
        context.prec = 3 if k > 5 else before

    try:
        _calls(C, see, lambda x: x * float(ten / 3), change)
    finally:
        context.prec = before


@scenario(eager=True)
def the_name_of_the_thread(C: Any, see: Any) -> None:
    thread = threading.current_thread()
    before = thread.name

    def change(k: int) -> None:
        thread.name = "t" * (1 + k // 4)

    try:
        _calls(C, see, lambda x: x * len(threading.current_thread().name), change)
    finally:
        thread.name = before


@scenario(eager=True)
def settings_of_numpy(C: Any, see: Any) -> None:
    def step(x):
        return x * (2.0 if np.geterr()["under"] == "warn" else 3.0)

    run = C(step)
    for k in range(10):
        with np.errstate(under="warn" if k > 5 else "ignore"):
            see(run(numbers(k, 3)))


# What a step asks through a module, and what it makes


@scenario
def known_by_its_id(C: Any, see: Any) -> None:
    buffer = np.ones(3)
    names = {id(buffer): 2.0}
    _calls(C, see, lambda x: x * names.get(id(buffer), 7.0) + buffer)


@scenario(eager=True)
def arguments_known_by_their_ids(C: Any, see: Any) -> None:
    cache: dict[int, Any] = {}
    x = numbers(0, 3)

    def step(x):
        if id(x) not in cache:
            cache[id(x)] = 1.0
        return x * 2

    run = C(step)
    for _ in range(8):
        see(run(x), len(cache))


@scenario
def classes_asked_for_by_the_module(C: Any, see: Any) -> None:
    kinds = {np.ndarray: 2.0, float: 3.0, np.float64: 5.0}

    def step(x):
        known = builtins.hasattr(x, "value") or builtins.isinstance(x.sum(), collections.abc.Iterable)
        return x * kinds.get(builtins.type(x), 9.0) * kinds.get(builtins.type(x.sum()), 9.0) * (1 + known)

    _calls(C, see, step)


@scenario
def made_and_filled(C: Any, see: Any) -> None:
    def step(x, i):
        hot = np.zeros((3, 4))
        np.put_along_axis(hot, i[:, None], 1.0, 1)
        degree, table = np.zeros(4), np.full((2, 3), 0.5)
        np.add.at(degree, i, x)
        table[1] = x
        degree[i[0]] += 1.0
        return hot, degree, table, np.ones(3) * x + np.eye(3)[0], np.empty(3).shape, np.full(3, x[0])

    run = C(step)
    for k in range(8):
        see(*run(numbers(k, 3), np.array([k % 4, 1, 3])))


@scenario
def copies_of_what_is_computed(C: Any, see: Any) -> None:
    def step(x):
        y = x * 2
        kept = np.array(y)
        y += 1
        return kept, y, np.asarray(y), np.array(y, dtype=np.float32), np.asarray(y, np.float64) is y

    _calls(C, see, step)


@scenario
def a_mask_that_is_made(C: Any, see: Any) -> None:
    def step(x):
        keep = np.ones(3, bool)
        keep[1] = False
        rows = np.zeros(2, int)
        rows[1] = 2
        return x[keep], x[rows], np.zeros(3)[0] + len(np.ones(4))

    _calls(C, see, step)


class Replay:
    """A ring buffer, from which a step samples."""

    def __init__(self, size: int) -> None:
        self.x, self.reward = np.zeros((size, 3)), np.zeros(size)
        self.k, self.size, self.rng = 0, size, np.random.default_rng(0)

    def push(self, x: Any, reward: Any) -> None:
        self.x[self.k % self.size] = x
        self.reward[self.k % self.size] = reward
        self.k += 1

    def sample(self, count: int) -> Any:
        chosen = self.rng.integers(0, min(self.k, self.size), count)
        return self.x[chosen], self.reward[chosen], self.reward[self.k % self.size]


@scenario
def a_replay_buffer(C: Any, see: Any) -> None:
    replay = Replay(5)

    def step(x):
        replay.push(x, x.sum())
        return replay.sample(4)

    run = C(step)
    for k in range(16):
        see(*run(numbers(k, 3)), replay.x, replay.reward, replay.k)


@scenario
def a_place_that_moves_out(C: Any, see: Any) -> None:
    st, table = SimpleNamespace(k=-6), np.zeros((4, 2))

    def step(x):
        table[st.k, 1] = x[0]
        table[0, st.k] += x[1]
        st.k += 1
        return table[st.k - 1, 0] * x

    run = C(step)
    for k in range(12):
        see.attempt(run, numbers(k, 3))
        see(table, st.k)
        st.k += 1 if k in (0, 1, 9) else 0


@scenario
def modules_are_themselves(C: Any, see: Any) -> None:
    table, first = {np: 2.0, os: 3.0}, [np.zeros, time.time]
    numpy = sys.modules["numpy"]

    def step(x, xp):
        known = xp is np, numpy is np, table[np], np in table, vars(os)["sep"], first[0] is np.zeros
        return x * known[2], known, np.ones.__name__, type(type(x)) is type(np.float64), first

    run = C(step)
    for k in range(6):
        see(*run(numbers(k, 3), np))


@scenario
def patched_while_it_runs(C: Any, see: Any) -> None:
    def step(x):
        before = np.zeros
        np.zeros = lambda n: np.ones(n) * 7
        try:
            return np.zeros(3) + x
        finally:
            np.zeros = before

    real = np.zeros
    _calls(C, see, step)
    see(np.zeros is real)


@scenario
def patched_between_calls(C: Any, see: Any) -> None:
    real = np.zeros

    def change(k: int) -> None:
        np.zeros = (lambda *given, **options: real(*given, **options) + 5) if 3 < k < 7 else real  # type: ignore[assignment]

    try:
        _calls(C, see, lambda x: np.zeros(3) + x, change)
    finally:
        np.zeros = real


@scenario(eager=True)
def single_bools_are_drawn(C: Any, see: Any) -> None:
    rng = np.random.default_rng(0)
    step = C(lambda x, k: (x, rng.integers(0, k, dtype=bool)))
    for k in (1, 2, 1, 1, 2, 2, 1):
        see(*step(numbers(k, 3), k))


@scenario(eager=True)
def how_numpy_prints(C: Any, see: Any) -> None:
    before = np.get_printoptions()["precision"]
    run = C(lambda x: x * np.get_printoptions()["precision"])
    try:
        for k in range(8):
            np.set_printoptions(precision=4 if k > 4 else 8)
            see(run(numbers(k, 3)))
    finally:
        np.set_printoptions(precision=before)
