"""Amounts with their units, as reports write them."""

from __future__ import annotations


def text_of_bytes(n: float) -> str:
    """An amount of memory in three digits and decimal units: 1 kB is 1000 bytes.

    Example:
        >>> text_of_bytes(536), text_of_bytes(47_040), text_of_bytes(999_999), text_of_bytes(3.21e9)
        ('536 B', '47 kB', '1 MB', '3.21 GB')
    """
    for unit in ("B", "kB", "MB"):
        if n < 999.5:  # what would be rounded to 1000 is 1 of the next unit
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} GB"
