"""Functions in C that nobody sees called: handed to C code, looked up, found in modules of modules; and what prints."""

from __future__ import annotations

import collections
import contextlib
import contextvars
import dis
import functools
import importlib
import inspect
import io
import itertools
import operator
import os
import statistics
import sys
import tempfile
import traceback
import types
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from scenarios.parts import numbers
from scenarios.scenario import scenario

LISTDIR = ["list", "dir"]


class Folder:
    """A folder that C code may list in several ways."""

    entries = property(os.listdir)  # type: ignore[arg-type]
    listed = staticmethod(os.listdir)
    __call__ = staticmethod(os.listdir)
    __class_getitem__ = os.listdir  # type: ignore[assignment]

    def __init__(self, path: str) -> None:
        self.path, self.list, self.os, self.table = path, os.listdir, os, {"list": os.listdir}

    def __fspath__(self) -> str:
        return self.path


def _first(found: Any) -> Any:
    return next(iter(found))


def _by_default(path: str, list: Any = os.listdir) -> Any:
    return _first(map(list, [path]))


def _imported(path: str) -> Any:
    import os as system

    return _first(map(system.listdir, [path]))


def _imported_from(path: str) -> Any:
    from os import listdir as entries

    return _first(map(entries, [path]))


def _renamed(path: str) -> Any:
    system = os
    return _first(map(system.listdir, [path]))


def _found_by_renamed(path: str) -> Any:
    library = contextlib
    return _first(map(library.os.listdir, [path]))  # type: ignore[attr-defined]


def _with(make: Any, held: Any) -> Any:
    return make(held)


# How a step may list a folder: with the path of one that is given each time, and what it needs of that one beforehand.
WAYS: dict[str, Any] = {
    "mapped": lambda d: lambda: _first(map(os.listdir, [d])),
    "starred": lambda d: lambda: _first(itertools.starmap(os.listdir, [(d,)])),
    "called_by_operator": lambda d: lambda: operator.methodcaller("__call__", d)(os.listdir),
    "partial_inside": lambda d: lambda: functools.partial(os.listdir, d)(),
    "partial_outside": lambda d: functools.partial(os.listdir, d),
    "bound_outside": lambda d: types.MethodType(os.listdir, d),
    "run_in_a_context": lambda d: lambda: contextvars.copy_context().run(os.listdir, d),
    "by_its_call": lambda d: lambda: os.listdir.__call__(d),
    "by_its_call_outside": lambda d: functools.partial(os.listdir.__call__, d),
    "a_default_argument": lambda d: lambda: _by_default(d),
    "a_property": lambda d: _with(lambda f: lambda: f.entries, Folder(d)),
    "a_static_method": lambda d: _with(lambda f: lambda: f.listed(d), Folder(d)),
    "an_object_that_is_called": lambda d: _with(lambda f: lambda: f(d), Folder(d)),
    "a_class_with_an_index": lambda d: lambda: Folder[d],  # type: ignore[misc]
    "an_attribute": lambda d: _with(lambda f: lambda: _first(map(f.list, [d])), Folder(d)),
    "a_module_as_an_attribute": lambda d: _with(lambda f: lambda: _first(map(f.os.listdir, [d])), Folder(d)),
    "in_a_table": lambda d: _with(lambda f: lambda: _first(map(f.table["list"], [d])), Folder(d)),
    "in_a_tuple": lambda d: _with(lambda t: lambda: _first(map(t[0], [d])), (os.listdir,)),
    "missing_in_a_dictionary": lambda d: lambda: [collections.defaultdict(os.getcwd)[d], *os.scandir(d)],
    "by_getattr": lambda d: lambda: _first(map(getattr(os, "".join(LISTDIR)), [d])),
    "by_vars": lambda d: lambda: _first(map(vars(os)["listdir"], [d])),
    "by_its_dictionary": lambda d: lambda: _first(map(os.__dict__["listdir"], [d])),
    "by_attrgetter": lambda d: lambda: _first(map(operator.attrgetter("listdir")(os), [d])),
    "imported_inside": lambda d: lambda: _imported(d),
    "imported_from_inside": lambda d: lambda: _imported_from(d),
    "under_another_name": lambda d: lambda: _renamed(d),
    "by_import": lambda d: lambda: __import__("os").listdir(d),
    "by_import_and_mapped": lambda d: lambda: _first(map(__import__("os").listdir, [d])),
    "by_import_module": lambda d: lambda: importlib.import_module("os").listdir(d),
    "by_sys_modules": lambda d: lambda: _first(map(sys.modules["os"].listdir, [d])),
    "of_contextlib": lambda d: lambda: contextlib.os.listdir(d),  # type: ignore[attr-defined]
    "of_contextlib_mapped": lambda d: lambda: _found_by_renamed(d),
    "of_inspect": lambda d: lambda: inspect.os.listdir(d),  # type: ignore[attr-defined]
    "cached_outside": lambda d: functools.partial(functools.lru_cache(os.listdir).__wrapped__, d),
    "dispatched": lambda d: _with(lambda f: lambda: f(d), functools.singledispatch(os.listdir)),
    "evaluated": lambda d: lambda: eval("__import__('os').listdir(d)", {"d": d}),
    "written_by_map": lambda d: lambda: [*map(print, [Path(d).name], [f"{k}" for k in [1]]), *os.listdir(d)],
}


