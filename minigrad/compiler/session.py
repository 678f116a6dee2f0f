"""One call of a step on listening arrays."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minigrad import rng
from minigrad.compiler import functions  # noqa: F401  (fills the table of what a trace hears)
from minigrad.compiler.generator import ListeningGenerator
from minigrad.compiler.listening import Listening
from minigrad.compiler.memory import owner
from minigrad.compiler.program import Buffer, Program, Value
from minigrad.compiler.recording import Recording, Result, active, argument_names
from minigrad.compiler.refusal import CompileError
from minigrad.compiler.rules import check
from minigrad.compiler.state import GRAD, MISSING, NODE, SCALARS, Spot, explore, watched
from minigrad.compiler.trace import Trace
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
    """The places of the state, with listening arrays put there and taken away again."""

    def __init__(self, function: Any, roots: list[tuple[str, Any]]) -> None:
        self.function, self.roots = function, roots
        self.trace = Trace()
        self.made = Recording()
        reached: list[Any] = []
        self.found = explore(roots, reached)
        self.made.guards += watched(self.found, reached)
        self.holders = {id(spot.holder) for spot, _ in self.found}
        self.before = {spot.identity: value for spot, value in self.found}
        self.put: dict[Any, Any] = {}  # what was put in the place of it
        self.replaced: dict[Any, tuple[Spot, Any]] = {}  # places that listen, and what stood there
        self.once: list[tuple[Spot, Any]] = []  # what this call leaves, but not every call
        self.generators: dict[int, ListeningGenerator] = {}
        self.grad_access: dict[int, str] = {}  # the first thing that was done with .grad of a Tensor
        self.scratch: dict[int, bool] = {}  # of owners
        self.kept: dict[Buffer, Value] = {}  # arrays that the step makes and leaves somewhere

    def run(self, leaves: list[Any], names: list[str], rebuild: Any) -> Recording:
        """Trace one call."""
        trace, token = self.trace, active.set(self.trace)
        named = probe.set(self._named(probe.get()))
        drawn = unheard_draws()
        try:
            for spot, value in self.found:
                if spot.key == NODE:
                    self.replaced[spot.identity] = spot, value
                else:
                    self._substitute(spot, value)
            self.made.owned = dict(trace.memories)
            args, kwargs = rebuild(self._arguments(leaves, names))
            others = strange_generators(self.generators)
            with self._watching_grads():
                result = self.function(*args, **kwargs)
            self._check_draws(drawn)
            warn_of_draws(others)
            outputs = self._outputs(result, leaves)
            stores = self._stores()
            self._hold()
        except BaseException:
            self._restore()
            self._restore_numbers()
            trace.undo()
            raise
        finally:
            active.reset(token)
            probe.reset(named)
            trace.open = False
        self._restore()
        for spot, value in (*self.made.exits, *self.once):
            spot.set(value)
        trace.find_constants()
        self.made.program = check(
            Program([*trace.inputs, *trace.lines], trace.buffers, stores, outputs, trace.generators)
        )
        return self.made

    # Before

    def _substitute(self, spot: Spot, value: Any) -> None:
        new = self._listening(value, spot.path)
        if isinstance(value, np.ndarray) and new is not value:
            key = id(owner(value))
            self.scratch[key] = spot.is_scratch and self.scratch.get(key, True)
        if new is not value:
            self._put(spot, value, new)

    def _put(self, spot: Spot, value: Any, new: Any) -> None:
        self.put[spot.identity] = new
        self.replaced[spot.identity] = spot, value
        spot.set(new)

    def _listening(self, value: Any, name: str) -> Any:
        if type(value) is np.ndarray and value.dtype.kind in "biufc":
            return self.trace.state(value, name)
        if isinstance(value, np.random.Generator) and not isinstance(value, ListeningGenerator):
            return self.generators.setdefault(id(value), ListeningGenerator(self.trace, value))
        if type(value) is tuple and any(isinstance(x, (np.ndarray, np.random.Generator)) for x in value):
            return tuple(self._listening(x, f"{name}.{k}") for k, x in enumerate(value))
        return value

    def _arguments(self, leaves: list[Any], names: list[str]) -> list[Any]:
        given = []
        for k, (leaf, name) in enumerate(zip(leaves, names, strict=True)):
            if isinstance(leaf, Tensor):
                if id(leaf) not in self.holders:
                    self._put(Spot(leaf, "data", "slot", name), leaf.data, self._argument(leaf.data, name, k))
                    if leaf.grad is not None:
                        self._put(Spot(leaf, GRAD, "slot", name), leaf.grad, None)
                given.append(leaf)
            else:
                given.append(self._argument(leaf, name, k) if isinstance(leaf, np.ndarray) else leaf)
        return given

    def _argument(self, array: Any, name: str, k: int) -> Any:
        if id(owner(array)) in self.made.owned:
            return self.trace.state(array, name)
        number = len(self.made.arguments)
        self.made.arguments[number] = k
        return self.trace.argument(array, name, number)

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

    def _check_draws(self, before: Any) -> None:
        after = unheard_draws()
        for name, state in before.items():
            if after[name] != state and (name != "global" or rng._global() not in self.trace.generators):
                raise CompileError(
                    "mg.compile: the step draws from np.random or from minigrad's global generator in a way that is "
                    "not heard, and every call would repeat the numbers of the first.\nWay out: draw with a "
                    "Generator that the step can reach, rng = np.random.default_rng(seed); rng.normal(size=...)."
                )

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
        for spot, now in self._changes():
            self._leave(spot, self.before.get(spot.identity, MISSING), now)
        for number, k in made.arguments.items():
            leaf = leaves[k]
            grad = leaf.grad if isinstance(leaf, Tensor) else None
            if grad is not None and isinstance(grad.data, Listening):
                adds = self.grad_access.get(id(leaf)) != "set"
                made.grads.append((number, len(outputs), adds))
                outputs.append(grad.data.value)
                spot = Spot(leaf, GRAD, "slot", "grad")
                _, old = self.replaced.pop(spot.identity, (spot, None))
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

    def _changes(self) -> Iterator[tuple[Spot, Any]]:
        """The places that hold something else than what was put there."""
        for spot, now in explore(self.roots):
            old = self.before.get(spot.identity, MISSING)
            is_new = id(spot.holder) not in self.holders or isinstance(spot.holder, list)
            if spot.key == NODE or (old is MISSING and is_new):
                continue
            if now is not self.put.get(spot.identity, old):
                yield spot, now
        # A place whose object is no longer reached, such as the .grad of what it was before, needs nothing.

    def _leave(self, spot: Spot, old: Any, now: Any) -> None:
        """Decide what a later call leaves at a place, and whether what it finds there matters."""
        self.replaced.pop(spot.identity, None)
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
            scratch = self.scratch.get(id(memory.array), False)
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
        for spot, value in self.found:
            if id(value) in seen or spot.identity in left or spot.key == GRAD:
                continue
            array = self.before.get((id(value), "data")) if isinstance(value, Tensor) else value
            is_used = isinstance(array, np.ndarray) and id(owner(array)) in used
            if is_used or isinstance(value, Module) or any(value is rng for rng in self.trace.generators):
                seen.add(id(value))
                self.made.held.append((spot, value))
                if isinstance(value, Tensor):
                    self.made.held.append((Spot(value, NODE, "slot", spot.path), self.before[id(value), NODE]))

    def _restore(self) -> None:
        for spot, value in self.replaced.values():
            spot.set(value)

    def _restore_numbers(self) -> None:
        """Put back what a step that is refused has counted."""
        for spot, value in self.found:
            if isinstance(value, (int, float)) and spot.get() is not value:
                spot.set(value)


def strange_generators(known: Container[int]) -> list[tuple[Any, str]]:
    """The Generators of the process that a step does not reach, and their states."""
    others = (x for x in gc.get_objects() if type(x) is np.random.Generator and id(x) not in known)
    return [(x, str(x.bit_generator.state)) for x in others if x is not rng._global()]


def warn_of_draws(generators: list[tuple[Any, str]]) -> None:
    """Say that one has drawn, which was not heard."""
    if any(str(x.bit_generator.state) != before for x, before in generators):
        warnings.warn(
            "mg.compile: a Generator that the step does not reach has drawn while the step was recorded. If the step "
            "uses it, every call repeats the numbers of the first.\nWay out: pass it as an argument, or name the "
            "object that holds it: mg.compile(step, state=[...]).",
            stacklevel=6,
        )


def unheard_draws() -> dict[str, Any]:
    """How far the generators have come that nobody hands to a step."""
    module = sys.modules.get("numpy.random")
    states = {} if module is None else {"legacy": str(module.get_state())}
    return states | {"global": rng._global().bit_generator.state["state"]}


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
