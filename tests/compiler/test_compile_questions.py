"""What a recorded step asks about its values, and which exceptions of C code it catches: the answers are eager ones."""

import collections.abc
import contextlib
import contextvars
import ctypes
import functools
import hashlib
import itertools
import json
import numbers
import operator
import random
import sqlite3
import sys
import typing
import warnings
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from scenarios.scenario import SCENARIOS, execute

import minigrad as mg
from minigrad.compiler.trace.traced_number import TracedNumber
from minigrad.compiler.trace.tracer import TracerArray

pytestmark = pytest.mark.floating(all="ignore")
CALLS = 6


class Config:
    """What a step reads besides its arguments."""

    def __init__(self):
        self.rate, self.steps = 0.0, 0


def results(step, run):
    """What the calls of a step return, and what random numbers come next."""
    config, found = Config(), []
    for k in range(CALLS):
        config.rate, config.steps = 0.1 * k + 0.3, k + 3
        random.seed(k)
        np.random.seed(k)  # noqa: NPY002
        found.append((np.asarray(run(np.ones(3) + k, 1.5 + k, config)), random.random(), np.random.random()))  # noqa: NPY002
    return found


def check_same(step):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = results(step, mg.compile(step, audit=False, backend="numpy"))
    for (one, *drawn), (other, *also_drawn) in zip(results(step, step), compiled, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-12)
        assert drawn == also_drawn


NAMES = [
    *("array", "value", "memory", "step", "parent", "write", "is_scalar", "expression", "decide", "pinned", "key"),
    *(
        "shape",
        "dtype",
        "ndim",
        "real",
        "item",
        "is_integer",
        "bit_length",
        "copy",
        "clone",
        "numpy",
        "data",
        "_version",
    ),
    *("__index__", "__len__", "__iter__", "__trunc__", "__round__", "__complex__", "__contains__", "__matmul__"),
    *(
        "__array__",
        "__array_interface__",
        "__array_struct__",
        "__array_wrap__",
        "__dlpack__",
        "__buffer__",
        "__slots__",
    ),
]


@pytest.mark.parametrize("name", NAMES)
def test_hasattr_and_getattr_are_those_of_the_real_value(name):
    def step(a, n, config):
        values = (a, a.sum(), n, config.rate, config.steps)
        known = [2.0 if hasattr(x, name) else 1.0 for x in values]
        also = [3.0 if getattr(x, name, None) is None else 1.0 for x in values]
        return a * np.array(known + also).prod() + config.rate * config.steps * n

    check_same(step)


KINDS = [getattr(collections.abc, n) for n in collections.abc.__all__]
KINDS += [getattr(numbers, n) for n in numbers.__all__]
KINDS += [getattr(typing, n) for n in dir(typing) if n.startswith("Supports")]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_isinstance_is_that_of_the_real_value(kind):
    def step(a, n, config):
        known = [2.0 if isinstance(x, kind) else 1.0 for x in (a, a.sum(), n, config.rate, config.steps)]
        return a * np.array(known).prod() + config.rate * config.steps * n

    check_same(step)


def test_builtins_under_another_name_behave_the_same():
    asked = isinstance

    def step(a, n, config, has=hasattr):
        return a * (2.0 if asked(a.sum(), collections.abc.Sized) else 1.0) * (3.0 if has(n, "value") else 1.0)

    check_same(step)


def test_a_builtin_that_the_step_stores_is_the_real_one():
    class Kept:
        asks = None

    def step(a, n, config):
        Kept.asks = isinstance
        return a * n

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = mg.compile(step, backend="numpy")
        for k in range(4):
            compiled(np.ones(3), k + 0.5, Config())
            assert Kept.asks is isinstance


def test_own_attributes_of_tracers_begin_with_mg():
    own = {n for kind in (TracerArray, TracedNumber) for n in dir(kind)}
    own -= {n for n in own if n.startswith(("mg_", "__", "minigrad", "takes_"))}
    assert own <= set(dir(np.ndarray)) | set(dir(float)) | set(dir(int))


# Steps that catch what C code says about a tracer


def json_of_a_scalar(a, n, config):
    try:
        text = json.dumps({"loss": a.sum()})
    except TypeError:
        text = ""
    return a * len(text)


def json_with_a_hook(a, n, config):
    return a * len(json.dumps({"loss": a.sum()}, default=lambda x: None))


def a_duration(a, n, config):
    try:
        timedelta(seconds=config.rate)
    except TypeError:
        return a * 2
    return a * 3 * config.rate


def a_digest(a, n, config):
    try:
        hashlib.sha256(a)
    except TypeError:
        return a * 2
    return a * 3


def a_suppressed_digest(a, n, config):
    factor = 2
    with contextlib.suppress(TypeError):
        hashlib.sha256(a)
        factor = 3
    return a * factor


def a_digest_caught_by_a_helper(a, n, config):
    def digest(x):
        try:
            return hashlib.sha256(x).digest()[0]
        except Exception:
            return 7

    return a * digest(a)


def a_row_of_a_database(a, n, config):
    try:
        sqlite3.connect(":memory:").execute("select ?", (config.rate,))
    except sqlite3.Error:
        return a * 2
    return a * 3 * config.rate


