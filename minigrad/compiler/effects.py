"""Effects: what a call returns and leaves behind, as a recipe that every later call follows.

A `Recipe` is a list of entries, each made of the entries before it: an object that existed before, an argument, an
output of the program, a view, a Tensor, a container. What a step makes is a new object at each call, what existed is the
same object, and what is one object in two places is one in both. `writes` says what is put where, after everything was
computed from what stood there before (a swap swaps).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import numpy as np

from minigrad.compiler.capture import StateCapture
from minigrad.compiler.gradients import DeferredGrad, GradProbe
from minigrad.compiler.listening import Listening, Memory
from minigrad.compiler.memory import viewed
from minigrad.compiler.numbers import TracedNumber
from minigrad.compiler.program import Buffer, Value
from minigrad.compiler.refusal import CompileError
from minigrad.compiler.trace import Trace
from minigrad.node import Node, next_serial
from minigrad.reach import MISSING, StateRef, bits, is_leaf
from minigrad.specialize import attach
from minigrad.tape import ancestors
from minigrad.tensor import Tensor
from minigrad.trees import flatten

Entry = tuple[Any, ...]


class Recipe:
    """What one recorded call returned and left.

    Attributes:
        entries: in an order in which they can be made.
        writes: (how, place or container, entry numbers or what is needed besides).
        result: the entry of the result.
        outputs: the values of the program that entries refer to.
        kept: buffers of gradients, with their values.
        live: which leaves of the result carry gradients, and on which Tensors from outside these depend.
    """

    def __init__(self, trace: Trace, capture: StateCapture, leaves: list[Any], result: Any) -> None:
        self.trace, self.capture = trace, capture
        self.entries: list[Entry] = []
        self.writes: list[tuple[Any, ...]] = []
        self.outputs: list[Value] = []
        self.kept: dict[Buffer, Value] = {}
        self.live: list[int] = []
        self.captured: list[Tensor] = []
        self._leaf = {id(leaf): k for k, leaf in reversed(list(enumerate(leaves)))}
        self._fetched = {id(x.value): j for j, x in enumerate(capture.arrays)}
        self._made: dict[int, int] = {}
        self._hold: list[Any] = []  # keeps ids from being used again
        self._bases: dict[int, int] = {}
        self._find_live(result, leaves)
        self._count_leaving(result)
        self.result = self._entry(result, "the result")
        for ref, before, now in capture.changes_after:
            self._write(ref, before, now)
        for holder, before, path in capture.resized_after:
            self._resize(holder, before, path)
        del self._hold, self._made, self._bases, self._leaving, self._fetched, self._leaf, self._live_ids
        del self.trace, self.capture

    # Results with a history

    def _find_live(self, result: Any, leaves: list[Any]) -> None:
        """Results whose history is there: no backward pass inside of the step has used it up."""
        given = {id(x.node) for x in leaves if type(x) is Tensor and x.node is not None}
        captured: dict[int, Tensor] = {}
        self._live_ids: set[int] = set()
        for k, part in enumerate(flatten(result)[0]):
            if type(part) is not Tensor or type(part.data) is not Listening or self._existed(part):
                continue
            nodes = _live_nodes(part.node)
            if not nodes:
                continue
            self.live.append(k)
            self._live_ids.add(id(part))
            for node in nodes:
                t = node.owner() if hasattr(node, "owner") else None
                if t is not None and id(node) not in given:
                    captured[id(t)] = t
        self.captured = list(captured.values())

    # Entries

    def _add(self, *entry: Any) -> int:
        self.entries.append(entry)
        return len(self.entries) - 1

    def _existed(self, x: Any) -> bool:
        return id(x) in self.capture.reach.seen or id(x) in self._leaf or id(x) in self._fetched

    def _entry(self, x: Any, path: str) -> int:
        """The number of the entry that makes x."""
        if id(x) in self._made:
            return self._made[id(x)]
        if type(x) is not Listening and is_leaf(x):
            return self._add("object", x)
        number = self._new_entry(x, path)
        self._made[id(x)] = number
        self._hold.append(x)
        return number

    def _new_entry(self, x: Any, path: str) -> int:
        kind = type(x)
        if id(x) in self.capture.rebuilt:
            raise CompileError(
                f"mg.compile: an argument, a {kind.__name__}, is left in {path}.\nHint: leave a copy, or what is in it."
            )
        if kind is Listening:
            return self._array(x)
        if kind is TracedNumber:
            if x.expression is not None:
                return self._add("number", x.expression, type(x.real))
            return self._output(x.value, type(x.real).__name__)
        if id(x) in self._fetched:
            return self._add("fetched", self._fetched[id(x)])
        if id(x) in self._leaf and kind in (Tensor, np.ndarray):
            return self._add("leaf", self._leaf[id(x)])
        if isinstance(x, GradProbe):
            return self._entry(x.before, path)
        if hasattr(kind, "minigrad_tracer"):  # a generator
            return self._entry_of_object(x.real)
        if self._existed(x) or isinstance(x, (type, np.ufunc, np.dtype)):
            return self._entry_of_object(x)
        if kind is Tensor:
            return self._tensor(x, path)
        if kind is np.ndarray:
            return self._add("array", x.copy(), x.flags.writeable)
        if isinstance(x, (tuple, list, deque, set, frozenset)):
            members = [self._entry(part, f"{path}[{k}]") for k, part in enumerate(x)]
            return self._add("items", kind, members, getattr(x, "maxlen", None))
        if isinstance(x, dict):
            keys = [self._entry(key, path) for key in x]
            values = [self._entry(part, f"{path}[{key!r}]") for key, part in x.items()]
            return self._add("dict", kind, list(zip(keys, values, strict=True)), getattr(x, "default_factory", None))
        return self._instance(x, path)

    def _entry_of_object(self, x: Any) -> int:
        k = self.capture.argument_generators.get(id(x), self._leaf.get(id(x)))
        return self._add("object", x) if k is None else self._add("leaf", k)

    def _instance(self, x: Any, path: str) -> int:
        """A new object of a user's class: made without calling it, with its attributes."""
        kind = type(x)
        if isinstance(x, FunctionType) and not any(type(p) is Listening for p in _contents(x)):
            return self._add("object", x)
        own = getattr(x, "__dict__", None)
        slots = [name for base in kind.__mro__ for name in _slot_names(base)]
        if kind.__module__.split(".")[0] in ("builtins", "numpy") or not (own is not None or slots):
            raise CompileError(
                f"mg.compile: a new {kind.__name__} is left in {path}, and a compiled step cannot make another one.\n"
                "Hint: return arrays, Tensors, numbers, or objects with attributes."
            )
        attributes = [("own", n, self._entry(v, f"{path}.{n}")) for n, v in (own or {}).items()]
        for name in slots:
            value = StateRef(x, name, "slot", "").get()
            if value is not MISSING:
                attributes.append(("slot", name, self._entry(value, f"{path}.{name}")))
        return self._add("instance", kind, attributes)

    def _tensor(self, x: Tensor, path: str) -> int:
        data = self._entry(x.data, path)
        node = x.node
        if node is None or id(x) in self._live_ids:
            return self._add("tensor", data)
        if node.primitive is None:
            return self._add("leaf tensor", data)
        if _live_nodes(node):
            raise CompileError(
                f"mg.compile: a Tensor that still has its history is left in {path}.\nHint: return it from the step, "
                "or leave t.detach()."
            )
        return self._add("released", data, node.primitive, getattr(node, "name", None), getattr(node, "label", None))

    # Arrays

    def _count_leaving(self, result: Any) -> None:
        """How many arrays leave in each memory: two in one memory are views of one array."""
        self._leaving: dict[int, set[int]] = {}
        roots = [result, *(now for _, _, now in self.capture.changes_after)]
        roots += [list(holder) for holder, _, _ in self.capture.resized_after]
        for x in _arrays(roots, self._existed):
            self._leaving.setdefault(id(x.memory), set()).add(id(x))

    def _array(self, x: Listening) -> int:
        memory, known = x.memory, self.trace.known.get(id(x.array)) is x
        outside = self._outside(memory)
        if outside is not None:
            if known and x.array is not memory.array:
                return self._add("object", x.array)
            base = self._bases.setdefault(id(memory), -1)
            if base < 0:
                base = self._bases[id(memory)] = self._add(*outside)
            if known:
                return base
            return self._view(x, memory.array, base)
        if len(self._leaving.get(id(memory), ())) > 1 and x.parent is not None:
            if id(memory) not in self._bases:
                root = _root(x)
                self._bases[id(memory)] = self._made[id(root)] = self._output(root.value, root)
                self._hold.append(root)
            return self._view(x, _root(x).array, self._bases[id(memory)])
        return self._output(x.value, x)

    def _view(self, x: Listening, root: Any, base: int) -> int:
        """A view of an array; where slices, reshapes and transposes do not make it, from its place in that memory."""
        chain = _chain(x)
        is_locked = root.flags.writeable and not x.array.flags.writeable
        if chain is None:
            if not root.flags.c_contiguous or not np.may_share_memory(x.array, root):
                raise CompileError(
                    f"mg.compile: a view of shape {x.shape} of an array with gaps leaves the step.\n"
                    "Hint: return a copy."
                )
            offset = _address(x.array) - _address(root)
            chain = [("strided", (x.shape, x.dtype, offset, x.array.strides))]
        return self._add("view", base, chain, is_locked)

    def _outside(self, memory: Memory) -> Entry | None:
        """The array from outside that has a memory."""
        if not memory.is_outside:
            return None
        place = memory.buffer.place if memory.buffer is not None and memory.buffer.kind == "argument" else None
        if place is None:
            return "object", memory.array
        if place in self.capture.arguments:
            return "leaf array", self.capture.arguments[place]
        return "fetched array", next(j for j, x in enumerate(self.capture.arrays) if x.number == place)

    def _output(self, value: Value, x: Any) -> int:
        self.outputs.append(value)
        how = x if isinstance(x, str) else "scalar" if x.is_scalar else "array"
        if how == "array" and not x.array.flags.writeable:
            how = "locked"
        return self._add("output", len(self.outputs) - 1, how)

    # Writes

    def _write(self, ref: StateRef, before: Any, now: Any) -> None:
        if ref.is_grad:
            self._write_gradient(ref, now)
        elif ref.is_node:
            raise CompileError(
                f"mg.compile: the step changes whether {ref.path} requires grad.\nHint: do it outside of the step."
            )
        else:
            self.writes.append(("set", ref, MISSING if now is MISSING else self._entry(now, ref.path)))

    def _write_gradient(self, ref: StateRef, now: Any) -> None:
        if id(ref.holder) in self._leaf and id(ref.holder) not in self.capture.reach.seen:
            now = None if now is MISSING else now
            self.writes.append(("argument gradient", self._leaf[id(ref.holder)], self._entry(now, ref.path)))
            return
        if now is None or now is MISSING:
            self.writes.append(("set", ref, self._add("object", None)))
            return
        if id(now) in self._made or isinstance(now, GradProbe) or self._existed(now) or type(now.data) is not Listening or now.node is not None:
            self.writes.append(("set", ref, self._entry(now, ref.path)))
            return
        if self._outside(now.data.memory) is not None or len(self._leaving.get(id(now.data.memory), ())) > 1:
            self.writes.append(("set", ref, self._entry(now, ref.path)))
            return
        deferred = DeferredGrad(np.copy(now.data.array))
        buffer = Buffer(ref.path, "kept", deferred.data, holder=deferred)
        self.trace.buffers.append(buffer)
        self.kept[buffer] = now.data.value
        self.writes.append(("gradient", ref, deferred))

    def _resize(self, holder: Any, before: list[Any], path: str) -> None:
        """A list or deque that lost items at its front and got others at its end."""
        now = list(holder)
        originals = [self.capture.original(x) for x in now]
        if isinstance(holder, set):
            if not all(map(is_leaf, [*now, *before])):
                raise CompileError(f"mg.compile: the step changes the set {path}.\nHint: do it outside of the step.")
            self.writes.append(("set of", holder, path, frozenset(now)))
            return
        for k in range(len(before) + 1):
            rest = len(before) - k
            if rest <= len(now) and all(a is b for a, b in zip(before[k:], originals, strict=False)):
                break
        added = [self._entry(x, f"{path}[{rest + j}]") for j, x in enumerate(now[rest:])]
        automatic = isinstance(holder, deque) and holder.maxlen is not None
        if k and not rest and not automatic and before:
            self.writes.append(("refill", holder, path, added))
        else:
            self.writes.append(("extend", holder, path, 0 if automatic else k, added))

    # Comparison

    def canonical(self, number: Callable[[Value], Any]) -> Iterator[tuple[str, Any]]:
        """The recipe without identities that mean nothing, to be compared with that of another recording."""
        for entry in self.entries:
            how, *rest = entry
            if how == "object":
                yield how, bits(rest[0]) if is_leaf(rest[0]) else id(rest[0])
            elif how == "output":
                yield how, (number(self.outputs[rest[0]]), rest[1])
            elif how == "array":
                yield how, (rest[0].shape, rest[0].dtype.str, rest[0].tobytes(), rest[1])
            elif how in ("items", "dict"):
                yield how, (rest[0], repr(rest[1:]))
            elif how == "number":
                yield how, rest[1]
            elif how == "instance":
                yield how, (rest[0], repr(rest[1]))
            else:
                yield how, repr(rest)
        for how, at, *rest in self.writes:
            if how == "gradient":
                yield how, (at.path, number(self.kept[next(b for b in self.kept if b.holder is rest[0])]))
            elif how == "set":
                yield how, (at.path, repr(rest))
            else:
                yield (
                    how,
                    repr([sorted(map(repr, x)) if isinstance(x, frozenset) else x for x in rest if type(x) is not str]),
                )


