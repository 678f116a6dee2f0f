"""What the check of a derivation found, line by line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.util.report import Report, counted, number, table
from minigrad.verify.differences import Slope

if TYPE_CHECKING:
    from minigrad.drawing.picture import Picture
    from minigrad.verify.derivation import Derivation

Array = Any
FINE = ("right", "other decomposition")


@dataclass
class LineReport:
    """The verdict on one line.

    Attributes:
        verdict: "right", "wrong", "other decomposition" (the inputs' gradients are right; this forward function splits
            the sum differently), or "only here" (right for the given values, wrong for others).
        reason: why it is not simply right.
        repair, repaired: an edit that makes the line right, in words, and the line's body after it; or None.
        result, expected: what the line gave with the true gradients of what it uses, and the tape's gradient.
        chained_ok: whether it is right when the other lines' results are used.
        notes: what else is worth knowing, for example that a term left out is identically 0.
    """

    target: str
    function: Callable[..., Any]
    expected: Array
    result: Array = None
    verdict: str = "right"
    reason: str = ""
    kind: str = ""  # of the reason: shape, factor, value, path, ...
    repair: str | None = None
    repaired: str | None = None
    chained_ok: bool = True
    slope: Slope | None = None
    notes: list[str] = field(default_factory=list)
    random_upstream: dict[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """Whether it is right, or splits the sum in another way."""
        return self.verdict in FINE

    @property
    def difference(self) -> float:
        """The largest difference, relative to the largest element of the truth."""
        if self.result is None or self.result.shape != self.expected.shape:
            return float("nan")
        largest = float(np.max(np.abs(self.expected), initial=0.0)) or 1.0
        return float(np.max(np.abs(self.result - self.expected), initial=0.0)) / largest

    def worst(self) -> str:
        """The element that is off most: what the line says, what the tape says."""
        if self.result is None or self.result.shape != self.expected.shape or not self.expected.size:
            return ""
        place = np.unravel_index(int(np.argmax(np.abs(self.result - self.expected))), self.expected.shape)
        at = f"[{', '.join(map(str, place))}]" if place else ""
        return (
            f"at {at or 'the only element'}: derived {number(self.result[place])}, tape {number(self.expected[place])}"
        )

    @property
    def brief(self) -> str:
        """The reason, or else the repair, to be put behind the verdict."""
        told = self.repair if self.kind == "unexplained" else self.reason
        return f": {told}" if told else ""

    def sentences(self) -> list[str]:
        """What explains the verdict, the reason first."""
        found = [] if self.kind == "unexplained" and self.repair else [self.reason] if self.reason else []
        if self.repair:
            found.append(f"one edit makes it right: {self.repair}")
        if self.kind in ("unexplained", "finite") and self.worst():
            confirmed = "" if self.slope is None else "; finite differences agree with the tape"
            found.append(self.worst() + confirmed)
        elif self.kind in ("shape", "transposed") and self.result is not None:
            found.insert(1, f"the result has shape {self.result.shape}, {self.target} has {self.expected.shape}")
        return found + [f"note: {note}" for note in self.notes]

    def told(self) -> list[str]:
        """The lines of text that explain the verdict."""
        head = f"d{self.target}: "
        return [(" " * 4 if k else head) + sentence for k, sentence in enumerate(self.sentences())]


@dataclass
class DerivationReport(Report):
    """Verdicts on all lines of a derivation. `.lines["var"]` is the one on dl/dvar."""

    derivation: Derivation
    lines: dict[str, LineReport]
    labels: dict[str, str]
    missing: list[str]  # inputs without a line
    is_unit: bool = False  # whether the result is a loss whose own gradient, 1, no line names

    @property
    def ok(self) -> bool:
        """Whether every line is right, or splits the sum in another way with right gradients of all inputs."""
        return all(line.ok for line in self.lines.values())

    @property
    def wrong(self) -> list[str]:
        """The targets of the lines that are not right."""
        return [t for t, line in self.lines.items() if not line.ok]

    def __str__(self) -> str:
        count = len(self.lines)
        name = self.derivation.name
        if self.ok:
            verdict = f"{name}: " + (f"all {count} lines are right" if count > 1 else "the line is right")
        else:
            are = "is" if len(self.wrong) == 1 else "are"
            listed = ", ".join("d" + t for t in self.wrong)
            verdict = f"{name}: {len(self.wrong)} of {counted(count, 'line')} {are} wrong: {listed}"
        rows = [("line", "gradient of", "verdict", "alone", "chained")]
        for t, line in self.lines.items():
            alone = "shape" if np.isnan(line.difference) else f"{line.difference:.0e}"
            rows.append(
                (f"d{t}", self.labels.get(t, t), line.verdict if line.ok else line.verdict.upper(), alone,
                 "right" if line.chained_ok else "wrong")
            )  # fmt: skip
        text = [verdict, *table(rows)]
        for line in self.lines.values():
            text += line.told()
        if self.missing:
            text.append(f"no line for {', '.join(self.missing)}")
        if self.is_unit:
            text.append("no line names dout, the gradient of the result: it is 1")
        return "\n".join(text)

    def draw(self) -> Picture:
        """The forward function's graph with the verdict, and if need be the reason, on each value that has a line.

        Returns:
            A `graphviz.Digraph`; `.save("derivation.svg")` writes it.
        """
        from minigrad.drawing.graph.model import Verdict
        from minigrad.drawing.picture import picture_of

        verdicts = {
            t: Verdict(line.ok, f"dl/d{self.labels.get(t, t)} {line.verdict}{'' if line.ok else line.brief}")
            for t, line in self.lines.items()
        }
        return picture_of(self.derivation.forward.tape(), verdicts=verdicts)

    def to_dict(self) -> dict[str, Any]:
        """The content in plain Python values."""
        return {
            "derivation": self.derivation.name,
            "ok": self.ok,
            "lines": {
                t: {
                    "verdict": line.verdict,
                    "reason": line.reason,
                    "kind": line.kind,
                    "repair": line.repair,
                    "repaired": line.repaired,
                    "difference": None if np.isnan(line.difference) else line.difference,
                    "chained_ok": line.chained_ok,
                    "notes": line.notes,
                }
                for t, line in self.lines.items()
            },
            "missing": self.missing,
        }
