"""Signatures: what of the arguments decides which program runs, and fast guards, which test for one signature."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np

from minigrad.compiler.ir.view_memory import owner
from minigrad.engine.node import mode
from minigrad.reach import NUMERIC, StateRef, bits, is_leaf
from minigrad.reach.contents import cells_of
from minigrad.tensor.tensor import Tensor
from minigrad.util.bytecode import code_of
from minigrad.util.text import short

Signature = tuple[Any, ...]  # (whether a tape is recorded, the structure), and a key for each leaf


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
        array = x.data if type(x) is Tensor else x
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


ANOTHER = "one object"  # and then another one


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
    tests = argument_tests(signature)
    scope = argument_scope(signature, owned)
    exec(code_of(f"def takes(x):\n    return {'False' if tests is None else ' and '.join(tests)}\n"), scope)
    return scope["takes"]


def argument_tests(signature: Signature) -> list[str] | None:
    """Tests that positional arguments `x` have a signature, faster than making theirs; t0, t1, ... are the arrays.

    They may fail where the signatures agree. None if an argument is not an array in C order or a Tensor.
    """
    (records, form), *leaves = signature
    if form != len(leaves) or not all(
        leaf[0] == "array" and leaf[5] is None and leaf[6] is None and leaf[4] is not None for leaf in leaves
    ):
        return None
    tests = [f"mode() is {'not ' if records else ''}None", f"len(x) == {len(leaves)}"]
    for k, (_, kind, _, _, has_node, _, _) in enumerate(leaves):
        if kind is Tensor:
            tests.append(f"type(a{k} := x[{k}]) is Tensor and a{k}.node is {'not ' if has_node else ''}None")
            tests.append(f"type(t{k} := a{k}.data) is ndarray")
        else:
            tests.append(f"type(t{k} := x[{k}]) is ndarray")
        tests.append(f"t{k}.shape == s{k} and t{k}.dtype == d{k} and t{k}.flags.carray")
        tests.append(f"(id(t{k}) not in owned if t{k}.base is None else is_separate(t{k}, owned))")
        tests += [f"t{k} is not t{j}" for j in range(k)]
    return tests


def _is_separate(view: Any, owned: dict[int, Any]) -> bool:
    """Whether a view shares memory with neither an array of the state nor memory from outside NumPy."""
    root = owner(view)
    return id(root) not in owned and bool(root.flags.owndata)


def argument_scope(signature: Signature, owned: dict[int, Any]) -> dict[str, Any]:
    """The names in these tests."""
    scope: dict[str, Any] = {"mode": mode.get, "owned": owned, "is_separate": _is_separate}
    scope |= {"ndarray": np.ndarray, "Tensor": Tensor}
    for k, leaf in enumerate(signature[1:]):
        if leaf[0] == "array":
            scope |= {f"s{k}": leaf[2], f"d{k}": leaf[3]}
    return scope
