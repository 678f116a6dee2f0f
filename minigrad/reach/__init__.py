"""Reach: everything that a function can read, found by walking from it.

A compiled step, a recomputed function and an audit ask the same question: which objects, arrays, generators and numbers
decide what a call does? The walk goes from a function through its closure, defaults and the globals that its code
names, through attributes, items, slots and class attributes, to the leaves. It yields two things:

- `refs`: places that hold something and can hold something else (`StateRef`), with what stands there now;
- `rows`: for each object on the way what it held, so that a guard can say later whether it still does.

*Can read* is less than *is reachable*: an attribute that no code names cannot be read, so counting epochs in a trainer
does not invalidate its step. Names are the attribute names and string constants of all functions that were reached,
to a fixpoint; everything counts once some code computes names (`vars`, `getattr`, `eval`, ...).
"""

from minigrad.reach.contents import (
    CacheState,
    Contents,
    attributes_of,
    base_of,
    behind,
    description,
    elements,
    is_of_minigrad,
    keys_of,
    own_attributes,
    package_of,
    parts_of,
    slots_of,
    values_of,
)
from minigrad.reach.leaves import MISSING, alike, bits, is_leaf, pickled, same_objects
from minigrad.reach.names import words
from minigrad.reach.objects import register_opaque
from minigrad.reach.places import Row, StateRef, put_in_order, refill
from minigrad.reach.walk import Reach

__all__ = [
    "MISSING",
    "CacheState",
    "Contents",
    "Reach",
    "Row",
    "StateRef",
    "alike",
    "attributes_of",
    "base_of",
    "behind",
    "bits",
    "description",
    "elements",
    "is_leaf",
    "is_of_minigrad",
    "keys_of",
    "own_attributes",
    "package_of",
    "parts_of",
    "pickled",
    "put_in_order",
    "refill",
    "register_opaque",
    "same_objects",
    "slots_of",
    "values_of",
    "words",
]
