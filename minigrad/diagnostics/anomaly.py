"""What is told of a NaN or an infinity: the operation, the line of the user's code, the chain, and a hint."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

from minigrad.diagnostics.causes import Reason
from minigrad.diagnostics.source import Place

SHOWN = 6  # steps of a chain
WHERE = (
    "np.where does not protect the gradient: the branch that it discards {discards}, and 0 · inf is NaN. Choose the "
    "operand before the operation, not the result after it: safe = mg.where(condition, x, 1.0), then "
    "mg.where(condition, f(safe), other)"
)


class AnomalyError(ArithmeticError):
    """A NaN or an infinity arose under `detect_anomaly`. `.anomaly` has the particulars."""

    def __init__(self, anomaly: Anomaly) -> None:
        super().__init__(str(anomaly))
        self.anomaly = anomaly


@dataclass(frozen=True)
class Step:
    """One operation of a chain: what it is, where in the user's code, and what happens there."""

    operation: str
    place: Place | None
    note: str = ""

    def row(self) -> list[str]:
        """Its cells, for a table."""
        at = self.place
        return [self.operation, "" if at is None else at.short, "" if at is None else at.expression, self.note]


@dataclass(frozen=True)
class Anomaly:
    """A NaN or an infinity and how it arose.

    Attributes:
        kind: "NaN", "inf" or "-inf".
        direction: "forward", "backward" if it arose in a gradient, "forward mode" if in a tangent (mg.jvp).
        operation: the name of the primitive.
        place: in the user's code, with .file, .line, .source and .expression; None if there is none.
        reason: with .cause, a few words such as "log of zero", .sentence and .remedy.
        elements: how many elements, of how many, and the first of them.
        chain: operations as Steps, in the order of the computation; of a gradient, in the order of its way back.
        scope: the path of the modules in which the operation ran.
        discarded: whether np.where discards the value, and the gradient alone is hurt.
    """

    kind: str
    direction: str
    operation: str
    place: Place | None
    reason: Reason
    elements: str
    chain: tuple[Step, ...]
    scope: str = ""
    discarded: bool = False

    @property
    def cause(self) -> str:
        """In a few words: "log of zero", or "discarded by where"."""
        return "discarded by where" if self.discarded else self.reason.cause

    @property
    def remedy(self) -> str:
        """The hint."""
        return WHERE.format(discards=self.reason.discards or "is not finite") if self.discarded else self.reason.remedy

    def headline(self) -> str:
        """What and where, in one line."""
        of = {"backward": "the gradient of ", "forward mode": "the tangent of "}.get(self.direction, "")
        layer = f" (layer {self.scope})" if self.scope else ""
        return f"{self.kind} arises in {of}{self.operation}{layer}{f' at {self.place}' if self.place else ''}"

    def __str__(self) -> str:
        lines = [self.headline(), *(self.place.marked() if self.place else [])]
        lines.append(f"{self.reason.sentence} ({self.elements})")
        if len(self.chain) > 1:
            lines.append("the gradient came this way:" if self.direction == "backward" else "it came this way:")
            lines += _table([step.row() for step in _shortened(self.chain)])
        return "\n".join([*lines, *textwrap.wrap(f"hint: {self.remedy}", 110, subsequent_indent="    ")])

    def to_dict(self) -> dict[str, Any]:
        """The content in plain Python values."""
        at = self.place
        return {
            "kind": self.kind,
            "direction": self.direction,
            "operation": self.operation,
            "cause": self.cause,
            "sentence": self.reason.sentence,
            "elements": self.elements,
            "file": at.file if at else None,
            "line": at.line if at else None,
            "source": at.source if at else None,
            "scope": self.scope,
            "chain": [" ".join(filter(None, step.row())) for step in self.chain],
            "remedy": self.remedy,
        }


def _shortened(chain: tuple[Step, ...]) -> list[Step]:
    """A long chain without its middle, but for the operations at which something happens."""
    if len(chain) <= SHOWN:
        return list(chain)
    shown: list[Step] = []
    left_out = 0
    for k, step in enumerate(chain):
        if k == 0 or k >= len(chain) - 3 or step.note:
            shown += [Step(f"... {left_out} more", None)] * bool(left_out) + [step]
            left_out = 0
        else:
            left_out += 1
    return shown


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[c]) for row in rows) for c in range(4)]
    return ["    " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
