"""The report on a backward function: the verdict on the whole, on every line, and the reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minigrad.util.report import Report, counted, table
from minigrad.verify.derivation.derivation_report import LineReport, proven_lines

Array = Any


@dataclass
class WrittenLine:
    """The verdict on one line of a backward function.

    Attributes:
        line, last_line: the numbers of its lines in the file.
        text: as it stands there.
        target: the value whose gradient it should compute, as "var", "h[3]" or "h (line 7)".
        verdict: "right", "wrong", "only here" (right for the given values, wrong for others), or "other meaning" (the
            gradients that the function returns are right; this line and one that uses it split the sum differently).
        reason: why it is not right; empty if it is.
        repair: an edit that makes it right, as a sentence; or None.
        first_wrong: the iteration of a loop in which it is wrong first, as "t = 3"; empty outside of loops.
        notes: further remarks.
        right_line: of a wrong line, what it should compute, in the names of the backward function: derived from the
            forward function, and evaluated in all samples. None if it cannot be derived.
        report: the numbers: `result`, `expected`, `difference`.
    """

    path: str
    line: int
    last_line: int
    text: str
    target: str
    verdict: str
    report: LineReport
    first_wrong: str = ""
    notes: list[str] = field(default_factory=list)
    right_line: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the line is right."""
        return self.verdict in ("right", "other meaning")

    @property
    def reason(self) -> str:
        """Why it is not right."""
        return self.report.reason

    @property
    def repair(self) -> str | None:
        """An edit that makes it right."""
        return self.report.repair

    def explanation(self) -> list[str]:
        """Sentences for the report; the first one says where."""
        where = f"line {self.line}" if self.last_line == self.line else f"lines {self.line} to {self.last_line}"
        head = f"{where}, {self.path}" + (f", first at {self.first_wrong}" if self.first_wrong else "")
        sentences = [] if self.verdict == "right" else self.report.sentences()
        if self.right_line and not self.repair:
            sentences.append(f"derived from the forward function, the right line is: {self.path} = {self.right_line}")
        sentences += [f"note: {note}" for note in self.notes]
        return [f"{head}: {sentences[0]}", *(f"    {s}" for s in sentences[1:])] if sentences else []


@dataclass
class WrittenReport(Report):
    """The verdict on a backward function and on each of its lines.

    Attributes:
        name: of the backward function.
        whole: by input of the forward function, whether the gradient that the backward function returns or stores for
            it is right; None if it gives none.
        lines: the lines whose value has a name, in the order of the file.
        unnamed: lines that could not be judged, with the reason: `(line, path, reason)`.
        method: "tape" or "differences": where the true gradients come from.
        assumptions: what the check has assumed, as sentences.
        helpers: the reports on pairs of functions that these call, if they were asked for.
    """

    name: str
    file: str
    whole: dict[str, bool | None]
    lines: list[WrittenLine]
    unnamed: list[tuple[int, str, str]]
    method: str
    is_unit: bool = False
    error: str = ""
    assumptions: list[str] = field(default_factory=list)
    helpers: list[WrittenReport] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all gradients that the function gives are right, and every line is. See `missing` for others."""
        return not self.error and self._whole_is_right and not self.wrong and all(h.ok for h in self.helpers)

    @property
    def proven(self) -> bool:
        """Whether every line is right and proven exactly, without a tolerance."""
        return self.ok and bool(self.lines) and all(line.report.proven for line in self.lines)

    @property
    def _whole_is_right(self) -> bool:
        return bool(self.whole) and all(ok is not False for ok in self.whole.values())

    @property
    def wrong(self) -> list[WrittenLine]:
        """The lines that are not right."""
        return [line for line in self.lines if not line.ok]

    @property
    def missing(self) -> list[str]:
        """Inputs with a gradient, for which the function gives none."""
        return [name for name, ok in self.whole.items() if ok is None]

    def points(self, weights: Mapping[str, float] | None = None) -> float:
        """The share of right lines and right whole gradients, weighted: 1.0 if everything is right.

        Args:
            weights: by the name of a value ("var") or by "whole"; 1 for those that are not named. A wrong line costs
                its own weight only, as all others are judged with the true gradients of what they use.
        """
        weights = weights or {}
        # One entry for each value: that of its last line.
        parts = {line.target.partition("[")[0]: line.ok for line in self.lines}
        parts["whole"] = not self.error and self._whole_is_right
        total = sum(weights.get(name, 1.0) for name in parts)
        return sum(weights.get(name, 1.0) for name, ok in parts.items() if ok) / total if total else 0.0

    def __str__(self) -> str:
        lines = [f"{self.name} ({Path(self.file).name}): {self._verdict()}"]
        if self.error:
            lines.append(f"it does not run: {self.error}")
        if self.whole:
            given = [f"d{k} {'right' if ok else 'WRONG'}" for k, ok in self.whole.items() if ok is not None]
            missing = f"; it gives no gradient for {', '.join(self.missing)}" if self.missing else ""
            lines.append("the whole: " + ", ".join(given) + missing)
        if self.lines:
            rows = [("line", "code", "gradient of", "verdict")]
            rows += [
                (str(line.line), _shortened(line.text), line.target, line.verdict if line.ok else line.verdict.upper())
                for line in self.lines
            ]
            lines += table(rows)
        for line in self.lines:
            lines += line.explanation()
        lines += proven_lines([(line.path, line.report) for line in self.lines])
        if self.unnamed:
            lines.append("not judged:")
            lines += [f"  line {number}, {path}: {reason}" for number, path, reason in self.unnamed]
        if self.is_unit:
            lines.append("it takes no gradient of the result: that is 1")
        lines += self.assumptions
        lines += [str(helper) for helper in self.helpers]
        return "\n".join(lines)

    def _verdict(self) -> str:
        if self.wrong:
            are = "is" if len(self.wrong) == 1 else "are"
            listed = ", ".join(f"line {line.line} ({line.path})" for line in self.wrong)
            return f"{len(self.wrong)} of {counted(len(self.lines), 'line')} {are} wrong: {listed}"
        if self.error:
            return "it could not be checked to the end"
        if not self._whole_is_right:
            wrong = ", ".join(f"d{k}" for k, ok in self.whole.items() if ok is False)
            return f"{wrong or 'no gradient'} is wrong, and none of the lines that could be judged is"
        return f"all {counted(len(self.lines), 'line')} are right" if len(self.lines) != 1 else "the line is right"

    def to_dict(self) -> dict[str, Any]:
        """The content in plain Python values."""
        return {
            "name": self.name,
            "file": self.file,
            "ok": self.ok,
            "proven": self.proven,
            "points": self.points(),
            "whole": self.whole,
            "error": self.error,
            "lines": [
                {
                    "line": line.line, "path": line.path, "text": line.text, "target": line.target,
                    "verdict": line.verdict, "reason": line.reason, "kind": line.report.kind, "repair": line.repair,
                    "repaired": line.report.repaired,
                    "right_line": line.right_line, "first_wrong": line.first_wrong, "notes": line.notes,
                    "proven": line.report.proven, "not_proven": line.report.not_proven,
                }
                for line in self.lines
            ],
            "unnamed": [{"line": n, "path": path, "reason": reason} for n, path, reason in self.unnamed],
            "method": self.method,
            "assumptions": self.assumptions,
            "helpers": [helper.to_dict() for helper in self.helpers],
        }  # fmt: skip


def _shortened(text: str) -> str:
    first = text.partition("\n")[0]
    return first if len(first) <= 60 and first == text else first[:57] + "..."
