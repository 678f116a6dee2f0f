"""Reach: everything that a function can read, found by walking from it.

A compiled step, a recomputed function and an audit need to know which objects, arrays, generators and numbers decide
what a call does. The walk goes from a function through its closure, defaults and the globals that its code names,
through attributes, items, slots and class attributes, to the leaves. It collects two things:

- `refs`: places that hold an object and can hold another one (`StateRef`), with the object there now;
- `rows`: what each object on the way held (`Row`), so that a guard can test later whether it still does.

What can be *read* is less than what is *reachable*: an attribute that no code names cannot be read, so counting epochs
in a trainer does not invalidate its step. Names are the attribute names and string constants of all functions that were
reached, to a fixpoint. Once some code computes names (`vars`, `getattr`, `eval`, ...) every attribute counts.

Files, each importing only those before it: contents (containers, objects, places), leaves (immutable values), rows,
code_names (names in bytecode), collected (results of a walk), members, code, objects (visits by kind), walk, guards.
"""

from minigrad.reach.code_names import words
from minigrad.reach.contents import (
    LIBRARIES,
    MISSING,
    STANDARD,
    Contents,
    StateRef,
    attributes_of,
    base_of,
    behind,
    elements,
    is_of_minigrad,
    keys_of,
    own_attributes,
    package_of,
    put_in_order,
    refill,
    same_objects,
    slots_of,
    values_of,
    variable,
)
from minigrad.reach.leaves import NUMERIC, alike, bits, is_leaf, pickled
from minigrad.reach.objects import register_opaque
from minigrad.reach.rows import CacheState, Difference, Row, differences
from minigrad.reach.walk import Reach

__all__ = [
    "LIBRARIES",
    "MISSING",
    "NUMERIC",
    "STANDARD",
    "CacheState",
    "Contents",
    "Difference",
    "Reach",
    "Row",
    "StateRef",
    "alike",
    "attributes_of",
    "base_of",
    "behind",
    "bits",
    "differences",
    "elements",
    "is_leaf",
    "is_of_minigrad",
    "keys_of",
    "own_attributes",
    "package_of",
    "pickled",
    "put_in_order",
    "refill",
    "register_opaque",
    "same_objects",
    "slots_of",
    "values_of",
    "variable",
    "words",
]
