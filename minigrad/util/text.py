"""Texts of amounts and values, for reports and messages."""

from __future__ import annotations

from typing import Any


def text_of_bytes(n: float) -> str:
    """An amount of memory with three digits and decimal units: 1 kB is 1000 bytes.

    Example:
        >>> text_of_bytes(536), text_of_bytes(47_040), text_of_bytes(999_999), text_of_bytes(3.21e9)
        ('536 B', '47 kB', '1 MB', '3.21 GB')
    """
    for unit in ("B", "kB", "MB"):
        if n < 999.5:  # 999.5 would be rounded to 1000, which is 1 of the next unit
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} GB"


def short(x: Any, width: int = 80) -> str:
    """The text of a value, cut to a width; the class of an object whose repr fails.

    Example:
        >>> short([1.0, 2.0]), short("a" * 20, 10), short(10**5000)
        ('[1.0, 2.0]', 'aaaaaaa...', 'an int of 16610 bits')
    """
    try:
        text = x if isinstance(x, str) else repr(x)
    except Exception:
        return f"an int of {x.bit_length()} bits" if type(x) is int else f"a {type(x).__name__}"
    return text if len(text) <= width else text[: width - 3] + "..."
