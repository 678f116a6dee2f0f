"""Names as the user wrote them, in formats that cannot contain every character."""

from __future__ import annotations


def printable(text: str) -> str:
    """Without the control characters that XML, and so SVG, cannot contain."""
    if text.isprintable():
        return text
    return "".join(" " if c in "\t\r\n" else "\N{REPLACEMENT CHARACTER}" if c < " " or c == "\x7f" else c for c in text)