def _live_nodes(node: Node | None) -> list[Node]:
    """The tape behind a node, or nothing if there is none or some of it was released."""
    if node is None:
        return []
    nodes, _ = ancestors([node])
    return [] if any(n.saved is None for n in nodes) else nodes


def _chain(x: Listening) -> list[Any] | None:
    """The steps from the whole memory to a view, None if they are not all slices, reshapes and transposes."""
    steps = []
    while x.parent is not None:
        steps.append(x.step)
        x = x.parent
    return steps[::-1] if all(s is not None and s[0] in ("slice", "reshape", "transpose") for s in steps) else None


def _root(x: Listening) -> Listening:
    """The array that a view is one of."""
    while x.parent is not None:
        x = x.parent
    return x


def _address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def _arrays(roots: list[Any], existed: Callable[[Any], bool]) -> Iterator[Listening]:
    """The tracer arrays in new objects."""
    todo, seen = list(roots), set()
    while todo:
        x = todo.pop()
        if type(x) is Listening:
            yield x
        elif not is_leaf(x) and id(x) not in seen and not isinstance(x, (type, np.ndarray)):
            seen.add(id(x))
            if type(x) is Tensor:
                todo.append(x.data)
            elif not existed(x):
                todo += _contents(x)


def _contents(x: Any) -> list[Any]:
    if isinstance(x, dict):
        return [*x, *x.values()]
    if isinstance(x, (tuple, list, deque, set, frozenset)):
        return list(x)
    if isinstance(x, FunctionType):
        return [StateRef(c, "", "cell", "").get() for c in x.__closure__ or ()]
    own = list(getattr(x, "__dict__", {}).values())
    return own + [StateRef(x, n, "slot", "").get() for base in type(x).__mro__ for n in _slot_names(base)]


