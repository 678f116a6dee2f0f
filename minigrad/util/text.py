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


def two_digits(x: float) -> str:
    """A number in two significant digits, in columns of a table and in sentences.

    Example:
        >>> [two_digits(x) for x in (1.0, 0.1, 68.2, 3600.0)]
        ['1.0', '0.10', '68', '3.6e+03']
    """
    size = abs(x)
    if 0.001 <= size < 9.95:
        return f"{x:#.2g}"
    return f"{x:.0f}" if size == 0 or 9.95 <= size < 1000 else f"{x:.1e}"


def power_of_ten(x: float) -> str:
    """A number in one digit with its power of ten.

    Example:
        >>> power_of_ten(0.000613), power_of_ten(0.0)
        ('6e-04', '0')
    """
    return f"{x:.0e}" if x else "0"


def percent(x: float) -> str:
    """A fraction in percent, with one more digit if it is close to 0 or 1.

    Example:
        >>> percent(0.64), percent(0.002), percent(0.998)
        ('64 %', '0.2 %', '99.8 %')
    """
    return f"{100 * x:.1f} %" if 0.0005 <= x < 0.005 or 0.995 < x < 0.9995 else f"{100 * x:.0f} %"
