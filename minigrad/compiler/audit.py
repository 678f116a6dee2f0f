"""Audits: now and then a call runs both ways, as the program and as the eager step, and the two are compared.

Guards and recordings compare what is known. An audit is the only mechanism that tests the plan of memory and the kernels,
and the only one that notices what no recording can see. The eager call is the real one: its results are returned.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad.compiler.numpy_source import Source
from minigrad.compiler.refusal import CheckFailed
from minigrad.compiler.specialization import Inputs, Specialization
from minigrad.reach import MISSING, StateRef, alike, is_leaf
from minigrad.tensor import Tensor

TOLERANCE = {np.dtype(np.float64): 1e-7, np.dtype(np.complex128): 1e-7, np.dtype(np.float16): 2e-2}
SINGLE = 1e-3
CHAOTIC = 1e-4  # of an array of which roundings change an element so much, all elements may be changed
RELATIVE_COST = 10  # an audit takes as long as about so many calls of the program
SHARE = 50  # and is due after so many times its cost


def gap(calls: int) -> int:
    """How many calls there are until the next audit, after so many: denser at first, at most one in 500."""
    return min(max(3 * calls, 4), SHARE * RELATIVE_COST)


class Audit:
    """The state around one call, noted before it, so that the call can be made twice.

    Args:
        version: the specialization that the call has.
        leaves: its arguments.
    """

    def __init__(self, version: Specialization, leaves: list[Any], inputs: Inputs) -> None:
        self.version, self.leaves, self.inputs = version, leaves, inputs
        recording = version.recording
        arrays = [*recording.owned.values(), *(b.array for b in version.program.buffers if b.kind == "state")]
        arrays += [x.data if type(x) is Tensor else x for x in (*leaves, *inputs[0])]
        unique = {id(a): a for a in arrays if type(a) is np.ndarray}
        constant = {id(b.array) for b in version.program.buffers if b.is_constant}
        self.arrays = [(a, a.copy()) for a in unique.values() if id(a) not in constant]
        self.scratch = recording.scratch
        self.generators = [
            (g, g.bit_generator.state)
            for g in (*recording.program.generators, *leaves)
            if isinstance(g, np.random.Generator)  # those of slots are among the leaves
        ]
        self.places = [(at, _value(at)) for how, at, *_ in recording.recipe.writes if how in ("set", "gradient")]
        self.lists = [(at, list(at)) for how, at, *_ in recording.recipe.writes if how in ("extend", "refill")]
        self.grads = [(x, x.grad) for x in leaves if type(x) is Tensor]

    def put_back(self) -> None:
        """The state as it was noted."""
        for array, copy in self.arrays:
            if array.flags.writeable and not np.array_equal(array, copy, equal_nan=array.dtype.kind in "fc"):
                np.copyto(array, copy)
        for generator, state in self.generators:
            generator.bit_generator.state = state
        for ref, value in self.places:
            ref.set(value)
        for holder, items in self.lists:
            holder.clear()
            holder.extend(items)
        for tensor, grad in self.grads:
            tensor._grad = grad

    def seen(self, result: Any) -> list[tuple[str, Any]]:
        """Everything that a call returned and left."""
        found = list(_parts("the result", result, has_history=bool(self.version.live)))
        for ref, _ in self.places:
            found += _parts(ref.path, _value(ref))
        for holder, _ in self.lists:
            found += _parts("a list", list(holder))
        for tensor, _ in self.grads:
            found += _parts("a gradient", tensor.grad)
        found += [("the state", a.copy()) for a, _ in self.arrays if id(a) not in self.scratch]
        found += [("a Generator", str(g.bit_generator.state)) for g, _ in self.generators]
        return found

    def compiled(self) -> list[tuple[str, Any]] | None:
        """What the program returns and leaves, which is put back; None if a check of it fails."""
        try:
            return self.seen(self.version.call(self.leaves, self.inputs))
        except CheckFailed:
            return None
        finally:
            self.put_back()

    def spread(self) -> list[Any]:
        """How far the numbers move if each input moves by a rounding: of the program as it was recorded."""
        version = self.version
        recorded = version.recording.program
        unchecked = recorded.replaced(lambda v: v, [op for op in recorded.lines if op.op != "check"])
        plain = Source(unchecked, version.title, recycle=False)
        run, version.run = version.run, plain.compiled()
        version.adopt(plain)
        kernels, version.kernels = version.kernels, None
        rng = np.random.default_rng(0)
        runs = []
        try:
            for scale in (0.0, 1.0, -1.0, 1.0):
                for array, _ in self.arrays:
                    if scale and array.dtype.kind == "f" and array.flags.writeable:
                        eps = np.finfo(array.dtype).eps
                        array *= (1 + scale * eps * rng.uniform(0, 2, array.shape)).astype(array.dtype)
                runs.append(self.compiled())
        finally:
            version.run, version.kernels = run, kernels
            version.adopt(version.source)
        if any(r is None for r in runs):
            return []
        spreads = []
        for group in zip(*runs, strict=False):
            values = [x for _, x in group]
            is_float = all(isinstance(x, np.ndarray) and x.dtype.kind in "fc" for x in values)
            if not is_float or len({x.shape for x in values}) > 1:
                spreads.append(None)
                continue
            with np.errstate(all="ignore"):
                spreads.append(np.max([np.abs(x - values[0]) for x in values[1:]], axis=0))
        return spreads

    def difference(self, compiled: list[tuple[str, Any]], eager: list[tuple[str, Any]]) -> tuple[int, str] | None:
        """The first thing in which the two differ by more than rounding."""
        if len(compiled) != len(eager):
            return -1, f"{len(eager)} arrays and values eagerly, {len(compiled)} compiled"
        for k, ((path, x), (_, y)) in enumerate(zip(compiled, eager, strict=True)):
            why = _differs(x, y)
            if why is not None:
                return k, f"{path}: {why}"
        return None

    def is_rounding(self, compiled: list[tuple[str, Any]], eager: list[tuple[str, Any]]) -> bool:
        """Whether all differences are no larger than what roundings of the inputs do: the numbers are ill-conditioned."""
        if len(compiled) != len(eager):
            return False
        after = [(a, a.copy()) for a, _ in self.arrays]
        states = [(g, g.bit_generator.state) for g, _ in self.generators]
        places = [(ref, _value(ref)) for ref, _ in self.places]
        lists = [(holder, list(holder)) for holder, _ in self.lists]
        grads = [(t, t.grad) for t, _ in self.grads]
        self.put_back()
        spreads = self.spread()
        for a, copy in after:
            if a.flags.writeable:
                np.copyto(a, copy)
        for g, state in states:
            g.bit_generator.state = state
        for ref, value in places:
            ref.set(value)
        for holder, items in lists:
            holder[:] = items if isinstance(holder, list) else holder.clear() or ()
            if not isinstance(holder, list):
                holder.extend(items)
        for t, grad in grads:
            t._grad = grad
        if len(spreads) != len(eager):
            return False
        for (_, x), (_, y), spread in zip(compiled, eager, spreads, strict=True):
            if _differs(x, y) is None:
                continue
            if spread is None or not isinstance(x, np.ndarray) or x.shape != spread.shape or x.dtype != y.dtype:
                return False
            with np.errstate(all="ignore"):
                largest = np.max(spread, initial=0)
                allowed = largest if largest > CHAOTIC * np.max(np.abs(y), initial=0) else spread
                if not np.all(np.abs(x - y) <= 100 * allowed + _tolerance(y.dtype) * (1 + np.abs(y))):
                    return False
        return True


def _value(ref: StateRef) -> Any:
    value = ref.holder.grad if ref.is_grad else ref.get()
    return None if value is MISSING and ref.is_grad else value


def _parts(path: str, x: Any, depth: int = 0, has_history: bool = False) -> Iterator[tuple[str, Any]]:
    """The arrays, numbers and types in something that a call returned or left.

    With has_history the tape is not looked at: `connect` makes it after the program has run.
    """
    yield path, type(x)
    if type(x) is Tensor:
        yield path, has_history or x.node is None
        yield path, np.array(x.data)
    elif isinstance(x, (np.ndarray, np.generic)):
        yield path, np.array(x)
    elif isinstance(x, dict):
        for key, part in x.items():
            yield from _parts(f"{path}[{key!r}]", part, depth + 1, has_history)
    elif isinstance(x, (tuple, list)):  # before leaves, of which a tuple may be one: its numbers are rounded
        for k, part in enumerate(x):
            yield from _parts(f"{path}[{k}]", part, depth + 1, has_history)
    elif is_leaf(x):
        yield path, x
    elif depth < 4 and type(getattr(x, "__dict__", None)) is dict and type(x).__module__.split(".")[0] != "minigrad":
        for key, part in vars(x).items():
            yield from _parts(f"{path}.{key}", part, depth + 1)


def _tolerance(dtype: Any) -> float:
    return TOLERANCE.get(dtype, SINGLE)


def _differs(x: Any, y: Any) -> str | None:
    """In what two things differ by more than rounding."""
    if not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray):
        if isinstance(x, float) and isinstance(y, float):
            return _differs(np.array(x), np.array(y))
        if isinstance(x, type) or isinstance(y, type) or not is_leaf(x):
            return None if x is y else f"{_name(y)} eagerly, {_name(x)} compiled"
        return None if alike(x, y) or x == y else f"{y!r:.80} eagerly, {x!r:.80} compiled"
    if (x.shape, x.dtype) != (y.shape, y.dtype):
        return f"{y.shape} {y.dtype} eagerly, {x.shape} {x.dtype} compiled"
    if x.dtype.kind not in "fc":
        if np.array_equal(x, y):
            return None
    else:
        tolerance = _tolerance(x.dtype)
        with np.errstate(all="ignore"):
            scale = np.max(np.abs(y), initial=0, where=np.isfinite(y))
            if np.allclose(x, y, rtol=tolerance, atol=tolerance * min(float(scale), 1.0), equal_nan=True):
                return None
    where = np.unravel_index(int(np.argmax(~_is_close(x, y))), x.shape)
    return f"{y[where]!r} eagerly, {x[where]!r} compiled, at {tuple(map(int, where))} of {x.shape} {x.dtype}"


def _is_close(x: Any, y: Any) -> Any:
    if x.dtype.kind not in "fc":
        return x == y
    tolerance = _tolerance(x.dtype)
    with np.errstate(all="ignore"):
        return np.isclose(x, y, rtol=tolerance, atol=0, equal_nan=True)


def _name(x: Any) -> str:
    return getattr(x, "__name__", repr(x)[:60])