def _slot_names(kind: type) -> list[str]:
    names = kind.__dict__.get("__slots__", ()) if kind.__module__ != "builtins" else ()
    return [n for n in ((names,) if isinstance(names, str) else names) if n not in ("__dict__", "__weakref__")]


# The recipe as one generated function


def compiled(recipe: Recipe) -> Callable[[Any, Any, Any, Any], Any]:
    """finish(outputs, leaves, fetched, numbers): makes all entries, writes, and returns the result."""
    scope: dict[str, Any] = {
        "Tensor": Tensor,
        "attach": attach,
        "viewed": viewed,
        "released": _released,
        "leaf_tensor": _leaf_tensor,
    }
    scope |= {"strided": _strided, "locked": _locked}
    scope |= {"instance": _instance, "extend": _extend, "refill": _refill, "MISSING": MISSING}
    lines = []
    for k, entry in enumerate(recipe.entries):
        text = _TEXTS[entry[0]](k, entry[1:], scope)
        if text == f"c{k}":
            scope[f"t{k}"] = scope[text]
        else:
            lines.append(f"t{k} = {text}")
    for j, write in enumerate(recipe.writes):
        lines.append(_write_text(j, write, scope))
    body = "\n    ".join([*lines, f"return t{recipe.result}"])
    exec(f"def finish(o, x, f, n):\n    {body}\n", scope)
    return scope["finish"]  # type: ignore[no-any-return]


