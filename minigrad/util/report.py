"""The base of all reports: a verdict first, at most a screen, as text, JSON and HTML."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any


class Report:
    """A verdict with its evidence. `print` shows it; `.ok` is the verdict."""

    @property
    def ok(self) -> bool:
        """The verdict."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """The content as plain Python values."""
        raise NotImplementedError

    def to_json(self, indent: int | None = 2) -> str:
        """The content as JSON."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)

    def raise_if_wrong(self) -> None:
        """Raise AssertionError with the report as its message unless everything is right."""
        if not self.ok:
            raise AssertionError(str(self))

    def _repr_html_(self) -> str:
        color = "#00664f" if self.ok else "#a33b00"
        first, _, rest = str(self).partition("\n")
        return f'<pre><b style="color:{color}">{escape(first)}</b>\n{escape(rest)}</pre>'


def table(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Lines of text with the rows in aligned columns; the first row may be the header."""
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]) if rows else 0)]
    return [
        indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def number(value: float) -> str:
    """A number with six significant digits."""
    return f"{value + 0.0:.6g}"  # + 0.0: no minus sign on zero


def counted(n: int, noun: str) -> str:
    """A number with its noun: "1 line", "2 lines"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
