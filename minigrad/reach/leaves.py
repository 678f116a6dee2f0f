"""Leaves: immutable values, which are compared by type and bits."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import functools
import pathlib
import re
import struct
import uuid
from collections.abc import Callable, Iterator
from types import CodeType, EllipsisType, MethodType, NotImplementedType
from typing import Any

import numpy as np

from minigrad.reach.contents import LIBRARIES, MISSING, STANDARD, base_in_c, own_attributes, package_of

NUMERIC = "biufc"  # kinds of dtypes of arrays that hold numbers only
LEAVES = (
    *(bool, int, float, complex, str, bytes, type(None), range, slice, EllipsisType, NotImplementedType, CodeType),
    *(np.generic, np.dtype, enum.Enum, re.Pattern, decimal.Decimal, fractions.Fraction, pathlib.PurePath, uuid.UUID),
    *(datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo),
)
DEEP = 16  # levels of nested iterators
EXACT = frozenset({bool, int, str, bytes, type(None), EllipsisType, NotImplementedType})  # equal ones are the same
# How values of these classes are read, without calling methods of classes derived from them.
NUMBERS_AND_TEXTS: dict[type, Callable[[Any], Any]] = {
    float: lambda x: struct.pack("d", float.__float__(x)),
    complex: lambda x: struct.pack("dd", complex.real.__get__(x), complex.imag.__get__(x)),
    int: int.__index__,
    str: str.__str__,
    bytes: lambda x: bytes.__getitem__(x, slice(None)),
}
SIMPLE = frozenset({bool, int, float, complex, str, bytes, type(None), np.ndarray, np.float64, type(MISSING)})


def is_leaf(x: Any) -> bool:
    """Whether x is immutable, with all that it contains, and compared by value."""
    kind: Any = type(x)  # not isinstance: tracers claim the class of the real object
    if kind in SIMPLE:
        return kind is not np.ndarray
    if kind is slice:  # perhaps of traced numbers
        return is_leaf(x.start) and is_leaf(x.stop) and is_leaf(x.step)
    if kind is tuple or kind is frozenset:
        return all(map(is_leaf, x))
    return is_leaf_class(kind) and (issubclass(kind, enum.Enum) or not (is_users_class(kind) and own_attributes(x)))


def is_inert(x: Any) -> bool:
    """Whether x is a leaf whose class is not the user's, so that nothing about it can change."""
    kind: Any = type(x)
    if kind in SIMPLE:
        return kind is not np.ndarray
    if kind in (tuple, frozenset):
        return all(map(is_inert, x))
    return is_leaf_class(kind) and not is_users_class(kind)


def is_leaf_class(kind: type) -> bool:
    """Whether the state that objects of a class keep in C is immutable."""
    return _is_plain_leaf_class(kind) if type(kind) is type else issubclass(kind, LEAVES)


@functools.lru_cache(maxsize=4096)
def _is_plain_leaf_class(kind: type) -> bool:
    return issubclass(kind, LEAVES)  # slow, as some of these are abstract classes


@functools.lru_cache(maxsize=4096)
def is_users_class(kind: type) -> bool:
    """Whether a class belongs to neither the standard library nor one of LIBRARIES."""
    return package_of(kind) not in STANDARD | LIBRARIES


def bits(x: Any) -> Any:
    """A key of a leaf by type and bits: 0.0 differs from -0.0, True from 1, and nan equals nan."""
    kind: Any = type(x)
    if kind is float:
        return "float", struct.pack("d", x)
    if kind in EXACT:
        return kind, x
    if issubclass(kind, np.generic):
        return kind, x.dtype, x.tobytes()
    if issubclass(kind, (tuple, list)):
        return kind, tuple(map(bits, tuple.__iter__(x) if issubclass(kind, tuple) else list.__iter__(x)))
    if kind in (set, frozenset):
        return kind, frozenset(map(bits, x))
    if kind in (slice, range):
        return kind, bits((x.start, x.stop, x.step))
    if issubclass(kind, enum.Enum):
        return kind, x._name_
    for base, get in NUMBERS_AND_TEXTS.items():
        if issubclass(kind, base):
            return kind, get(x)
    if kind is CodeType:
        return kind, x, x.co_filename
    if kind is dict:
        return kind, tuple((bits(key), bits(value)) for key, value in x.items())
    state = pickled(x) if is_leaf_class(kind) else MISSING  # Decimal("1.0") equals Decimal("1.00"), but is different
    return kind, x if state is MISSING else bits(state)


def alike(now: Any, before: Any) -> bool:
    """Whether two values are interchangeable: the same object, or leaves of the same type and bits."""
    if now is before:
        return True
    if type(now) is not type(before):
        return False
    if isinstance(now, tuple):
        return len(now) == len(before) and all(map(alike, now, before))
    if isinstance(now, MethodType):
        return now.__self__ is before.__self__ and now.__func__ is before.__func__
    return is_leaf(now) and bool(bits(now) == bits(before))


def pickled(x: Any, depth: int = 0) -> Any:
    """The state of an object in C (an iterator, a counter) as pickle would store it, MISSING if some of it is hidden.

    The methods of the class in C are called, not those of a user's class derived from it.
    """
    kind: Any = type(x)
    base: Any = base_in_c(kind) or kind
    own = base.__reduce_ex__ is object.__reduce_ex__ and base.__reduce__ is not object.__reduce__
    try:
        state = base.__reduce__(x) if own else base.__reduce_ex__(x, 4)
    except Exception:
        return MISSING
    if isinstance(state, str):
        return state
    held = tuple(_snapshot(part, depth) for part in state[1:3] if part is not None)
    return MISSING if depth > DEEP or _is_hidden(held) else held


def _snapshot(x: Any, depth: int, is_inside: bool = False) -> Any:
    """A snapshot of a part of a state: a copy of a list, or the state of an iterator inside."""
    if type(x) is tuple or (type(x) is list and not is_inside):
        return type(x), tuple(_snapshot(part, depth, is_inside or type(x) is list) for part in x)
    return State((type(x), pickled(x, depth + 1))) if _is_iterator_in_c(type(x)) else x


def _is_iterator_in_c(kind: type) -> bool:
    return hasattr(kind, "__next__") and base_in_c(kind) is not None


class State(tuple[Any, ...]):
    """The class and the state of an iterator inside another one."""

    __slots__ = ()


def _is_hidden(x: Any) -> bool:
    """Whether a state contains an iterator whose own state is hidden."""
    if type(x) is State:
        return x[1] is MISSING
    return type(x) is tuple and any(map(_is_hidden, x))


def objects_in(state: Any) -> Iterator[Any]:
    """The objects in a state that `pickled` returned, without the tuples around them."""
    if isinstance(state, tuple):
        for part in state:
            yield from objects_in(part)
    else:
        yield state
