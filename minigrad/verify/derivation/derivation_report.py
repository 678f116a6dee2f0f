"""The report of a check of a derivation, line by line."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.util.report import Report, counted, number, table
from minigrad.verify.derivation.backward_pass import BackwardPass
from minigrad.verify.gradients.finite_differences import Slope

if TYPE_CHECKING:
    from minigrad.drawing.picture import Picture

Array = Any
RIGHT = ("right", "other decomposition")
PROVEN = "proven exactly for these sizes (chance of error < 1e-12)"


@dataclass
class LineReport:
    """The verdict on one line.

    Attributes:
        verdict: "right", "wrong", "other decomposition" (the inputs' gradients are right; this forward function splits
            the sum differently), or "only here" (right for the given values, wrong for others).
        reason: why it is not right; empty if it is.
        repair, repaired: the edit that makes the line right, as a sentence, and the body of the line after it; or None.
        result, expected: the result of the line with the true gradients of what it uses, and the tape's gradient.
        chained_ok: whether it is right with the results of the other lines.
        notes: further remarks, for example that a term left out is identically 0.
        proven: whether a right line is proven exactly, without a tolerance.
        not_proven: why a right line is not proven exactly; empty if that was not tried.
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
    proven: bool = False
    not_proven: str = ""

    @property
    def ok(self) -> bool:
        """Whether the line is right, or splits the sum in another way."""
        return self.verdict in RIGHT

    @property
    def difference(self) -> float:
        """The largest difference, relative to the largest expected element."""
        if self.result is None or self.result.shape != self.expected.shape:
            return float("nan")
        largest = float(np.max(np.abs(self.expected), initial=0.0)) or 1.0
        return float(np.max(np.abs(self.result - self.expected), initial=0.0)) / largest

    def worst(self) -> str:
        """The element with the largest difference: the line's value and the tape's."""
        if self.result is None or self.result.shape != self.expected.shape or not self.expected.size:
            return ""
        index = np.unravel_index(int(np.argmax(np.abs(self.result - self.expected))), self.expected.shape)
        where = f"[{', '.join(map(str, index))}]" if index else "the only element"
        return f"at {where}: derived {number(self.result[index])}, tape {number(self.expected[index])}"

    @property
    def brief(self) -> str:
        """The reason, or the repair if there is no reason, as a suffix of the verdict."""
        explanation = self.repair if self.kind == "unexplained" else self.reason
        return f": {explanation}" if explanation else ""

    def sentences(self) -> list[str]:
        """The explanation of the verdict, the reason first."""
        is_replaced = self.kind == "unexplained" and self.repair  # by the repair, which says more
        sentences = [self.reason] if self.reason and not is_replaced else []
        if self.repair:
            sentences.append(f"one edit makes it right: {self.repair}")
        if self.kind in ("unexplained", "finite") and self.worst():
            confirmed = "" if self.slope is None else "; finite differences agree with the tape"
            sentences.append(self.worst() + confirmed)
        elif self.kind in ("shape", "transposed") and self.result is not None:
            sentences.insert(1, f"the result has shape {self.result.shape}, {self.target} has {self.expected.shape}")
        return sentences + [f"note: {note}" for note in self.notes]

    @property
    def exactness(self) -> str:
        """How sure a right line is: proven exactly, or equal up to a difference of floats, and why; or empty."""
        if self.proven and self.ok:
            return PROVEN
        return f"equal to {self.difference:.0e}, not proven exactly: {self.not_proven}" if self.not_proven else ""

    def told(self) -> list[str]:
        """The old name of `explanation`."""
        warnings.warn("LineReport.told is called explanation since version 0.2", DeprecationWarning, stacklevel=2)
        return self.explanation()

    def explanation(self) -> list[str]:
        """The sentences as lines of the report."""
        head = f"d{self.target}: "
        return [(" " * 4 if k else head) + sentence for k, sentence in enumerate(self.sentences())]


def proven_lines(lines: Sequence[tuple[str, LineReport]]) -> list[str]:
    """Which of these lines are proven exactly, and which are not, with the reason."""
    groups: dict[str, list[str]] = {}
    for name, line in lines:
        if line.exactness:
            groups.setdefault(line.exactness, []).append(name)
    if len(groups) == 1 and len(lines) == sum(map(len, groups.values())):
        return [*groups]
    return [f"{', '.join(dict.fromkeys(names))}: {exactness}" for exactness, names in groups.items()]


@dataclass
class DerivationReport(Report):
    """Verdicts on all lines of a derivation. `.lines["var"]` is the one on dl/dvar."""

    derivation: BackwardPass
    lines: dict[str, LineReport]
    labels: dict[str, str]
    missing: list[str]  # inputs without a line
    is_unit: bool = False  # whether the result is a loss, whose own gradient is 1

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
            text += line.explanation()
        text += proven_lines([(f"d{t}", line) for t, line in self.lines.items()])
        if self.missing:
            text.append(f"no line for {', '.join(self.missing)}")
        if self.is_unit:
            text.append("no line names dout, the gradient of the result: it is 1")
        return "\n".join(text)

    @property
    def proven(self) -> bool:
        """Whether every line is right and proven exactly."""
        return self.ok and all(line.proven for line in self.lines.values())

    def draw(self) -> Picture:
        """The forward function's graph with the verdict on each value that has a line, and the reason if it is wrong.

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
            "proven": self.proven,
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
                    "proven": line.proven,
                    "not_proven": line.not_proven,
                }
                for t, line in self.lines.items()
            },
            "missing": self.missing,
        }
