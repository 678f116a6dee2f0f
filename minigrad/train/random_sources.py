"""Sources of random numbers that a training draws from, found by a walk over the objects that belong to it.

The order depends on the program only, so the states that one process saves are loaded into the same sources in another.
"""

from __future__ import annotations

import functools
import itertools
import random
import sys
import types
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from minigrad.reach import package_of
from minigrad.recompute.restore import put_source, source_state
from minigrad.tensor.tensor import Tensor
from minigrad.util.rng import generator

MAX_OBJECTS = 100_000  # larger structures are data
KINDS = (np.random.Generator, np.random.RandomState, np.random.BitGenerator, np.random.SeedSequence, random.Random)
DATA = (type(None), bool, int, float, complex, str, bytes, bytearray, np.ndarray, np.generic, np.dtype, Tensor)
PLAIN = frozenset(DATA)
LIBRARIES = sys.stdlib_module_names | {"numpy", "scipy", "minigrad", "numba", "builtins"}
ITERATORS = (
    *(kind for kind in vars(itertools).values() if isinstance(kind, type) and hasattr(kind, "__next__")),
    *(types.GeneratorType, types.AsyncGeneratorType, types.CoroutineType, map, filter, zip, enumerate),
)


class RandomSources:
    """The sources of random numbers that some objects reach.

    Attributes:
        sources: by path, each once: generators of NumPy and Python that some object holds or some function reads, and
            the global ones of minigrad, NumPy and Python.
        iterators: paths of running iterators, whose position cannot be restored.
    """

    def __init__(self, roots: Mapping[str, Any]) -> None:
        self.sources: dict[str, Any] = {"mg.manual_seed": generator(), "random.seed": random._inst}
        self.sources["np.random.seed"] = np.random.mtrand._rand
        self.iterators: list[str] = []
        self._seen = {id(x): x for x in self.sources.values()}
        queue: deque[tuple[str, Any]] = deque(roots.items())
        while queue and len(self._seen) < MAX_OBJECTS:
            path, x = queue.popleft()
            if _is_data(x) or id(x) in self._seen:
                continue
            self._seen[id(x)] = x
            if isinstance(x, KINDS):
                if not isinstance(x, random.SystemRandom):
                    self.sources[self._free(path)] = x
            elif isinstance(x, ITERATORS):
                self.iterators.append(path)
            else:
                queue.extend(_parts(path, x))

    def _free(self, path: str) -> str:
        return next(p for k in itertools.count(1) if (p := path if k == 1 else f"{path} ({k})") not in self.sources)


def _is_data(x: Any) -> bool:
    """Whether an object cannot hold a source. It is fast: it is called for each item of long lists of file names."""
    return type(x) in PLAIN or isinstance(x, DATA)


def _parts(path: str, x: Any) -> Iterator[tuple[str, Any]]:
    """The objects that an object holds, in an order that is the same in every run."""
    if isinstance(x, type):
        if package_of(x) not in LIBRARIES:
            yield from ((f"{path}.{name}", value) for name, value in vars(x).items() if not name.startswith("__"))
        return
    if isinstance(x, types.ModuleType):
        return
    if isinstance(x, (types.FunctionType, types.MethodType, functools.partial, staticmethod, classmethod, property)):
        yield from _of_function(path, x)
        return
    if isinstance(x, Mapping):
        yield from _items(path, x)
    elif isinstance(x, (list, tuple, deque)):
        yield from ((f"{path}[{k}]", value) for k, value in enumerate(x) if not _is_data(value))
    elif isinstance(x, (set, frozenset)):
        yield from ((f"{path}[{k}]", value) for k, value in enumerate(sorted(x, key=repr)))
    elif isinstance(x, types.BuiltinFunctionType):
        yield path, x.__self__  # rng.normal, random.random
    yield from ((f"{path}.{name}", value) for name, value in list(getattr(x, "__dict__", {}).items()))
    for base in type(x).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else tuple(slots):
            if isinstance(name, str) and not name.startswith("__") and hasattr(x, name):
                yield f"{path}.{name}", getattr(x, name)
    yield f"{path}.__class__", type(x)


def _items(path: str, x: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in list(x.items()):
        if not _is_data(value):
            yield f"{path}[{key!r}]" if isinstance(key, (str, int)) else f"{path}[...]", value


def _of_function(path: str, x: Any) -> Iterator[tuple[str, Any]]:
    """The objects that a function can read: its closure, its defaults, and the globals that its code names."""
    if isinstance(x, types.MethodType):
        yield from ((path, x.__self__), (path, x.__func__))
    elif isinstance(x, functools.partial):
        yield from ((path, x.func), (f"{path}.args", x.args), (f"{path}.keywords", x.keywords))
    elif isinstance(x, property):
        yield path, x.fget
    elif isinstance(x, (staticmethod, classmethod)):
        yield path, x.__func__
    else:
        yield from ((f"{path}.{name}", value) for name, value in vars(x).items())
        yield from _items(path, {"defaults": x.__defaults__, "kwdefaults": x.__kwdefaults__})
        for name, cell in zip(x.__code__.co_freevars, x.__closure__ or (), strict=True):
            try:
                yield f"{path}:{name}", cell.cell_contents
            except ValueError:  # not assigned yet
                continue
        if package_of(x) not in LIBRARIES:
            yield from _globals(path, x.__globals__, dict.fromkeys(_names(x.__code__)))


def _globals(path: str, scope: Mapping[str, Any], names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    for name in names:
        value = scope.get(name)
        if not isinstance(value, types.ModuleType):
            yield f"{path}:{name}", value
        elif value.__name__.split(".")[0] not in LIBRARIES:  # `config.rng` of a module of the user's
            yield from ((f"{path}:{name}.{k}", vars(value).get(k)) for k in names if k in vars(value))


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


# States, as plain data


def state_of(source: Any) -> dict[str, Any]:
    """The state of a source."""
    if isinstance(source, np.random.SeedSequence):
        return {"kind": "SeedSequence", "spawned": source.n_children_spawned}
    bits = getattr(source, "bit_generator", source)
    seeds = getattr(bits, "seed_seq", None)
    spawned = {"spawned": seeds.n_children_spawned} if isinstance(seeds, np.random.SeedSequence) else {}
    return {"kind": type(bits).__name__, "state": source_state(source), **spawned}


def put_state(path: str, source: Any, state: Mapping[str, Any]) -> None:
    """Restore the state of a source; a ValueError if it is that of another kind, or of fewer spawned children."""
    present = state_of(source)
    if present["kind"] != state["kind"]:
        raise ValueError(f"{path} is a {present['kind']} here, and the state is that of a {state['kind']}")
    is_seed_sequence = isinstance(source, np.random.SeedSequence)
    if not is_seed_sequence:
        put_source(source, state["state"])
    if "spawned" in state:
        seeds = source if is_seed_sequence else getattr(source, "bit_generator", source).seed_seq
        missing = state["spawned"] - present["spawned"]
        if missing < 0:
            raise ValueError(f"{path} has spawned {-missing} more children than the state; create it again")
        seeds.spawn(missing)
