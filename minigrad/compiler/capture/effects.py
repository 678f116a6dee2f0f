"""Effects: builds the recipe of what a call returns and leaves, which every later call follows.

What a step makes is a new object in each call, what existed is the same object, and what is one object in two places is
one in both. All entries are computed from what was there before the call, and then written (a swap swaps).
"""

from __future__ import annotations

from collections import deque
from types import FunctionType, MethodType
from typing import Any

import numpy as np

from minigrad.compiler.capture.arguments import can_be_made
from minigrad.compiler.capture.leaving import Leaving, address_of, base_of_view, is_live, view_steps
from minigrad.compiler.capture.recipes import Entry, Recipe
from minigrad.compiler.capture.recording import DeferredGrad, GradProbe
from minigrad.compiler.capture.settle import contents_of
from minigrad.compiler.capture.state import StateCapture
from minigrad.compiler.follow.user_functions import at_name
from minigrad.compiler.ir.program import Buffer, Value
from minigrad.compiler.ir.view_memory import Memory
from minigrad.compiler.refusal import CompileError
from minigrad.compiler.trace.trace import Trace
from minigrad.compiler.trace.traced_number import TracedNumber
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.reach import MISSING, Contents, StateRef, attributes_of, is_leaf, own_attributes, package_of, slots_of
from minigrad.tensor.tensor import Tensor


def recipe_of(trace: Trace, capture: StateCapture, leaves: list[Any], result: Any) -> Recipe:
    """The recipe of a recorded call, from the state with its changes, the leaves of the arguments and the result.

    Raises:
        CompileError: no program can return or leave this.
    """
    return _Builder(trace, capture, leaves, result).recipe