def _constant(k: int, x: Any, scope: dict[str, Any]) -> str:
    scope[f"c{k}"] = x
    return f"c{k}"


def _items_text(k: int, rest: Any, scope: dict[str, Any]) -> str:
    kind, members, maxlen = rest
    inside = ", ".join(f"t{m}" for m in members)
    if kind is list:
        return f"[{inside}]"
    if kind is tuple:
        return f"({inside},)" if members else "()"
    scope[f"k{k}"] = kind
    if hasattr(kind, "_fields"):
        return f"k{k}({inside})"
    return f"k{k}([{inside}]" + (f", {maxlen})" if issubclass(kind, deque) else ")")


def _dict_text(k: int, rest: Any, scope: dict[str, Any]) -> str:
    kind, pairs, default = rest
    inside = ", ".join(f"t{a}: t{b}" for a, b in pairs)
    if kind is dict:
        return f"{{{inside}}}"
    scope[f"k{k}"] = kind
    if hasattr(kind, "default_factory"):
        scope[f"d{k}"] = default
        return f"k{k}(d{k}, {{{inside}}})"
    return f"k{k}({{{inside}}})"


def _output_text(k: int, rest: Any, scope: dict[str, Any]) -> str:
    number, how = rest
    if how == "locked":
        return f"locked(o[{number}])"
    return f"o[{number}]" + {"array": "", "scalar": "[()]"}.get(how, ".item()")


