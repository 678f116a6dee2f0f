"""The description of a NaN or an infinity: the operation, the line of the user's code, the chain, and a hint."""

from __future__ import annotations

import contextlib
import linecache
import os
import textwrap
from dataclasses import dataclass
from itertools import islice
from types import CodeType, FrameType
from typing import Any

import numpy as np

import minigrad
from minigrad.diagnostics.anomaly.causes import Reason
from minigrad.util.report import table

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


SHOWN = 6  # steps of a chain
DISCARDED = (
    "np.where does not protect the gradient: the branch that it discards {discards}, and 0 · inf is NaN. Choose the "
    "operand before the operation, not the result after it: safe = mg.where(condition, x, 1.0), then "
    "mg.where(condition, f(safe), other)"
)


class AnomalyError(ArithmeticError):
    """A NaN or an infinity arose inside `detect_anomaly`. `.anomaly` has the details."""

    __module__ = "minigrad.diagnostics"  # the path by which users know it

    def __init__(self, anomaly: Anomaly) -> None:
        super().__init__(str(anomaly))
        self.anomaly = anomaly


@dataclass(frozen=True)
class Step:
    """One operation of a chain: its call, where it is in the user's code, and what happens there."""

    operation: str
    place: CodeLocation | None
    note: str = ""

    def row(self) -> list[str]:
        """The cells of its row in a table."""
        place = self.place
        return [self.operation, place.short if place else "", place.expression if place else "", self.note]


@dataclass(frozen=True)
class Anomaly:
    """A NaN or an infinity, and how it arose.

    Attributes:
        kind: "NaN", "inf" or "-inf".
        direction: "forward", "backward" if it arose in a gradient, "forward mode" if in a tangent (mg.jvp).
        operation: the name of the primitive.
        place: in the user's code, with .file, .line, .source and .expression; None if it is unknown.
        reason: why it arose: .cause, a few words such as "log of zero", .sentence and .remedy.
        elements: how many elements are not finite, and the first of them.
        chain: operations as Steps, in the order of the computation; for a gradient, in the order of the backward pass.
        scope: the path of the modules in which the operation ran.
        discarded: whether np.where discards the value, so only the gradient is affected.
    """

    kind: str
    direction: str
    operation: str
    place: CodeLocation | None
    reason: Reason
    elements: str
    chain: tuple[Step, ...]
    scope: str = ""
    discarded: bool = False

    @property
    def cause(self) -> str:
        """The cause in a few words: "log of zero", or "discarded by where"."""
        return "discarded by where" if self.discarded else self.reason.cause

    @property
    def remedy(self) -> str:
        """The hint."""
        return (
            DISCARDED.format(discards=self.reason.discards or "is not finite") if self.discarded else self.reason.remedy
        )

    def headline(self) -> str:
        """The kind of anomaly, the operation and the place, in one line."""
        of = {"backward": "the gradient of ", "forward mode": "the tangent of "}.get(self.direction, "")
        layer = f" (layer {self.scope})" if self.scope else ""
        return f"{self.kind} arises in {of}{self.operation}{layer}{f' at {self.place}' if self.place else ''}"

    def __str__(self) -> str:
        lines = [self.headline(), *(self.place.marked() if self.place else [])]
        lines.append(f"{self.reason.sentence} ({self.elements})")
        if len(self.chain) > 1:
            lines.append("the path of the gradient:" if self.direction == "backward" else "the path of the value:")
            lines += table([step.row() for step in _shortened(self.chain)], indent="    ")
        return "\n".join([*lines, *textwrap.wrap(f"hint: {self.remedy}", 110, subsequent_indent="    ")])

    def to_dict(self) -> dict[str, Any]:
        """The content in plain Python values."""
        place = self.place
        return {
            "kind": self.kind,
            "direction": self.direction,
            "operation": self.operation,
            "cause": self.cause,
            "sentence": self.reason.sentence,
            "elements": self.elements,
            "file": place.file if place else None,
            "line": place.line if place else None,
            "source": place.source if place else None,
            "scope": self.scope,
            "chain": [" ".join(filter(None, step.row())) for step in self.chain],
            "remedy": self.remedy,
        }


def _shortened(chain: tuple[Step, ...]) -> list[Step]:
    """A chain without its middle if it is long, but with all operations at which something happens."""
    if len(chain) <= SHOWN:
        return list(chain)
    shown: list[Step] = []
    skipped = 0
    for k, step in enumerate(chain):
        if k == 0 or k >= len(chain) - 3 or step.note:
            shown += [Step(f"... {skipped} more", None)] * bool(skipped) + [step]
            skipped = 0
        else:
            skipped += 1
    return shown
