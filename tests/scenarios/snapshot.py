"""What a user can observe of an object, as plain data that can be kept and compared."""

from __future__ import annotations

import enum
import functools
import itertools
import types
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.compiler import Compiled
from minigrad.optim import Optimizer

FUNCTIONS = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial, Compiled, classmethod,
    staticmethod, types.ModuleType, np.ufunc,
)  # fmt: skip
PLAIN = (type(None), bool, int, str, bytes, complex, range, slice, enum.Enum, type, np.dtype)
ITERATORS = (types.GeneratorType, itertools.count, itertools.cycle, zip, map, filter)


class Identities:
    """Numbers for arrays and Tensors in the order in which they are first seen. They are kept alive from then on."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[Any, int]] = {}

    def number(self, x: Any) -> int:
        """The number of an object, the same whenever it is seen again."""
        return self.known.setdefault(id(x), (x, len(self.known)))[1]


def of_the_compiler(x: Any) -> bool:
    return str(type(x).__module__).startswith("minigrad.compiler")


def is_tracer(x: Any) -> bool:
    """Whether x is an object of the compiler's that stands for one of the user's while a step is recorded."""
    stands_for = (np.ndarray, np.random.Generator, float, int, str, list, dict, set)
    return of_the_compiler(x) and (hasattr(type(x), "__array_ufunc__") or isinstance(x, stands_for))


def attributes(x: Any) -> dict[str, Any]:
    """Attributes of an object, those in slots included."""
    try:
        found = dict(getattr(x, "__dict__", {}))
    except RuntimeError:  # of a property of that name
        found = {}
    for kind in type(x).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__weakref__", "__dict__") and hasattr(x, name):
                found[name] = getattr(x, name)
    return found


def snapshot(x: Any, ids: Identities, path: tuple[int, ...] = ()) -> Any:
    """x as nested tuples of type names, copies of arrays, and plain values."""
    kind = type(x).__name__
    if is_tracer(x):
        return ("TRACER ARRAY", kind)
    if isinstance(x, FUNCTIONS):
        return "function"
    if isinstance(x, PLAIN):
        return (kind, repr(x))
    if isinstance(x, ITERATORS):
        return (kind, repr(x) if isinstance(x, itertools.count) else "")
    if isinstance(x, (float, np.generic)):
        return (kind, np.array(x))
    if id(x) in path:
        return ("seen above", kind)
    path = (*path, id(x))
    if isinstance(x, np.ndarray):
        array = np.ma.filled(x, np.nan) if isinstance(x, np.ma.MaskedArray) else np.array(x)
        return (kind, ("identity", ids.number(x)), array, x.flags.writeable)
    if isinstance(x, mg.Tensor):
        return (kind, ("identity", ids.number(x)), array_of(x), graph_of(x), snapshot(x.grad, ids, path))
    if isinstance(x, np.random.Generator):
        return (kind, repr(x.bit_generator.state))
    if isinstance(x, np.random.RandomState):
        return (kind, repr(x.get_state()[1:]), x.get_state()[1])  # type: ignore[index]
    return (kind, *parts(x, ids, path))


def array_of(x: mg.Tensor) -> Any:
    """The elements of a Tensor, unless a tracer array was left in it."""
    return ("TRACER ARRAY", type(x.data).__name__) if is_tracer(x.data) else np.array(x.data)


def graph_of(x: mg.Tensor) -> tuple[str, bool | None]:
    """Whether a leaf requires grad. Of results, scenarios see it by differentiating them."""
    return ("graph", x.requires_grad if x.is_leaf else None)


def parts(x: Any, ids: Identities, path: tuple[int, ...]) -> list[Any]:
    """What a container or an object holds."""
    see = functools.partial(snapshot, ids=ids, path=path)
    if isinstance(x, Optimizer):
        options = [{k: v for k, v in g.items() if k != "params"} for g in x.param_groups]
        held = [[*map(see, g["params"])] for g in x.param_groups]
        return [see(options), held, see(without_identity(x.state_dict()["state"]))]
    found: list[Any] = []
    if isinstance(x, dict):
        found += [(see(key), see(value)) for key, value in x.items()]
    elif isinstance(x, (list, tuple, deque)):
        found += [see(part) for part in x]
    elif isinstance(x, (set, frozenset)):
        found += [see(part) for part in sorted(x, key=repr)]
    elif isinstance(x, BaseException):
        return [str(x)[:60]]
    if not isinstance(x, tuple):
        held = attributes(x)
        found += [(name, see(held[name])) for name in sorted(held) if not isinstance(held[name], FUNCTIONS)]
    return found


def without_identity(tree: Any) -> Any:
    """Arrays of a dictionary of copies as lists: which arrays they are says nothing."""
    if isinstance(tree, dict):
        return {key: without_identity(value) for key, value in tree.items()}
    return [str(tree.dtype), tree.tolist()] if isinstance(tree, np.ndarray) else tree


def tracers(roots: Any) -> Iterator[str]:
    """The paths to tracer arrays that can be reached from objects by attributes, items, closures and the tape."""
    pending: list[tuple[str, Any]] = list(roots.items())
    seen: set[int] = set()
    kept: list[Any] = []  # keeps ids from being used again
    while pending:
        path, x = pending.pop()
        if id(x) in seen or isinstance(x, (*PLAIN, float, np.generic, types.ModuleType)):
            continue
        seen.add(id(x))
        kept.append(x)
        if of_the_compiler(x):
            if is_tracer(x):
                yield path
        elif isinstance(x, dict):
            pending += [(f"{path}[{key!r:.20}]", value) for key, value in x.items()]
        elif isinstance(x, (list, tuple, set, frozenset, deque)):
            pending += [(f"{path}[{k}]", value) for k, value in enumerate(x)]
        elif isinstance(x, types.FunctionType):
            pending += [(f"{path}.cell", cell) for cell in x.__closure__ or ()]
            pending += [(f"{path}.default", value) for value in x.__defaults__ or ()]
        elif isinstance(x, types.CellType):
            pending += [(path, getattr(x, "cell_contents", None))]
        elif isinstance(x, types.MethodType):
            pending += [(path, x.__self__), (path, x.__func__)]
        elif not isinstance(x, np.ndarray):
            pending += [(f"{path}.{name}", value) for name, value in attributes(x).items()]


def difference(found: Any, expected: Any, path: str = "", identity: bool = False) -> str:
    """Where two snapshots differ; empty if they do not, to rounding. Identities of objects count only if asked for."""
    if isinstance(expected, np.ndarray) and isinstance(found, np.ndarray):
        return unequal(found, expected, path)
    if isinstance(expected, (list, tuple)) and isinstance(found, (list, tuple)):
        if is_identity(expected) and is_identity(found):
            return (
                f"{path}: another object, {found[1]} instead of {expected[1]}" if identity and found != expected else ""
            )
        if len(expected) == 2 and isinstance(expected[0], str) and expected[0] == "graph" and expected[1] is None:
            return ""
        for k, (a, b) in enumerate(zip(found, expected, strict=False)):
            if text := difference(a, b, f"{path}.{k}", identity):
                return text
        if len(found) != len(expected):
            return f"{path}: {len(found)} parts instead of {len(expected)}: {found!r:.200} instead of {expected!r:.200}"
        return ""
    if type(found) is not type(expected):
        return f"{path}: {found!r:.120} instead of {expected!r:.120}"
    if isinstance(expected, float):
        return unequal(np.array(found), np.array(expected), path)
    return "" if found == expected else f"{path}: {found!r:.200} instead of {expected!r:.200}"


def is_identity(x: Any) -> bool:
    return len(x) == 2 and isinstance(x[0], str) and x[0] == "identity"


def unequal(found: Any, expected: Any, path: str) -> str:
    """How two arrays differ by more than rounding."""
    if (found.dtype, found.shape) != (expected.dtype, expected.shape):
        return f"{path}: {found.dtype} {found.shape} instead of {expected.dtype} {expected.shape}"
    same = np.array_equal(found, expected)
    if not same and expected.dtype.kind in "fc":
        rtol = {2: 2e-2, 4: 2e-3}.get(expected.dtype.itemsize, 1e-9)
        scale = np.max(np.abs(expected), where=np.isfinite(expected), initial=1.0 if rtol < 1e-6 else 1e-2)
        with np.errstate(all="ignore"):
            same = np.allclose(found, expected, rtol=rtol, atol=rtol * scale, equal_nan=True)
    return "" if same else f"{path}: {str(found.tolist())[:200]} instead of {str(expected.tolist())[:200]}"
