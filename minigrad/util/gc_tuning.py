"""Python's garbage collector, asked to search old objects less often.

A long tape is many small objects that live for a while and form no cycles. Before every full collection the collector
waits for ten of the middle generation; on a tape of 100,000 lines its full collections then take a quarter of all
time, and find nothing. With a hundred in place of ten they cost nothing that can be measured. Young objects are
collected as before; old cyclic garbage waits longer. A program decides that for itself: importing minigrad changes
nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from minigrad.util.locks import LOCK

DEFAULTS = ((700, 10, 10), (2000, 10, 10))  # of Python's versions whose third generation is collected in full
PATIENCE = 100

_running = 0  # blocks that are open, in all threads
_before: tuple[int, int, int] | None = None  # the thresholds that the first of them found, if it changed them


def tune_gc(patience: int = PATIENCE) -> bool:
    """Let Python's garbage collector search old objects less often, for the whole process.

    The third threshold becomes `patience`, which keeps the recording of long tapes from being interrupted by searches
    that find nothing. `mg.fit` does so while it runs; a training loop of your own may call this once.
    `gc.set_threshold(700, 10, 10)` undoes it.

    Args:
        patience: after how many collections of the middle generation all objects are searched. Python's own is 10.

    Returns:
        Whether it was done. Where the program has set thresholds of its own, or Python has other generations (3.14),
        nothing happens.

    Raises:
        ValueError: patience is not a positive number.

    Example:
        >>> done = tune_gc()
    """
    if patience < 1:
        raise ValueError(f"tune_gc(patience={patience}): must be a positive number of collections")
    with LOCK:
        young, middle, old = gc.get_threshold()
        if (young, middle, old) in DEFAULTS or ((young, middle, 10) in DEFAULTS and old == PATIENCE):
            gc.set_threshold(young, middle, patience)
            return True
    return False


@contextmanager
def tuned_gc() -> Iterator[None]:
    """As tune_gc, until the last of such blocks ends, in whichever thread."""
    global _running, _before
    with LOCK:
        _running += 1
        if _running == 1:
            found = gc.get_threshold()
            _before = found if found in DEFAULTS and tune_gc() else None
    try:
        yield
    finally:
        with LOCK:
            _running -= 1
            if _running == 0 and _before is not None and gc.get_threshold() == (*_before[:2], PATIENCE):
                gc.set_threshold(*_before)


@contextmanager
def undisturbed() -> Iterator[None]:
    """No collections but those that the block asks for: for a few milliseconds that make many objects, all of use."""
    before = gc.get_threshold()
    gc.set_threshold(0)
    try:
        yield
    finally:
        if gc.get_threshold()[0] == 0:  # else somebody has set others meanwhile
            gc.set_threshold(*before)
