"""Python's garbage collector, asked to search old objects less often.

A long tape is many small objects that live for a while and form no cycles. Before every full collection the collector
waits for ten of the middle generation; on a tape of 100,000 lines its full collections then take a quarter of all
time, and find nothing. Importing minigrad raises that ten to a hundred, unless the program has set thresholds of its
own. Young objects are collected as before; old cyclic garbage waits longer. `gc.set_threshold(700, 10, 10)` undoes it.
"""

from __future__ import annotations

import gc

DEFAULT, PATIENT = (700, 10, 10), (700, 10, 100)


def be_patient() -> None:
    """Raise the third threshold if all three are Python's own."""
    if gc.get_threshold() == DEFAULT:
        gc.set_threshold(*PATIENT)
