"""Where in the user's code something happened."""

from __future__ import annotations

import contextlib
import linecache
import os
from dataclasses import dataclass
from itertools import islice
from types import CodeType, FrameType

import numpy as np

import minigrad

# Files whose frames are skipped: those of minigrad, also generated ones, of NumPy, and of context managers.
SKIPPED = (
    os.path.dirname(os.path.abspath(minigrad.__file__)) + os.sep,
    os.path.dirname(os.path.abspath(np.__file__)) + os.sep,
    contextlib.__file__,
    "<minigrad",
)


@dataclass(frozen=True)
class CodeLocation:
    """An instruction in the user's code. The source is read only when it is needed."""

    code: CodeType
    instruction: int

    @property
    def file(self) -> str:
        """The file name in the code object."""
        return self.code.co_filename

    @property
    def line(self) -> int:
        """The line number, from 1."""
        return self._span()[0]

    @property
    def function(self) -> str:
        """The qualified name of the function."""
        return self.code.co_qualname

    @property
    def source(self) -> str:
        """The line of code, without indentation."""
        return linecache.getline(self.file, self.line).strip()

    @property
    def expression(self) -> str:
        """The part of the line that was running, joined to one line; the full line if Python does not know the part."""
        line, end_line, start, end = self._span()
        if start is None or end is None:
            return self.source
        lines = [linecache.getline(self.file, k).rstrip("\n") for k in range(line, (end_line or line) + 1)]
        if not lines[0]:
            return ""
        # Columns count bytes of UTF-8.
        lines[-1] = lines[-1].encode()[:end].decode()
        lines[0] = lines[0].encode()[start:].decode()
        return " ".join(part.strip() for part in lines)

    @property
    def short(self) -> str:
        """file:line, relative to the working directory if the file is inside it."""
        name = os.path.relpath(self.file) if os.path.isabs(self.file) else self.file
        return f"{self.file if name.startswith('..') else name}:{self.line}"

    def __str__(self) -> str:
        return self.short if self.function == "<module>" else f"{self.short}, in {self.function}"

    def marked(self, indent: str = "    ") -> list[str]:
        """The line of code, and below it marks under the part that was running."""
        shown = linecache.getline(self.file, self.line).rstrip()
        if not shown:
            return []
        line, end_line, start, end = self._span()
        lines = [indent + shown.lstrip()]
        if start is not None and end is not None and line == end_line:
            before, part = (shown.encode()[a:b].decode() for a, b in ((0, start), (start, end)))
            if part != shown.lstrip():
                lines.append(indent + " " * len(before.lstrip()) + "^" * len(part))
        return lines

    def _span(self) -> tuple[int, int | None, int | None, int | None]:
        positions = next(islice(self.code.co_positions(), self.instruction // 2, None), (None,) * 4)
        line, end_line, start, end = positions
        return (self.code.co_firstlineno if line is None else line), end_line, start, end


def user_location(frame: FrameType | None) -> CodeLocation | None:
    """The innermost location outside minigrad and NumPy, from this frame outwards."""
    while frame is not None and frame.f_code.co_filename.startswith(SKIPPED):
        frame = frame.f_back
    return None if frame is None else CodeLocation(frame.f_code, frame.f_lasti)
