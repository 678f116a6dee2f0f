"""One call of a step on listening arrays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minigrad.compiler import functions  # noqa: F401  (fills the table of what a trace hears)
from minigrad.compiler.listening import Listening
from minigrad.compiler.memory import owner
from minigrad.compiler.overlaps import check_overlaps
from minigrad.compiler.program import Buffer, Program, Value
from minigrad.compiler.recording import Recording, Result, active, argument_names
from minigrad.compiler.refusal import CompileError
from minigrad.compiler.rules import check
from minigrad.compiler.state import GRAD, MISSING, NODE, SCALARS, Spot, watched
from minigrad.compiler.substitution import Substitution
from minigrad.compiler.trace import Trace
from minigrad.compiler.unheard import Unheard
from minigrad.naming import probe
from minigrad.nn.module import Module
from minigrad.specialize import attach
from minigrad.tape import ancestors
from minigrad.tensor import Tensor
from minigrad.trees import flatten


def record(function: Any, leaves: list[Any], rebuild: Any, state: Any) -> Recording:
    """Call function(*args, **kwargs), args and kwargs rebuilt from leaves, and record what it does."""
    objects = [x for x in leaves if not isinstance(x, (Tensor, np.ndarray, *SCALARS))]
    session = _Session(function, [("", function), ("state", state), *(("", x) for x in objects)])
    return session.run(leaves, argument_names(function, leaves, rebuild), rebuild)


class _Session:
    """A trace, what listens to it, and what the step has shown when it is over."""

    def __init__(self, function: Any, roots: list[tuple[str, Any]]) -> None:
        self.function, self.trace, self.made = function, Trace(), Recording()
        self.places = places = Substitution(self.trace, roots)
        self.made.guards += watched(places.found, places.functions)
        self.once: list[tuple[Spot, Any]] = []  # what this call leaves, but not every call
        self.grad_access: dict[int, str] = {}  # the first thing that was done with .grad of a Tensor
        self.kept: dict[Buffer, Value] = {}  # arrays that the step makes and leaves somewhere

    def run(self, leaves: list[Any], names: list[str], rebuild: Any) -> Recording:
        """Trace one call."""
        trace, places, token = self.trace, self.places, active.set(self.trace)
        named = probe.set(self._named(probe.get()))
        try:
            places.begin()
            args, kwargs = rebuild(places.arguments(leaves, names))
            self.made.owned, self.made.arguments = places.owned, places.numbers
            unheard = Unheard(places.generators)
            with self._watching_grads():
                result = self.function(*args, **kwargs)
            unheard.check(trace.generators)
            outputs = self._outputs(result, leaves)
            stores = self._stores()
            self._hold()
            check_overlaps(trace)
        except BaseException:
            places.undo()
            trace.undo()
            raise
        finally:
            active.reset(token)
            probe.reset(named)
            trace.open = False
        places.end()
        for spot, value in (*self.made.exits, *self.once):
            spot.set(value)
        trace.find_constants()
        self.made.program = check(
            Program([*trace.inputs, *trace.lines], trace.buffers, stores, outputs, trace.generators)
        )
        return self.made

    # During

    def _named(self, outer: Any) -> Any:
        """mg.name reaches the values of the program."""

        def watch(name: str, value: Any, label: str | None) -> Any:
            data = value.data if isinstance(value, Tensor) else value
            if isinstance(data, Listening):
                data.value.name, data.value.label = name, label
            return value if outer is None else outer(name, value, label)

        return watch

    @contextmanager
    def _watching_grads(self) -> Iterator[None]:
        """Whether .grad of a Tensor is first read or first set: if set, what was there before does not matter."""
        plain: Any = Tensor.grad

        def get(t: Tensor) -> Any:
            self.grad_access.setdefault(id(t), "read")
            return plain.fget(t)

        def set_(t: Tensor, value: Any) -> None:
            self.grad_access.setdefault(id(t), "set")
            plain.fset(t, value)

        Tensor.grad = property(get, set_, doc=plain.__doc__)  # type: ignore[assignment, method-assign]
        try:
            yield
        finally:
            Tensor.grad = plain  # type: ignore[method-assign]

    # After

    def _outputs(self, result: Any, leaves: list[Any]) -> list[Value]:
        outputs: list[Value] = []
        made = self.made
        parts, made.rebuild = flatten(result)
        made.is_single = isinstance(result, (Tensor, Listening))
        for part in parts:
            data = part.data if isinstance(part, Tensor) else part
            if isinstance(data, Listening):
                made.static.append(Result(len(outputs), isinstance(part, Tensor)))
                outputs.append(data.value)
                array = np.copy(data.array)
                made.results.append(attach(array, None) if isinstance(part, Tensor) else array)
            else:
                made.static.append(part)
                made.results.append(part)
        self._find_live(parts, leaves)
        for spot, now in self.places.changes():
            self._leave(spot, self.places.before.get(spot.identity, MISSING), now)
        for number, k in made.arguments.items():
            leaf = leaves[k]
            grad = leaf.grad if isinstance(leaf, Tensor) else None
            if grad is not None and isinstance(grad.data, Listening):
                adds = self.grad_access.get(id(leaf)) != "set"
                made.grads.append((number, len(outputs), adds))
                outputs.append(grad.data.value)
                spot = Spot(leaf, GRAD, "slot", "grad")
                old = self.places.keep(spot)
                array = np.copy(grad.data.array)
                array = array if old is None or not adds else old.data + array
                self.once.append((spot, attach(array, None)))
        return outputs

    def _find_live(self, parts: list[Any], leaves: list[Any]) -> None:
        """Results whose history is there: no backward pass inside of the step has used it up."""
        given = {id(x.node) for x in leaves if isinstance(x, Tensor) and x.node is not None}
        captured: dict[int, Tensor] = {}
        for k, part in enumerate(parts):
            if not isinstance(part, Tensor) or part.node is None or not isinstance(part.data, Listening):
                continue
            lines, _ = ancestors([part.node])
            if any(line.saved is None for line in lines):
                continue
            self.made.live.append(k)
            for line in lines:
                t = line.owner() if hasattr(line, "owner") else None
                if t is not None and id(line) not in given:
                    captured[id(t)] = t
        self.made.captured = list(captured.values())

    def _leave(self, spot: Spot, old: Any, now: Any) -> None:
        """Decide what a later call leaves at a place, and whether what it finds there matters."""
        self.places.keep(spot)
        made = self.made
        if isinstance(now, (int, float, complex)) and not isinstance(now, bool):
            if type(old) is type(now) and old == now:
                return
            spot.set(old)
            raise CompileError(
                f"mg.compile: the step changes the Python number {spot.path} from {old} to {now}. A compiled step "
                "does not run its Python code again, so it would stay there.\nWay out: make it an array, "
                f"{spot.path} = np.zeros(()), and write {spot.path} += 1; or count outside of the step."
            )
        seen = spot.key != GRAD or self.grad_access.get(id(spot.holder)) != "set"
        found = old if old is MISSING or isinstance(old, SCALARS) else np.ndarray
        if isinstance(now, SCALARS) or now is MISSING:
            if seen:
                made.guards.append((spot, found))
            made.exits.append((spot, now))
            return
        parts, rebuild = flatten(now)
        if not any(isinstance(_data(x), Listening) for x in parts):
            return
        present, _ = flatten(None if old is MISSING else old)
        if len(parts) == len(present) and all(_alike(x, y) for x, y in zip(parts, present, strict=True)):
            values = [_data(x).value for x in parts]
            arrays = [np.copy(_data(x).array) for x in parts]
            for x, v, array in zip(present, values, arrays, strict=True):
                target = self.trace.state(_bare(_data(x)), spot.path)
                self.trace.writable(target, spot.path)
                target.write(v)
                np.copyto(target.array, array)
            made.exits.append((spot, old))
            return
        if seen:
            made.guards.append((spot, found))
        made.exits.append((spot, rebuild([self._kept(x, spot.path) for x in parts])))

    def _kept(self, x: Any, name: str) -> Any:
        data = _data(x)
        if not isinstance(data, Listening):
            return x
        array = np.copy(data.array)
        holder = attach(array, None) if isinstance(x, Tensor) else None
        buffer = Buffer(name, "kept", array, holder=holder)
        self.trace.buffers.append(buffer)
        self.kept[buffer] = data.value
        return array if holder is None else holder

    def _stores(self) -> dict[Buffer, Value]:
        stores: dict[Buffer, Value] = dict(self.kept)
        for memory in self.trace.memories.values():
            scratch = self.places.scratch.get(id(memory.array), False)
            if memory.buffer is None and memory.version and not scratch:
                memory.buffer = Buffer(self.trace.names[id(memory.array)], "state", memory.array)
                self.trace.buffers.append(memory.buffer)
            if memory.buffer is not None and scratch:
                memory.buffer.kind = "scratch"
            if memory.buffer is not None and memory.version and not scratch:
                assert memory.value is not None
                stores[memory.buffer] = memory.value
        return stores

    def _hold(self) -> None:
        """The places where what the program uses was found first."""
        used = {key for key, memory in self.trace.memories.items() if memory.buffer is not None}
        left = {spot.identity for spot, _ in self.made.exits}
        seen: set[int] = set()
        for spot, value in self.places.found:
            if id(value) in seen or spot.identity in left or spot.key == GRAD:
                continue
            array = self.places.before.get((id(value), "data")) if isinstance(value, Tensor) else value
            is_used = isinstance(array, np.ndarray) and id(owner(array)) in used
            if is_used or isinstance(value, Module) or any(value is rng for rng in self.trace.generators):
                seen.add(id(value))
                self.made.held.append((spot, value))
                if isinstance(value, Tensor):
                    self.made.held.append((Spot(value, NODE, "slot", spot.path), self.places.before[id(value), NODE]))


def _data(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x


def _bare(x: Any) -> Any:
    return x.array if isinstance(x, Listening) else x


def _alike(new: Any, old: Any) -> bool:
    """Whether the new value can be written into the array that was there."""
    new, old = _data(new), _bare(_data(old))
    return (
        isinstance(new, Listening) and isinstance(old, np.ndarray) and (new.shape, new.dtype) == (old.shape, old.dtype)
    )
