"""Asking the C library to keep the memory that arrays give back."""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h


def tune_malloc(keep: int = 1 << 30) -> bool:
    """Let the process keep freed memory for its next arrays, in place of giving it back to the system each time.

    glibc gives the memory of large arrays back to the system when they are freed, so that the kernel hands out, and
    clears, fresh pages again and again. With this, temporaries of megabytes cost what the arithmetic costs. It holds
    for the whole process and cannot be undone, and memory that was needed once stays with the process; so it is
    never done on import.

    Args:
        keep: up to how many bytes, of an array and of free memory, are kept.

    Returns:
        Whether it was done. Only glibc (most Linux distributions, not Alpine's musl) knows how; elsewhere nothing
        happens.

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
    except (OSError, AttributeError, TypeError):  # TypeError: Windows has no library of the process itself
        return False
    return bool(mallopt(MMAP_THRESHOLD, keep)) and bool(mallopt(TRIM_THRESHOLD, keep))
