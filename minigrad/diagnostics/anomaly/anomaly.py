"""The description of a NaN or an infinity: the operation, the line of the user's code, the chain, and a hint."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

from minigrad.diagnostics.anomaly.causes import Reason
from minigrad.diagnostics.anomaly.code_location import CodeLocation
from minigrad.util.report import table

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
