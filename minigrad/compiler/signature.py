"""Signatures: what of the arguments decides which program runs."""

from __future__ import annotations

import functools
import struct
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np

from minigrad.compiler.ir.view_memory import owner
from minigrad.compiler.trace.records import NUMERIC
from minigrad.engine.node import mode
from minigrad.reach import StateRef, bits, is_leaf
from minigrad.tensor.tensor import Tensor
from minigrad.util.text import short

Signature = tuple[Any, ...]  # whether ops are recorded, the structure, and a key for each leaf


class UnsupportedArgument(Exception):
    """An argument with which a step cannot be compiled."""


def signature(leaves: list[Any], form: Any, owned: dict[int, Any], varying: set[Any], keep: list[Any]) -> Signature:
    """What decides which program runs.

    Args:
        leaves: of the arguments.
        form: the structure that they stand in.
        owned: arrays of the state, by id: an argument that shares their memory is known by where it lies. Objects and
            functions of the state too, which are known by identity.
        varying: numbers that are inputs of programs.
        keep: objects known by their id are appended here, so that no other gets it.

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
            layout = None if array.flags.c_contiguous else array.strides  # it decides which reshapes are views
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
    """The id of an array of the state with which memory from outside of NumPy is shared: DLPack, ctypes."""
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
    """A key that is equal for objects that stand for each other: by value where that is possible, else by identity."""
    if is_leaf(x):
        return bits(x)
    if isinstance(x, FunctionType):
        cells = tuple(value_key(StateRef(c, "", "cell", "").get(), keep) for c in x.__closure__ or ())
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


ANOTHER = "one object"  # which another one replaces


def shown(part: Any) -> str:
    """A part of a signature in words."""
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