def a_decimal(a, n, config):
    try:
        Decimal(config.rate)
    except TypeError:
        return a * 2
    return a * 3 * config.rate


def a_number_for_c(a, n, config):
    try:
        ctypes.c_double(config.rate)
    except TypeError:
        return a * 2
    return a * 3 * config.rate


def an_index(a, n, config):
    try:
        operator.index(config.rate)
    except TypeError:
        return a * 2 * config.rate
    return a * 3


def an_attribute(a, n, config):
    try:
        return a.value * 3
    except AttributeError:
        return a * 2


def an_interface(a, n, config):
    try:
        return a * len(a.__array_interface__["shape"])
    except AttributeError:
        return a * 2


def draws_before(a, n, config):
    x, y = random.random(), np.random.random()  # noqa: NPY002
    try:
        hashlib.sha256(a)
    except TypeError:
        return a * 2
    return a * x * y


def draws_before_a_refusal(a, n, config):
    x, y = random.random(), np.random.random()  # noqa: NPY002
    hashlib.sha256(a)
    return a * x * y


CATCHING = [json_of_a_scalar, json_with_a_hook, a_duration, a_digest, a_suppressed_digest, a_digest_caught_by_a_helper]
CATCHING += [
    a_row_of_a_database,
    a_decimal,
    a_number_for_c,
    an_index,
    an_attribute,
    draws_before,
    draws_before_a_refusal,
]


@pytest.mark.parametrize("step", CATCHING, ids=lambda step: step.__name__)
def test_exceptions_of_c_code_about_tracers_do_not_reach_the_step(step):
    check_same(step)


def test_an_ordinary_handler_is_compiled():
    def step(a, n, config):
        try:
            offset = {}["missing"]
        except KeyError:
            offset = 1.0
        with contextlib.suppress(StopIteration):
            next(iter([]))
        try:
            return a * config.rate + offset
        finally:
            config.done = True

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled = mg.compile(step, audit=False, backend="numpy")
        found = results(step, compiled)
    for (one, *_), (other, *_) in zip(results(step, step), found, strict=True):
        np.testing.assert_allclose(other, one)
    assert not compiled.eager


def test_other_trace_functions_are_restored():
    def step(a, n, config):
        try:
            return a * n
        finally:
            config.done = True

    def outer(frame, event, arg):
        return None

    before = sys.gettrace()
    sys.settrace(outer)
    try:
        mg.compile(step, backend="numpy")(np.ones(3), 1.5, Config())
        now = sys.gettrace()
    finally:
        sys.settrace(before)
    assert now is outer


def test_new_class_attributes_are_undone_with_the_recording():
    class Counter:
        pass

    def step(a, n, config):
        Counter.calls = getattr(Counter, "calls", 0) + 1
        hashlib.sha256(a)
        return a * Counter.calls

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = mg.compile(step, backend="numpy")
        found = [compiled(np.ones(3), 0, Config())[0] for _ in range(4)]
    assert found == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["texts_that_are_no_numbers", "names_that_are_not_there", "lengths_that_differ"])
def test_exceptions_without_recorded_operands_are_ordinary(name):
    found = execute(SCENARIOS[f"attack_caught-{name}"], "numpy", audit=False)
    assert not found.warnings


def warned_by(step, calls=12):
    """The first line of what is warned of while a step is called."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        compiled = mg.compile(step, audit=False, backend="numpy")
        for _ in range(calls):
            compiled(np.ones(3))
    return [str(w.message).split("\n")[0] for w in found]


def in_another_context(x):
    return contextvars.Context().run(lambda: x * 2)


def with_other_filters(x):
    with warnings.catch_warnings():
        return x * 2


def advances_a_map(x):
    return x * next(FLOATS)


FLOATS = map(float, itertools.count())
TEXTS = {
    in_another_context: "the step computes in another context (contextvars.Context().run), where nothing is recorded",
    with_other_filters: "the step calls warnings.catch_warnings, which a program would not repeat",
    advances_a_map: "the step advances or changes `FLOATS`, a map, which a program cannot",
}


@pytest.mark.parametrize("step", TEXTS, ids=lambda step: step.__name__)
def test_reasons_are_plain(step):
    (text,) = warned_by(step)
    assert TEXTS[step] in text


def test_a_cleared_cache_is_described_without_an_address():
    @functools.lru_cache
    def rate(k):
        return k + 1.0

    def step(x):
        return x * rate(1)

    compiled = mg.compile(step, audit=False, backend="numpy")
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for _ in range(40):
            rate.cache_clear()
            rate(1)
            compiled(np.ones(3))
    assert len(found) == 1
    assert " at 0x" not in str(found[0].message)


def test_a_compiled_class_method_warns_that_it_runs_eagerly():
    class Model:
        @classmethod
        @mg.compile
        def double(cls, x):
            return x * 2

    with pytest.warns(mg.compiler.CompileWarning, match="a method of the class Model itself"):
        assert Model.double(np.ones(1))[0] == 2


def test_aborting_inside_del_prints_nothing(tmp_path, capfd):
    class Noted:
        def __del__(self):
            open(tmp_path / "log", "a").close()

    def step(x):
        Noted()
        return x * 2

    assert len(warned_by(step)) == 1
    assert not capfd.readouterr().err
