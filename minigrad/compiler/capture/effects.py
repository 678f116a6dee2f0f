"""Effects: what a call returns and leaves behind, as a recipe that every later call follows.

A `Recipe` is a list of entries, each made of the entries before it: an object that existed before, an argument, an
output of the program, a view, a Tensor, a container. What a step makes is a new object at each call, what existed is
the same object, and what is one object in two places is one in both. `writes` says what is put where, after everything
was computed from what stood there before (a swap swaps).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from types import FunctionType, MethodType
from typing import Any

import numpy as np

from minigrad.compiler.capture.leaving import address_of, contents_of, history, is_live, new_arrays, root_of, view_steps
from minigrad.compiler.capture.state import StateCapture
from minigrad.compiler.follow.places import at_name
from minigrad.compiler.ir.program import Buffer, Value
from minigrad.compiler.ir.view_memory import Memory
from minigrad.compiler.refusal import CompileError
from minigrad.compiler.trace.numbers import TracedNumber
from minigrad.compiler.trace.records import can_be_made
from minigrad.compiler.trace.trace import Trace
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.compiler.trace.unread_grads import DeferredGrad, GradProbe
from minigrad.reach import MISSING, Contents, StateRef, is_leaf, own_attributes, package_of, slots_of
from minigrad.tensor.tensor import Tensor
from minigrad.util.pytree import flatten

Entry = tuple[Any, ...]


class Recipe:
    """What one recorded call returned and left.

    Attributes:
        entries: in an order in which they can be made.
        writes: (how, place or container, entry numbers or what is needed besides).
        result: the entry of the result.
        outputs: the values of the program that entries refer to.
        kept: buffers of gradients, with their values.
        live: which leaves of the result, and Tensors in which places, carry gradients. `captured`: the Tensors from
            outside on which these depend.
    """

    def __init__(self, trace: Trace, capture: StateCapture, leaves: list[Any], result: Any) -> None:
        self.trace, self.capture = trace, capture
        self.entries: list[Entry] = []
        self.writes: list[tuple[Any, ...]] = []
        self.outputs: list[Value] = []
        self.kept: dict[Buffer, Value] = {}
        self.live: list[int | StateRef] = []
        self.captured: list[Tensor] = []
        self._count = len(leaves)
        self._leaf = {id(leaf): k for k, leaf in reversed(list(enumerate(leaves)))}
        self._fetched = {id(x.value): j for j, x in enumerate(capture.arrays)}
        self._made: dict[int, int] = {}
        self._hold: list[Any] = []  # keeps ids from being used again
        self._bases: dict[int, int] = {}
        self._find_live(result, leaves)
        self._count_leaving(result)
        self.result = self._entry(result, "the result")
        resized = {id(holder) for holder, _, _ in capture.resized_after}
        for ref, before, now in capture.changes_after:
            if not (ref.kind == "index" and id(ref.holder) in resized):  # which moves items, or is filled again
                self._write(ref, before, now)
        for holder, before, path in capture.resized_after:
            self._resize(holder, before, path)
        for holder, keys, path in capture.reordered_after:
            self.writes.append(("order", holder, path, keys))
        for _, given, _, now, k in capture.filled_after:
            self._fill(given, now, len(leaves) + k)
        del (
            self._hold,
            self._made,
            self._bases,
            self._leaving,
            self._elsewhere,
            self._fetched,
            self._leaf,
            self._live_ids,
        )
        del self.trace, self.capture

    # Results with a history

    @property
    def scalars(self) -> frozenset[int]:
        """The outputs that are returned as scalars and Python numbers."""
        outputs = (rest for how, *rest in self.entries if how == "output")
        return frozenset(number for number, how in outputs if how not in ("array", "locked"))

    def _find_live(self, result: Any, leaves: list[Any]) -> None:
        """Tensors whose history is there: no backward pass inside of the step has used it up."""
        given = {id(x.node) for x in leaves if type(x) is Tensor and x.node is not None}
        captured: dict[int, Tensor] = {}
        self._live_ids: set[int] = set()
        found: list[tuple[int | StateRef, Any]] = [*enumerate(flatten(result)[0]), *self._left()]
        for where, part in found:
            if type(part) is not Tensor or type(part.data) is not TracerArray or self._existed(part):
                continue
            if id(part) in self._live_ids or part.node is None or part.node.primitive is None or not is_live(part.node):
                continue
            inside, outside, foreign = history(part.node, given, self.capture.serial, self._existed)
            if foreign is not None:
                raise CompileError(
                    f"mg.compile: what the step returns or leaves depends on a Tensor of shape {foreign.shape} that it "
                    "reads and that has a history.\nHint: pass it as an argument, or read t.detach()."
                )
            if inside and not outside and not given:
                error = CompileError(
                    f"mg.compile: a Tensor of shape {inside[0].shape} that requires grad is made in the step, and what "
                    "it returns or leaves depends on it.\nHint: make parameters outside of the step."
                )
                error.again = True  # layers are made in the first call only
                raise error
            self.live.append(where)
            self._live_ids.add(id(part))
            captured |= {id(t): t for t in outside}
        self.captured = list(captured.values())

    def _left(self) -> Iterator[tuple[StateRef, Any]]:
        """What the step leaves in places and at the ends of lists, and where."""
        for ref, _, now in self.capture.changes_after:
            if not ref.is_grad and not ref.is_node:
                yield ref, now
        for holder, _, path in self.capture.resized_after:
            if isinstance(holder, (list, deque)):
                for k, now in enumerate(holder):
                    yield StateRef(holder, k - len(holder), "index", f"{path}[{k}]"), now

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
        if type(x) is not TracerArray and is_leaf(x) and id(x) not in self.capture.rebuilt:
            return self._add("object", x)
        number = self._new_entry(x, path)
        self._made[id(x)] = number
        self._hold.append(x)
        return number

    def _new_entry(self, x: Any, path: str) -> int:
        kind = type(x)
        if kind is TracerArray:
            return self._array(x)
        if kind is TracedNumber:
            return self._number(x)
        if isinstance(x, GradProbe):
            return self._entry(x.before, path)
        if hasattr(kind, "minigrad_tracer"):  # a generator
            return self._entry_of_object(x.real)
        if (known := self._known(x, path)) is not None:
            return known
        if kind is Tensor:
            return self._tensor(x, path)
        if kind is np.ndarray:
            return self._add("array", x.copy(), x.flags.writeable)
        if isinstance(x, (tuple, list, deque, set, frozenset, dict)):
            return self._new_container(x, path)
        return self._instance(x, path)

    def _known(self, x: Any, path: str) -> int | None:
        """The entry of what was there before the step, None if x is new."""
        if id(x) in self.capture.rebuilt:
            _, _, before, k = self.capture.rebuilt[id(x)]
            if before is not None:
                return self._add("leaf", self._count + k)
            raise CompileError(
                f"mg.compile: the __dict__ of an argument is left in {path}.\nHint: leave the object, or a copy."
            )
        if id(x) in self.capture.originals:
            return self._entry_of_object(self.capture.originals[id(x)])
        if id(x) in self._fetched:
            return self._add("fetched", self._fetched[id(x)])
        if id(x) in self._leaf and type(x) in (Tensor, np.ndarray):
            return self._add("leaf", self._leaf[id(x)])
        is_known = self._existed(x) or isinstance(x, (type, np.ufunc, np.dtype))
        return self._entry_of_object(x) if is_known else None

    def _number(self, x: TracedNumber) -> int:
        if x.mg_expression is not None:
            return self._add("number", x.mg_expression, type(x.real))
        return self._output(x.mg_value, type(x.real).__name__)

    def _new_container(self, x: Any, path: str) -> int:
        kind = type(x)
        if own_attributes(x) or _has_constructor(kind):
            raise _cannot_make(
                f"{kind.__name__}, a container with attributes or a constructor of its own, is left in {path}",
                "use a plain container",
            )
        if isinstance(x, dict):
            keys = [self._entry(key, path) for key in x]
            values = [self._entry(part, f"{path}[{key!r}]") for key, part in x.items()]
            return self._add("dict", kind, list(zip(keys, values, strict=True)), getattr(x, "default_factory", None))
        members = [self._entry(part, f"{path}[{k}]") for k, part in enumerate(x)]
        return self._add("items", kind, members, getattr(x, "maxlen", None))

    def _entry_of_object(self, x: Any) -> int:
        k = self.capture.argument_generators.get(id(x), self._leaf.get(id(x)))
        return self._add("object", x) if k is None else self._add("leaf", k)

    def _instance(self, x: Any, path: str) -> int:
        """A new object of a user's class: made without calling it, with its attributes."""
        kind = type(x)
        if isinstance(x, FunctionType) and not any(type(p) is TracerArray for p in contents_of(x)):
            return self._add("object", x)
        if kind is MethodType and isinstance(x.__func__, FunctionType):
            return self._add("method", x.__func__, self._entry(x.__self__, f"{path}.__self__"))
        own = own_attributes(x)
        slots = [name for base in kind.__mro__ for name in slots_of(base)]
        is_strange = package_of(kind) in ("builtins", "numpy") or not (own is not None or slots)
        if is_strange or not can_be_made(kind):
            hint = "return arrays, Tensors, numbers, or objects with attributes"
            raise _cannot_make(f"{kind.__name__} is left in {path}", hint)
        attributes = [("own", n, self._entry(v, f"{path}.{n}")) for n, v in (own or {}).items()]
        for name in slots:
            value = StateRef(x, name, "slot", "").get()
            if value is not MISSING:
                attributes.append(("slot", name, self._entry(value, f"{path}.{name}")))
        return self._add("instance", kind, attributes)

    def _tensor(self, x: Tensor, path: str) -> int:
        made = self._tensor_alone(x, path)
        if x.grad is not None:
            self.writes.append(("own gradient", made, self._entry(x.grad, f"{path}.grad")))
        return made

    def _tensor_alone(self, x: Tensor, path: str) -> int:
        data = self._entry(x.data, path)
        node = x.node
        if node is None or id(x) in self._live_ids:
            return self._add("tensor", data)
        if node.primitive is None:
            return self._add("leaf tensor", data)
        if is_live(node):
            raise CompileError(
                f"mg.compile: a Tensor that still has its history is left in {path}.\nHint: return it from the step, "
                "or leave t.detach()."
            )
        return self._add("released", data, node.primitive, getattr(node, "name", None), getattr(node, "label", None))

    # Arrays

    def _count_leaving(self, result: Any) -> None:
        """How many arrays leave in each memory: two in one memory are views of one array.

        Also which Tensors and arrays leave in another way than as the gradient of one Tensor.
        """
        self._leaving: dict[int, set[int]] = {}
        self._elsewhere: set[int] = set()
        changes = self.capture.changes_after
        roots = [result, *(now for ref, _, now in changes if not ref.is_grad)]
        roots += [list(holder) for holder, _, _ in self.capture.resized_after]
        roots += [now.values for _, _, _, now, _ in self.capture.filled_after]
        as_gradients: set[int] = set()
        for group in (roots, *([now] for ref, _, now in changes if ref.is_grad)):
            found = list(new_arrays(group, self._existed))
            ids = {id(x) for x in found}
            self._elsewhere |= ids if group is roots else ids & as_gradients
            as_gradients |= ids
            for x in found:
                if type(x) is TracerArray:
                    self._leaving.setdefault(id(x.mg_memory), set()).add(id(x))

    def _array(self, x: TracerArray) -> int:
        memory, known = x.mg_memory, self.trace.known.get(id(x.mg_array)) is x
        outside = self._outside(memory)
        if outside is not None:
            if known and x.mg_array is not memory.array:
                return self._add("object", x.mg_array)
            base = self._bases.setdefault(id(memory), -1)
            if base < 0:
                base = self._bases[id(memory)] = self._add(*outside)
            if known:
                return base
            return self._view(x, memory.array, base)
        if len(self._leaving.get(id(memory), ())) > 1 and x.mg_parent is not None:
            if id(memory) not in self._bases:
                root = root_of(x)
                self._bases[id(memory)] = self._made[id(root)] = self._output(root.mg_value, root)
                self._hold.append(root)
            return self._view(x, root_of(x).mg_array, self._bases[id(memory)])
        number = self._output(x.mg_value, x)
        if x.mg_parent is None and not x.mg_is_scalar:
            self._bases.setdefault(id(memory), number)
        return number

    def _view(self, x: TracerArray, root: Any, base: int) -> int:
        """A view of an array; where slices, reshapes and transposes do not make it, from its place in that memory."""
        chain = view_steps(x)
        is_locked = root.flags.writeable and not x.mg_array.flags.writeable
        if chain is None:
            if not root.flags.c_contiguous or not np.may_share_memory(x.mg_array, root):
                raise CompileError(
                    f"mg.compile: a view of shape {x.shape} of an array with gaps leaves the step.\n"
                    "Hint: return a copy."
                )
            offset = address_of(x.mg_array) - address_of(root)
            chain = [("strided", (x.shape, x.dtype, offset, x.mg_array.strides))]
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
        how = x if isinstance(x, str) else "scalar" if x.mg_is_scalar else "array"
        if how == "array" and not x.mg_array.flags.writeable:
            how = "locked"
        return self._add("output", len(self.outputs) - 1, how)

    # Writes

    def _write(self, ref: StateRef, before: Any, now: Any) -> None:
        if ref.is_grad:
            self._write_gradient(ref, now)
        elif ref.is_node:
            raise CompileError(
                f"mg.compile: the step changes whether {ref.path} requires grad"
                f"{at_name(self.capture.reach.functions, 'requires_grad', 'requires_grad_')}.\n"
                "Hint: do it outside of the step."
            )
        elif ref.key == "data" and id(ref.holder) in self._leaf and id(ref.holder) not in self.capture.reach.seen:
            self.writes.append(("argument data", self._leaf[id(ref.holder)], self._entry(now, ref.path)))
        else:
            if type(ref.key) is TracedNumber:
                raise CompileError(
                    f"mg.compile: a number that changes from call to call is a key of a dictionary, {ref.path}.\n"
                    "Hint: keep such tables outside of the step."
                )
            if id(ref.key) in self.capture.rebuilt:
                raise CompileError(
                    f"mg.compile: an argument, a {type(ref.key).__name__}, is left as the key {ref.path}.\n"
                    "Hint: use its name or number."
                )
            self.writes.append(("set", ref, MISSING if now is MISSING else self._entry(now, ref.path)))

    def _write_gradient(self, ref: StateRef, now: Any) -> None:
        if id(ref.holder) in self._leaf and id(ref.holder) not in self.capture.reach.seen:
            now = None if now is MISSING else now
            self.writes.append(("argument gradient", self._leaf[id(ref.holder)], self._entry(now, ref.path)))
            return
        if now is None or now is MISSING:
            self.writes.append(("set", ref, self._add("object", None)))
            return
        if id(now) in self._elsewhere or id(now.data) in self._elsewhere:
            self.writes.append(("set", ref, self._entry(now, ref.path)))
            return
        if (
            id(now) in self._made
            or isinstance(now, GradProbe)
            or self._existed(now)
            or type(now.data) is not TracerArray
            or now.node is not None
        ):
            self.writes.append(("set", ref, self._entry(now, ref.path)))
            return
        if self._outside(now.data.mg_memory) is not None or len(self._leaving.get(id(now.data.mg_memory), ())) > 1:
            self.writes.append(("set", ref, self._entry(now, ref.path)))
            return
        deferred = DeferredGrad(np.copy(now.data.mg_array))
        buffer = Buffer(ref.path, "kept", deferred.data, holder=deferred)
        self.trace.buffers.append(buffer)
        self.kept[buffer] = now.data.mg_value
        self.writes.append(("gradient", ref, deferred))

    def _fill(self, given: Any, now: Contents, k: int) -> None:
        """A container among the arguments that the step has changed holds something else afterwards."""
        path = f"an argument, a {type(given).__name__}"
        if any(not is_leaf(key) for key in now.keys or ()):
            raise CompileError(
                f"mg.compile: the step puts a key that is no number or text into {path}.\nHint: do it "
                "outside of the step."
            )
        values = [self._entry(x, path) for x in now.values]
        self.writes.append(("argument", k, now.keys, now.names, values))

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


def _cannot_make(what: str, hint: str) -> CompileError:
    error = CompileError(f"mg.compile: a new {what}, and a compiled step cannot make another one.\nHint: {hint}.")
    error.again = error.once = True  # many objects are made in the first call only
    return error


def _has_constructor(kind: type) -> bool:
    """Whether a subclass of containers has a constructor that the user has written."""
    return any(isinstance(getattr(kind, name), FunctionType) for name in ("__init__", "__new__")) and not (
        kind.__module__ == "collections" or hasattr(kind, "_fields")
    )
