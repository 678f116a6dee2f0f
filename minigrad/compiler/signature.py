"""Which program is for a call: signatures of arguments, fast guards that test for one, and inputs from the state."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator, Sequence
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np

from minigrad.compiler.capture.recording import Recording
from minigrad.compiler.ir.view_memory import owner, sharing
from minigrad.engine.node import mode
from minigrad.reach import NUMERIC, Difference, StateRef, alike, bits, is_leaf
from minigrad.reach.contents import cells_of
from minigrad.tensor.tensor import Tensor
from minigrad.util.bytecode import code_of
from minigrad.util.text import short

Signature = tuple[Any, ...]  # (whether a tape is recorded, the structure), and a key for each leaf
Inputs = tuple[list[Any], list[Any]]  # read at each call: arrays (or the Tensors around them), and numbers
NOTHING: Inputs = ([], [])
ANOTHER = "one object"  # in words, and then another one


class UnsupportedArgument(Exception):
    """An argument with which a step cannot be compiled."""


def signature(leaves: list[Any], form: Any, owned: dict[int, Any], varying: set[Any], keep: list[Any]) -> Signature:
    """What decides which program runs.

    Args:
        leaves: of the arguments.
        form: the structure of the arguments.
        owned: arrays of the state, by id: an argument that shares their memory is identified by its address. Also
            objects and functions of the state, which are identified by id.
        varying: numbers that are inputs of programs.
        keep: objects identified by their id are appended here, so that no other object gets the id.

    Raises:
        UnsupportedArgument: a subclass of arrays, or an array of objects.
    """
    first: dict[int, int] = {}
    keys = []
    for k, x in enumerate(leaves):
        array = data_of(x)
        if isinstance(array, np.ndarray):
            if type(array) is not np.ndarray or array.dtype.kind not in NUMERIC:
                keys.append(_other_array(array))
                continue
            same = first.setdefault(id(x), k)
            shared: Any = ("same", same) if same != k else None
            root = owner(array) if array.base is not None else array
            if id(root) in owned:
                shared = (id(root), array.__array_interface__["data"][0], array.strides)
            elif not root.flags.owndata and (other := _overlapped(root, owned)) is not None:
                shared = ("bytes of", other, array.__array_interface__["data"][0], array.strides)
            elif shared is None and array is not x and id(array) in first:
                shared = ("data of", first[id(array)])
            first.setdefault(id(array), k)
            has_node = x.node is not None if type(x) is Tensor else 0
            layout = None if array.flags.c_contiguous else array.strides  # decides which reshapes are views
            keys.append(("array", type(x), array.shape, array.dtype, has_node, shared, layout))
        elif type(x) in (int, float) and (None, (), k) in varying:
            keys.append(("number", type(x)))
        elif isinstance(x, np.floating) or type(x) is Tensor:
            keys.append(("scalar", type(x), array.dtype, type(x) is Tensor and x.node is not None))
        elif isinstance(x, np.random.Generator) and id(x) not in owned:
            same = first.setdefault(id(x), k)
            keys.append(("generator", type(x), type(x.bit_generator), same))
        elif (id(x) in owned or type(x) in (list, dict)) and not is_leaf(x):
            keep.append(x)
            keys.append(("object", id(x)))
        else:
            keys.append(("value", value_key(x, keep)))
    return ((mode.get() is not None, form), *keys)


def data_of(x: Any) -> Any:
    """The array of a Tensor; anything else as it is."""
    return x.data if type(x) is Tensor else x


def _overlapped(array: Any, owned: dict[int, Any]) -> int | None:
    """The id of an array of the state with which memory from outside NumPy is shared: DLPack, ctypes."""
    return next((key for key, x in owned.items() if type(x) is np.ndarray and np.may_share_memory(array, x)), None)


def _other_array(array: Any) -> tuple[Any, ...]:
    if type(array) is not np.ndarray:
        raise UnsupportedArgument(
            f"an argument is a {type(array).__name__}, whose arithmetic is not that of arrays, of shape {array.shape} "
            f"and dtype {array.dtype}.\nHint: convert it first, np.asarray(x), or x.filled(0) if it is masked."
        )
    if array.dtype.kind == "O":
        raise UnsupportedArgument(
            f"an argument is an array of objects of shape {array.shape}.\nHint: pass numbers, or a list."
        )
    return "content", array.shape, array.dtype.str, array.tobytes()


def value_key(x: Any, keep: list[Any]) -> Any:
    """A key that is equal for interchangeable objects: by value where that is possible, else by identity."""
    if is_leaf(x):
        return bits(x)
    if isinstance(x, FunctionType):
        cells = tuple(value_key(StateRef(c, "", "cell", "").get(), keep) for _, c in cells_of(x))
        keep.append(x.__globals__)
        rest = value_key((x.__defaults__ or (), tuple((x.__kwdefaults__ or {}).items())), keep)
        return "function", x.__code__, id(x.__globals__), cells, rest
    if isinstance(x, MethodType):
        return "method", value_key(x.__self__, keep), value_key(x.__func__, keep)
    if isinstance(x, BuiltinFunctionType) and x.__self__ is not None:
        return "builtin", x.__name__, value_key(x.__self__, keep)
    if isinstance(x, functools.partial):
        return "partial", value_key(x.func, keep), value_key(x.args, keep), value_key(tuple(x.keywords.items()), keep)
    if type(x) in (tuple, list, set, frozenset):
        inside = tuple(value_key(part, keep) for part in x)
        return type(x), frozenset(inside) if isinstance(x, (set, frozenset)) else inside
    own = getattr(x, "__dict__", None)
    if type(own) is dict and own and all(map(is_leaf, own.values())) and not callable(x):
        keep.append(type(x))
        return type(x), tuple((name, bits(value)) for name, value in own.items())
    keep.append(x)
    return "object", id(x)


def shown(part: Any) -> str:
    """A key of a signature in words."""
    if part[0] == "array":
        return f"{part[2]} {part[3]}" + (f" in memory that is used elsewhere {part[5]}" if part[5] else "")
    if part[0] == "value":
        inner = part[1]
        if isinstance(inner, tuple) and len(inner) == 2 and inner[0] == "float":
            return repr(struct.unpack("d", inner[1])[0])
        if isinstance(inner, tuple) and inner and inner[0] in ("object", "function", "method", "builtin", "partial"):
            return ANOTHER
        return short(inner[1] if isinstance(inner, tuple) and len(inner) == 2 else str(inner))
    if part[0] == "object":
        return ANOTHER
    return part[1].__name__ if part[0] in ("number", "generator") else str(part[0])


# Fast guards


def fast_guard(signature: Signature, owned: dict[int, Any]) -> Callable[[tuple[Any, ...]], bool]:
    """A function that tests whether positional arguments have a signature. It may return False where they have."""
    tests, scope = argument_tests(signature, owned)
    exec(code_of(f"def takes(x):\n    return {' and '.join(tests) or False}\n"), scope)
    return scope["takes"]


def argument_tests(signature: Signature, owned: dict[int, Any]) -> tuple[list[str], dict[str, Any]]:
    """Tests that positional arguments `x` have a signature, faster than making theirs, and the names in them.

    They may fail where the signatures agree. t0, t1, ... are the arrays. There are no tests if an argument is not an
    array in C order or a Tensor.
    """
    (records, form), *leaves = signature
    scope: dict[str, Any] = {"mode": mode.get, "owned": owned, "is_separate": _is_separate}
    scope |= {"ndarray": np.ndarray, "Tensor": Tensor}
    if form != len(leaves) or not all(
        leaf[0] == "array" and leaf[5] is None and leaf[6] is None and leaf[4] is not None for leaf in leaves
    ):
        return [], scope
    tests = [f"mode() is {'not ' if records else ''}None", f"len(x) == {len(leaves)}"]
    for k, (_, kind, shape, dtype, has_node, _, _) in enumerate(leaves):
        scope |= {f"s{k}": shape, f"d{k}": dtype}
        array = f"x[{k}]"
        if kind is Tensor:
            tests.append(f"type(a{k} := x[{k}]) is Tensor and a{k}.node is {'not ' if has_node else ''}None")
            array = f"a{k}.data"
        tests.append(f"type(t{k} := {array}) is ndarray")
        tests.append(f"t{k}.shape == s{k} and t{k}.dtype == d{k} and t{k}.flags.carray")
        tests.append(f"(id(t{k}) not in owned if t{k}.base is None else is_separate(t{k}, owned))")
        tests += [f"t{k} is not t{j}" for j in range(k)]
    return tests, scope


def _is_separate(view: Any, owned: dict[int, Any]) -> bool:
    """Whether a view shares memory with neither an array of the state nor memory from outside NumPy."""
    root = owner(view)
    return id(root) not in owned and bool(root.flags.owndata)


# Inputs from the state


class StateInputs:
    """The arrays and numbers that a program reads from the state at each call, and decisions on the numbers.

    `is_simple` says that there are none. `tuples` are places of tuples of which some items are inputs: the place, the
    tuple, and these items.

    Args:
        recording: of the program.
        fits: whether guards hold.
    """

    def __init__(self, recording: Recording, fits: Callable[[], bool]) -> None:
        self.recording, self.fits = recording, fits
        self.is_simple = not (recording.numbers or recording.arrays or recording.grads_read)
        tuples: dict[Any, tuple[StateRef, Any, set[int]]] = {}
        inputs: list[Any] = [*recording.numbers, *recording.arrays]
        for x in inputs:
            if x.ref is not None and x.items:
                tuples.setdefault(x.ref.identity, (x.ref, x.ref.get(), set()))[2].add(x.items[0])
        self.tuples = list(tuples.values())

    def fetch(self, leaves: Sequence[Any]) -> Inputs | None:
        """The inputs of a call, None if it needs another program. Calls wait for it: it calls no function in vain."""
        if not self.fits():
            return None
        if self.is_simple:
            return NOTHING
        recording = self.recording
        for tensor, leaf, is_none in recording.grads_read:
            if ((tensor if leaf is None else leaves[leaf]).grad is None) is not is_none:
                return None
        if self.tuples and next(self.tuple_differences(), None) is not None:
            return None
        numbers = []
        for x in recording.numbers:
            number = x.fetch(leaves)
            if type(number) is not x.kind:
                return None
            numbers.append(number)
        if recording.predicates and self._has_changed_decision(numbers):
            return None
        arrays = self._arrays(leaves) if recording.arrays else []
        return None if arrays is None else (arrays, numbers)

    def _numbers(self, leaves: Sequence[Any]) -> list[Any]:
        return [x.fetch(leaves) for x in self.recording.numbers]

    def _arrays(self, leaves: Sequence[Any]) -> list[Any] | None:
        """The arrays, None if one has another layout or shares other memory."""
        recording, arrays = self.recording, list[Any]()
        for j, x in enumerate(recording.arrays):
            now = x.fetch(leaves)
            if type(now) is not type(x.value):
                return None
            if j in recording.used_arrays and not _is_alike(now, x.value, recording.owned):
                return None
            arrays.append(now)
        for j, ref in recording.tied:
            other = data_of(ref.get())
            if type(other) is not np.ndarray or owner(other) is not owner(data_of(arrays[j])):
                return None
        return arrays if sharing([*arrays, *leaves]) == recording.sharing else None

    def tuple_differences(self) -> Iterator[Difference]:
        """Tuples, some of whose items are inputs, that differ in other items."""
        for ref, then, free in self.tuples:
            now = ref.get()
            is_same = type(now) is type(then) and len(now) == len(then)
            if not is_same or not all(k in free or alike(a, b) for k, (a, b) in enumerate(zip(now, then, strict=True))):
                yield ref.path, ref, then, now

    def _has_changed_decision(self, numbers: list[Any]) -> bool:
        """Whether a decision has another outcome for these numbers, or cannot be evaluated."""
        try:
            for p in self.recording.predicates:
                if p.holds(numbers) != p.outcome:
                    return True
        except (ArithmeticError, ValueError, TypeError):
            return True
        return False

    def changed_decisions(self, leaves: Sequence[Any]) -> tuple[int, ...]:
        """The decisions on numbers with another outcome in a call, if guards compare nothing else that has changed."""
        if not self.fits():
            return ()
        numbers = self._numbers(leaves)
        try:
            return tuple(k for k, p in enumerate(self.recording.predicates) if p.holds(numbers) != p.outcome)
        except (ArithmeticError, ValueError, TypeError):
            return ()

    def other_reason(self, leaves: Sequence[Any]) -> str:
        """Why a call needs another program although guards hold: numbers that are inputs, or arrays."""
        recording = self.recording
        if self._has_changed_decision(self._numbers(leaves)):
            names = [x.ref.path if x.ref is not None else f"argument {x.leaf}" for x in recording.numbers]
            return f"a decision on {', '.join(names)}"
        return f"the shape, dtype or memory of {', '.join(x.ref.path for x in recording.arrays) or 'its arrays'}"


def _is_alike(now: Any, then: Any, owned: dict[int, Any]) -> bool:
    """Whether an object can be an input where another was recorded: of the same layout, and not in the state."""
    if type(now) is Tensor:
        if (now.node is None) is not (then.node is None):
            return False
        now, then = now.data, then.data
    if isinstance(now, np.generic):
        return type(now) is type(then)
    if type(now) is not np.ndarray or type(then) is not np.ndarray:
        return False
    if (now.shape, now.dtype) != (then.shape, then.dtype) or id(owner(now)) in owned:
        return False
    return now.strides == then.strides or bool(now.flags.c_contiguous and then.flags.c_contiguous)
