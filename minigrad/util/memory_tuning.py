"""Settings of a process: its garbage collector searches old objects less often; its C library keeps freed memory.

A long tape consists of many small objects that live for a while and form no cycles. Python runs a full collection after
every ten collections of the middle generation; on a tape of 100,000 nodes full collections then take a quarter of all
time, and find nothing. After every hundred, their cost cannot be measured. Young objects are collected as before; old
cyclic garbage is collected later. Both are decisions of the program: importing minigrad changes nothing.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

from minigrad.util.locks import LOCK

DEFAULTS = ((700, 10, 10), (2000, 10, 10))  # of the versions of Python with three generations
PATIENCE = 100

_open_blocks = 0  # in all threads
_before: tuple[int, int, int] | None = None  # the thresholds before the first open block, if it changed them


def tune_gc(patience: int = PATIENCE) -> bool:
    """Let Python's garbage collector search old objects less often, for the whole process.

    The third threshold becomes `patience`, so that the recording of long tapes is not interrupted by searches that find
    nothing. `mg.fit` does so while it runs; your own training loop may call this once. `gc.set_threshold(700, 10, 10)`
    reverts it.

    Args:
        patience: the number of collections of the middle generation before all objects are searched, by default 10
            in Python.

    Returns:
        Whether the threshold was set. If the program has set other thresholds, or Python has other generations (3.14),
        nothing changes.

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
    """As tune_gc, until the last of these blocks in any thread ends."""
    global _open_blocks, _before
    with LOCK:
        _open_blocks += 1
        if _open_blocks == 1:
            present = gc.get_threshold()
            _before = present if present in DEFAULTS and tune_gc() else None
    try:
        yield
    finally:
        with LOCK:
            _open_blocks -= 1
            if _open_blocks == 0 and _before is not None and gc.get_threshold() == (*_before[:2], PATIENCE):
                gc.set_threshold(*_before)


@contextmanager
def undisturbed() -> Iterator[None]:
    """No automatic collections: for a few milliseconds that create many objects, none of them garbage."""
    before = gc.get_threshold()
    gc.set_threshold(0)
    try:
        yield
    finally:
        if gc.get_threshold()[0] == 0:  # else it was set in the block
            gc.set_threshold(*before)


TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h


def tune_malloc(keep: int = 1 << 30) -> bool:
    """Let the process keep freed memory for its next arrays, instead of returning it to the system each time.

    glibc returns the memory of large arrays to the system when they are freed, so the kernel has to provide, and clear,
    new pages again and again. With this setting, temporaries of megabytes cost no more than their arithmetic. It
    applies to the whole process and cannot be reverted, and memory that was needed once stays with the process; so
    importing minigrad does not set it.

    Args:
        keep: the largest number of bytes that is kept, of an array and of free memory.

    Returns:
        Whether it was set. Only glibc (most Linux distributions, but not Alpine's musl) supports it; elsewhere nothing
        changes.

    Raises:
        ValueError: keep is not a positive number below 2³¹.

    Example:
        >>> done = tune_malloc()
    """
    if not 0 < keep < 1 << 31:
        raise ValueError(f"tune_malloc(keep={keep}): must be a positive number of bytes below 2**31")
    try:
        library = ctypes.CDLL(None)
        if not hasattr(library, "gnu_get_libc_version"):
            return False
        mallopt = library.mallopt
    except (OSError, AttributeError, TypeError):  # TypeError: Windows does not accept None
        return False
    return bool(mallopt(MMAP_THRESHOLD, keep)) and bool(mallopt(TRIM_THRESHOLD, keep))