def _released_text(k: int, rest: Any, scope: dict[str, Any]) -> str:
    data, scope[f"p{k}"], scope[f"n{k}"], scope[f"l{k}"] = rest
    return f"released(t{data}, p{k}, n{k}, l{k})"


def _instance_text(k: int, rest: Any, scope: dict[str, Any]) -> str:
    scope[f"k{k}"], attributes = rest
    scope[f"a{k}"] = [(how, name) for how, name, _ in attributes]
    return f"instance(k{k}, a{k}, ({''.join(f't{m}, ' for _, _, m in attributes)}))"


def _number_text(k: int, rest: Any, scope: dict[str, Any]) -> str:
    scope[f"e{k}"] = rest[0]
    return f"e{k}(n)"


_TEXTS: dict[str, Callable[[int, Any, dict[str, Any]], str]] = {
    "object": lambda k, rest, scope: _constant(k, rest[0], scope),
    "array": lambda k, rest, scope: (
        f"{_constant(k, rest[0], scope)}.copy()" if rest[1] else f"locked({_constant(k, rest[0], scope)}.copy())"
    ),
    "leaf": lambda k, rest, scope: f"x[{rest[0]}]",
    "leaf array": lambda k, rest, scope: f"(x[{rest[0]}] if type(x[{rest[0]}]) is not Tensor else x[{rest[0]}].data)",
    "fetched": lambda k, rest, scope: f"f[{rest[0]}]",
    "fetched array": lambda k, rest, scope: (
        f"(f[{rest[0]}] if type(f[{rest[0]}]) is not Tensor else f[{rest[0]}].data)"
    ),
    "output": _output_text,
    "view": lambda k, rest, scope: _view_text(k, rest, scope),
    "tensor": lambda k, rest, scope: f"attach(t{rest[0]}, None)",
    "leaf tensor": lambda k, rest, scope: f"leaf_tensor(t{rest[0]})",
    "released": _released_text,
    "number": _number_text,
    "items": _items_text,
    "dict": _dict_text,
    "instance": _instance_text,
}