def _listing(make: Any) -> Any:
    def run(C: Any, see: Any) -> None:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            entries = make(folder)
            step = C(lambda x: x * len(list(entries())))
            for k in range(8):
                if k > 4:
                    Path(folder, f"f{k}").touch()
                see(step(numbers(k, 3)))

    return run


for _name, _make in WAYS.items():
    _run = _listing(_make)
    _run.__name__ = f"listed_{_name}"
    scenario(_run, eager=True)


# What prints


def _printing(C: Any, see: Any, function: Any) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        step = C(function)
        for k in range(8):
            see(step(numbers(k, 3)), len(out.getvalue()))


@scenario(eager=True)
def printed_by_dis(C: Any, see: Any) -> None:
    def other():
        return 1

    def step(x):
        dis.dis(other)
        return x

    _printing(C, see, step)


@scenario(eager=True)
def printed_by_numpy(C: Any, see: Any) -> None:
    def step(x):
        np.show_config()
        return x

    _printing(C, see, step)


@scenario(eager=True)
def written_by_a_module_of_a_module(C: Any, see: Any) -> None:
    def step(x):
        statistics.sys.stdout.write("a")  # type: ignore[attr-defined]
        return x

    _printing(C, see, step)


# What is read from outside


@scenario(eager=True)
def a_file_read_under_another_name(C: Any, see: Any) -> None:
    read = np.fromfile
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a")
        step = C(lambda x: x * read(path))
        for k in range(8):
            np.full(3, 1.0 + k // 4).tofile(path)
            see(step(numbers(k, 3)))


@scenario(eager=True)
def a_variable_of_another_context(C: Any, see: Any) -> None:
    variable: Any = contextvars.ContextVar("variable")
    context = contextvars.copy_context()
    step = C(lambda x: x * context[variable])
    for k in range(8):
        context.run(variable.set, 1.0 + k // 4)
        see(step(numbers(k, 3)))


@scenario(eager=True)
def run_in_another_context(C: Any, see: Any) -> None:
    variable: Any = contextvars.ContextVar("variable")
    context = contextvars.copy_context()
    step = C(lambda x: context.run(lambda: x * variable.get()))
    for k in range(8):
        context.run(variable.set, 1.0 + k // 4)
        see(step(numbers(k, 3)))


@scenario(eager=True)
def seeds_that_are_spawned(C: Any, see: Any) -> None:
    seeds = np.random.SeedSequence(1)

    def step(x):
        seeds.spawn(1)
        return x

    run = C(step)
    for k in range(6):
        see(run(numbers(k, 3)), seeds.n_children_spawned)


@scenario
def seeds_that_are_read(C: Any, see: Any) -> None:
    seeds = np.random.SeedSequence(1)
    step = C(lambda x: x * (seeds.generate_state(2)[0] % 7))
    for k in range(6):
        see(step(numbers(k, 3)))


@scenario(eager=True)
def the_exception_of_the_caller(C: Any, see: Any) -> None:
    step = C(lambda x: x * len(traceback.format_exc()) * (2.0 if sys.exc_info()[1] is None else 3.0))
    for k in range(8):
        try:
            if k % 3 == 2:
                raise ValueError(k)
            see(step(numbers(k, 3)))
        except ValueError:
            see(step(numbers(k, 3)))


@scenario
def the_exception_of_the_step(C: Any, see: Any) -> None:
    def step(x):
        try:
            raise ValueError("a")
        except ValueError:
            return x * len(str(sys.exc_info()[1]))

    run = C(step)
    for k in range(6):
        see(run(numbers(k, 3)))


# Modules that are looked up


def _rated(C: Any, see: Any, function: Any) -> None:
    module: Any = types.ModuleType("attack_rates")
    sys.modules["attack_rates"] = module
    step = C(function)
    for k in range(8):
        module.rate = 1.0 if k < 5 else 3.0
        if k == 6:
            sys.modules["attack_extra"] = module
        see(step(numbers(k, 3)))
    del sys.modules["attack_rates"], sys.modules["attack_extra"]


MODULE = ["attack_rates"]


@scenario
def a_rate_by_import_module(C: Any, see: Any) -> None:
    _rated(C, see, lambda x: x * importlib.import_module("attack_rates").rate)


@scenario
def a_rate_by_import(C: Any, see: Any) -> None:
    _rated(C, see, lambda x: x * __import__("attack_rates").rate)


@scenario(eager=True)
def a_rate_by_a_computed_name(C: Any, see: Any) -> None:
    _rated(C, see, lambda x: x * importlib.import_module(MODULE[0]).rate)


@scenario
def a_module_that_is_there(C: Any, see: Any) -> None:
    _rated(C, see, lambda x: x * (3.0 if "attack_extra" in sys.modules else 2.0))


@scenario(eager=True)
def modules_under_another_name(C: Any, see: Any) -> None:
    def step(x):
        from sys import modules

        return x * modules[MODULE[0]].rate

    _rated(C, see, step)


# Arrays as bytes


@scenario(eager=True)
def sizes_in_memory(C: Any, see: Any) -> None:
    step = C(lambda x: (x * 1, sys.getsizeof(x), x.__sizeof__()))
    for k in range(4):
        see(step(numbers(k, 3)))


def _as_bytes(C: Any, see: Any, function: Any) -> None:
    step = C(function)
    for k in range(4):
        see.attempt(step, np.arange(3) + k)


@scenario(eager=True)
def bytes_of_integers(C: Any, see: Any) -> None:
    _as_bytes(C, see, lambda x: (bytes(x), bytes(x.sum()), int.from_bytes(x, "big"), int.from_bytes(x[1], "big")))


@scenario(eager=True)
def bytes_that_change(C: Any, see: Any) -> None:
    _as_bytes(C, see, lambda x: bytearray(x).hex())


@scenario(eager=True)
def bytes_that_are_added(C: Any, see: Any) -> None:
    def step(x):
        made = bytearray(b"a")
        made.extend(x)
        return bytes(made)

    _as_bytes(C, see, step)


@scenario(eager=True)
def a_view_of_memory(C: Any, see: Any) -> None:
    _as_bytes(C, see, lambda x: memoryview(x).tobytes())


# Recordings that are undone


@scenario(eager=True)
def a_list_that_was_shorter_by_then(C: Any, see: Any) -> None:
    held: list[Any] = [1.0, 2.0, 3.0]
    with tempfile.TemporaryDirectory() as folder:

        def step(x):
            first = held.pop() if held else 0.0
            Path(folder, "log").write_text("a")
            return x * first

        run = C(step)
        for k in range(5):
            see(run(numbers(k, 3)), held)


@scenario(eager=True)
def files_of_objects_that_go(C: Any, see: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")

        class Noted:
            def __del__(self) -> None:
                with open(log, "a") as file:
                    file.write("a")

        def step(x):
            Noted()
            with open(log, "a") as file:
                file.write("b")
            return x

        run = C(step)
        for k in range(5):
            see(run(numbers(k, 3)), log.read_text())


# What is no reason to run eagerly


@scenario
def functions_of_the_system_in_a_rare_branch(C: Any, see: Any) -> None:
    st = SimpleNamespace(time=2.0, n=0)

    def step(x):
        st.n += 1
        if st.n > 100:
            st.time = os.times().elapsed
            print(datetime.now(), *map(str, os.listdir(".")))
        return x * st.time

    run = C(step)
    for k in range(8):
        see(run(numbers(k, 3)))


@scenario
def paths_that_are_joined(C: Any, see: Any) -> None:
    step = C(lambda x: x * sum(map(len, [os.path.join("a", "b"), os.sep])))
    for k in range(6):
        see(step(numbers(k, 3)))
