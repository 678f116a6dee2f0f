"""The quick look at arguments before a compiled call never says yes where their signatures differ."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.compiler.capture.arguments import flatten
from minigrad.compiler.learned import FLAT
from minigrad.compiler.signature import fast_guard, signature

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly

OWNED = np.zeros(3)
TWICE = np.ones(3)
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "array": (np.ones(3),),
    "float32": (np.ones(3, "f4"),),
    "other byte order": (np.ones(3, ">f8"),),
    "shape": (np.ones((3, 1)),),
    "view": (np.ones(6)[::2],),
    "array of the state": (OWNED,),
    "view of the state": (OWNED[:],),
    "Tensor": (mg.Tensor(np.ones(3)),),
    "variable": (mg.Tensor(np.ones(3), requires_grad=True),),
    "Tensor of the state": (mg.Tensor(OWNED),),
    "number": (1.0,),
    "NumPy scalar": (np.float64(1.0),),
    "integer": (1,),
    "bool": (True,),
    "None": (None,),
    "two arrays": (np.ones(3), np.ones(2)),
    "two arrays of one shape": (np.ones(3), np.ones(3)),
    "one array twice": (TWICE, TWICE),
    "a Tensor and its array": (mg.Tensor(TWICE), TWICE),
    "tuple": ((np.ones(3),),),
    "Generator": (np.random.default_rng(0),),
    "none": (),
}


def of(args: tuple[Any, ...], owned: dict[int, Any]) -> Any:
    """The signature of positional arguments, as a call makes it."""
    leaves, _, form = flatten(args, {})
    return signature(leaves, len(args) if FLAT.issuperset(map(type, args)) else form, owned, set(), [])


@pytest.mark.parametrize("records", [True, False])
def test_the_fast_guard_and_the_signature(records: bool) -> None:
    owned = {id(OWNED): OWNED}
    for given, other in product(ARGUMENTS.values(), repeat=2):
        takes = fast_guard(of(given, owned), owned)
        if records:
            assert not takes(other) or of(given, owned) == of(other, owned)
            continue
        with mg.no_grad():
            assert not takes(other)
    assert fast_guard(of(ARGUMENTS["array"], owned), owned)((np.zeros(3),))
    assert fast_guard(of(ARGUMENTS["variable"], owned), owned)(ARGUMENTS["variable"])
