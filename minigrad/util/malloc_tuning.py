"""Makes the C library keep the memory that arrays free."""

from __future__ import annotations

import ctypes

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