class _Builder:
    """Builds a recipe. Objects get one entry each, however often they are met."""

    def __init__(self, trace: Trace, capture: StateCapture, leaves: list[Any], result: Any) -> None:
        self.trace, self.capture = trace, capture
        self.recipe = Recipe()
        self._count = len(leaves)
        self._leaf = {id(leaf): k for k, leaf in reversed(list(enumerate(leaves)))}
        self._fetched = {id(x.value): j for j, x in enumerate(capture.arrays)}
        self._numbers: dict[int, int] = {}  # of entries, by the id of the object
        self._hold: list[Any] = []  # keeps objects alive, so that no other gets the id
        self._bases: dict[int, int] = {}  # entries of memories
        self._leaving = leaving = Leaving(capture, leaves, result)
        self.recipe.live, self.recipe.captured = leaving.live, leaving.captured
        self.recipe.result = self._entry(result, "the result")
        resized = {id(holder) for holder, _, _ in capture.resized}
        for ref, _, now in capture.changes:
            if not (ref.kind == "index" and id(ref.holder) in resized):  # then items have moved, or are filled again
                self._write(ref, now)
        for holder, before, path in capture.resized:
            self._resize(holder, before, path)
        self.recipe.writes += [("order", holder, path, keys) for holder, keys, path in capture.reordered]
        for _, container, _, now, k in capture.filled:
            self._fill(container, now, len(leaves) + k)

    # Entries

    def _add(self, *entry: Any) -> int:
        self.recipe.entries.append(entry)
        return len(self.recipe.entries) - 1

    def _entry(self, x: Any, path: str) -> int:
        """The number of the entry of x."""
        if id(x) in self._numbers:
            return self._numbers[id(x)]
        if type(x) is not TracerArray and is_leaf(x) and id(x) not in self.capture.copies:
            return self._add("object", x)
        number = self._new_entry(x, path)
        self._numbers[id(x)] = number
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
            return self._entry_of_object(x.mg_real)
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
        """The entry of an object that existed before the step, None if x is new."""
        if id(x) in self.capture.copies:
            _, _, before, k = self.capture.copies[id(x)]
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
        is_known = self._leaving.existed(x) or isinstance(x, (type, np.ufunc, np.dtype))
        return self._entry_of_object(x) if is_known else None

    def _number(self, x: TracedNumber) -> int:
        if x.mg_expression is not None:
            return self._add("number", x.mg_expression, type(x.mg_real))
        return self._output(x.mg_value, type(x.mg_real).__name__)

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
        """A new object of a user's class, which is made without calling the class."""
        kind = type(x)
        if isinstance(x, FunctionType) and not any(type(p) is TracerArray for p in contents_of(x)):
            return self._add("object", x)
        if kind is MethodType and isinstance(x.__func__, FunctionType):
            return self._add("method", x.__func__, self._entry(x.__self__, f"{path}.__self__"))
        has_attributes = own_attributes(x) is not None or any(map(slots_of, kind.__mro__))
        is_strange = package_of(kind) in ("builtins", "numpy") or not has_attributes
        if is_strange or not can_be_made(kind):
            hint = "return arrays, Tensors, numbers, or objects with attributes"
            raise _cannot_make(f"{kind.__name__} is left in {path}", hint)
        attributes = [(how, name, self._entry(value, f"{path}.{name}")) for how, name, value in attributes_of(x)]
        return self._add("instance", kind, attributes)

    def _tensor(self, x: Tensor, path: str) -> int:
        entry = self._tensor_alone(x, path)
        if x.grad is not None:
            self.recipe.writes.append(("own gradient", entry, self._entry(x.grad, f"{path}.grad")))
        return entry

    def _tensor_alone(self, x: Tensor, path: str) -> int:
        data = self._entry(x.data, path)
        node = x.node
        if node is None or id(x) in self._leaving.live_ids:
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
        if self._leaving.count_in(memory) > 1 and x.mg_parent is not None:
            if id(memory) not in self._bases:
                root = base_of_view(x)
                self._bases[id(memory)] = self._numbers[id(root)] = self._output(root.mg_value, root)
                self._hold.append(root)
            return self._view(x, base_of_view(x).mg_array, self._bases[id(memory)])
        number = self._output(x.mg_value, x)
        if x.mg_parent is None and not x.mg_is_scalar:
            self._bases.setdefault(id(memory), number)
        return number

    def _view(self, x: TracerArray, root: Any, base: int) -> int:
        """A view of an array: by slices, reshapes and transposes, else by its place in the memory."""
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
        """The entry of the array from outside that has a memory, None if there is none."""
        if not memory.is_outside:
            return None
        place = memory.buffer.place if memory.buffer is not None and memory.buffer.kind == "argument" else None
        if place is None:
            return "object", memory.array
        if place in self.capture.arguments:
            return "leaf array", self.capture.arguments[place]
        return "fetched array", next(j for j, x in enumerate(self.capture.arrays) if x.number == place)

    def _output(self, value: Value, x: Any) -> int:
        self.recipe.outputs.append(value)
        how = x if isinstance(x, str) else "scalar" if x.mg_is_scalar else "array"
        if how == "array" and not x.mg_array.flags.writeable:
            how = "locked"
        return self._add("output", len(self.recipe.outputs) - 1, how)

    # Writes

    def _write(self, ref: StateRef, now: Any) -> None:
        leaf = self._leaf.get(id(ref.holder)) if id(ref.holder) not in self.capture.reach.seen else None
        if ref.is_grad:
            self._write_gradient(ref, leaf, None if now is MISSING else now)
        elif ref.is_node:
            raise CompileError(
                f"mg.compile: the step changes whether {ref.path} requires grad"
                f"{at_name(self.capture.reach.functions, 'requires_grad', 'requires_grad_')}.\n"
                "Hint: do it outside of the step."
            )
        elif ref.key == "data" and leaf is not None:
            self.recipe.writes.append(("argument data", leaf, self._entry(now, ref.path)))
        else:
            if type(ref.key) is TracedNumber:
                raise CompileError(
                    f"mg.compile: a number that changes from call to call is a key of a dictionary, {ref.path}.\n"
                    "Hint: keep such tables outside of the step."
                )
            if id(ref.key) in self.capture.copies:
                raise CompileError(
                    f"mg.compile: an argument, a {type(ref.key).__name__}, is left as the key {ref.path}.\n"
                    "Hint: use its name or number."
                )
            self.recipe.writes.append(("set", ref, MISSING if now is MISSING else self._entry(now, ref.path)))

    def _write_gradient(self, ref: StateRef, leaf: int | None, now: Any) -> None:
        if leaf is not None:
            self.recipe.writes.append(("argument gradient", leaf, self._entry(now, ref.path)))
            return
        if now is None or not self._can_be_deferred(now):
            self.recipe.writes.append(("set", ref, self._entry(now, ref.path)))
            return
        deferred = DeferredGrad(np.copy(now.data.mg_array))
        buffer = Buffer(ref.path, "kept", deferred.data, holder=deferred)
        self.trace.buffers.append(buffer)
        self.recipe.kept[buffer] = now.data.mg_value
        self.recipe.writes.append(("gradient", ref, deferred))

    def _can_be_deferred(self, grad: Any) -> bool:
        """Whether a gradient is a new array in memory of its own, and leaves the step in no other way."""
        if id(grad) in self._numbers or id(grad) in self._leaving.elsewhere or isinstance(grad, GradProbe):
            return False
        if id(grad.data) in self._leaving.elsewhere or type(grad.data) is not TracerArray or grad.node is not None:
            return False
        memory = grad.data.mg_memory
        return not (self._leaving.existed(grad) or self._outside(memory) or self._leaving.count_in(memory) > 1)

    def _fill(self, container: Any, now: Contents, k: int) -> None:
        """A container among the arguments, with new contents."""
        path = f"an argument, a {type(container).__name__}"
        if any(not is_leaf(key) for key in now.keys or ()):
            raise CompileError(
                f"mg.compile: the step puts a key that is neither a number nor a string into {path}.\nHint: do it "
                "outside of the step."
            )
        values = [self._entry(x, path) for x in now.values]
        self.recipe.writes.append(("argument", k, now.keys, now.names, values))

    def _resize(self, holder: Any, before: list[Any], path: str) -> None:
        """A list or deque that has lost items at its front and got others at its end, or a set."""
        now = list(holder)
        originals = [self.capture.original(x) for x in now]
        if isinstance(holder, set):
            if not all(map(is_leaf, [*now, *before])):
                raise CompileError(f"mg.compile: the step changes the set {path}.\nHint: do it outside of the step.")
            self.recipe.writes.append(("set of", holder, path, frozenset(now)))
            return
        for k in range(len(before) + 1):
            rest = len(before) - k
            if rest <= len(now) and all(a is b for a, b in zip(before[k:], originals, strict=False)):
                break
        added = [self._entry(x, f"{path}[{rest + j}]") for j, x in enumerate(now[rest:])]
        automatic = isinstance(holder, deque) and holder.maxlen is not None
        if k and not rest and not automatic and before:
            self.recipe.writes.append(("refill", holder, path, added))
        else:
            self.recipe.writes.append(("extend", holder, path, 0 if automatic else k, added))


def _cannot_make(what: str, hint: str) -> CompileError:
    error = CompileError(f"mg.compile: a new {what}, and a compiled step cannot make another one.\nHint: {hint}.")
    error.again = error.once = True  # many objects are only made in the first call
    return error


def _has_constructor(kind: type) -> bool:
    """Whether a subclass of containers has a constructor that the user has written."""
    return any(isinstance(getattr(kind, name), FunctionType) for name in ("__init__", "__new__")) and not (
        kind.__module__ == "collections" or hasattr(kind, "_fields")
    )
