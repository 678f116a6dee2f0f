"""The quick look at arguments before a compiled call never says yes where their signatures differ."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.compiler import driver
from minigrad.guards import door

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly

OWNED = np.zeros(3)
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "array": (np.ones(3),),
    "float32": (np.ones(3, "f4"),),
    "other byte order": (np.ones(3, ">f8"),),
    "shape": (np.ones((3, 1)),),
    "view": (np.ones(6)[::2],),
    "array of the state": (OWNED,),
    "Tensor": (mg.Tensor(np.ones(3)),),
    "variable": (mg.Tensor(np.ones(3), requires_grad=True),),
    "number": (1.0,),
    "two arrays": (np.ones(3), np.ones(2)),
    "tuple": ((np.ones(3),),),
    "none": (),
}


@pytest.mark.parametrize("records", [True, False])
def test_the_door_and_the_signature(records: bool) -> None:
    step = mg.compile(lambda *args: None, backend="numpy")
    step.owned[id(OWNED)] = OWNED

    def signature(args: tuple[Any, ...]) -> Any:
        leaves, _ = driver.flatten((args, {}))
        return step.signature(leaves, len(args) if all(type(x) in driver.FLAT for x in args) else driver.form_of(args))

    for given, other in product(ARGUMENTS.values(), repeat=2):
        takes = door(signature(given), step.owned)
        if records:
            assert not takes(other) or signature(given) == signature(other)
            continue
        with mg.no_grad():
            assert not takes(other)
    assert door(signature(ARGUMENTS["array"]), step.owned)((np.zeros(3),))
    assert door(signature(ARGUMENTS["variable"]), step.owned)(ARGUMENTS["variable"])