def _view_text(k: int, rest: Any, scope: dict[str, Any]) -> str:
    base, steps, is_locked = rest
    text = f"t{base}"
    for j, step in enumerate(steps):
        scope[f"s{k}_{j}"] = step[1] if step[0] == "strided" else step
        text = f"{'strided' if step[0] == 'strided' else 'viewed'}({text}, s{k}_{j})"
    return f"locked({text})" if is_locked else text


def _strided(base: Any, form: tuple[Any, ...]) -> Any:
    """A view that is known by its place in the memory of an array in C order."""
    shape, dtype, offset, strides = form
    view = np.ndarray(shape, dtype, base, offset, strides)
    view.flags.writeable = base.flags.writeable
    return view


def _locked(array: Any) -> Any:
    """The array, which nobody may write, as NumPy has it of some functions."""
    array.flags.writeable = False
    return array


def _write_text(j: int, write: tuple[Any, ...], scope: dict[str, Any]) -> str:
    how, at, *rest = write
    if how == "set":
        ref, entry = at, "MISSING" if rest[0] is MISSING else f"t{rest[0]}"
        if type(ref.holder) is Tensor and entry != "MISSING":
            scope[f"h{j}"] = ref.holder
            return f"h{j}.{ref.key} = {entry}"
        scope[f"w{j}"] = ref.set
        return f"w{j}({entry})"
    if how == "gradient":
        scope[f"h{j}"], scope[f"w{j}"] = at.holder, rest[0]
        return f"h{j}._grad = w{j}"
    if how == "argument gradient":
        return f"x[{at}]._grad = t{rest[0]}"
    scope[f"h{j}"] = at
    if how == "set of":
        scope[f"w{j}"] = rest[1]
        return f"h{j}.clear(); h{j}.update(w{j})"
    entries = f"[{', '.join(f't{m}' for m in rest[-1])}]"
    return f"refill(h{j}, {entries})" if how == "refill" else f"extend(h{j}, {rest[1]}, {entries})"


def _extend(holder: Any, dropped: int, added: list[Any]) -> None:
    for _ in range(dropped):
        del holder[0]
    holder.extend(added)


def _refill(holder: Any, added: list[Any]) -> None:
    holder.clear()
    holder.extend(added)


def _released(value: Any, primitive: Any, name: Any, label: Any) -> Tensor:
    """A Tensor that was computed from others by a tape whose values are gone, as after backward()."""
    node = Node()
    node.primitive, node.parents, node.params, node.saved = primitive, (), (), None
    node.shape, node.dtype, node.scope, node.serial = value.shape, value.dtype, "", next_serial()
    if name is not None:
        node.name = name
        if label is not None:
            node.label = label
    made: Tensor = attach(value, node)
    return made


def _leaf_tensor(value: Any) -> Tensor:
    made: Tensor = attach(value, None)
    made.requires_grad = True
    return made


def _instance(kind: type, attributes: list[tuple[str, str]], values: tuple[Any, ...]) -> Any:
    made = kind.__new__(kind)
    for (how, name), value in zip(attributes, values, strict=True):
        if how == "own":
            vars(made)[name] = value
        else:
            object.__setattr__(made, name, value)
    return made
