"""What check_gradients found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.verify.differences import Slope
from minigrad.verify.report import Report, number, table


@dataclass(frozen=True)
class Entry:
    """One element of one input: what the engine says and what differences say."""

    name: str
    index: tuple[int, ...]
    engine: float
    slope: Slope
    tolerance: float

    @property
    def difference(self) -> float:
        """How far they are apart."""
        return abs(self.engine - self.slope.value)

    @property
    def is_kink(self) -> bool:
        """Whether the function has a kink here."""
        return self.slope.is_kink

    @property
    def ok(self) -> bool:
        """Whether they agree within the tolerance; at a kink, whether the engine lies between its sides."""
        if self.is_kink:
            low, high = sorted((self.slope.left, self.slope.right))
            return low - self.tolerance <= self.engine <= high + self.tolerance
        return self.difference <= self.tolerance

    @property
    def place(self) -> str:
        """The element as it is written: x[2, 5]."""
        return f"{self.name}[{', '.join(map(str, self.index))}]" if self.index else self.name


@dataclass
class GradientReport(Report):
    """What check_gradients found. Prints as a table of the worst element of each input."""

    entries: list[Entry]
    inputs: list[tuple[str, tuple[int, ...], int]]  # name, shape, how many elements were compared
    dtype: Any
    order: int
    pairing: float | None  # relative disagreement of pull and push; None without a tape
    notes: list[str] = field(default_factory=list)

    PAIRING = 1e-8

    @property
    def ok(self) -> bool:
        """Whether every element agrees within its tolerance, and pull with push."""
        agree = self.pairing is None or self.pairing <= self.PAIRING
        return agree and all(entry.ok for entry in self.entries)

    @property
    def kinks(self) -> list[Entry]:
        """The elements at which the function has a kink: reported, not failed, if the engine lies between its sides."""
        return [entry for entry in self.entries if entry.is_kink]

    @property
    def worst(self) -> Entry | None:
        """The element with the largest difference in units of its tolerance, kinks apart unless they fail."""
        return max(self.entries, key=_badness, default=None)

    def __str__(self) -> str:
        wrong = [entry for entry in self.entries if not entry.ok]
        what = "second derivatives" if self.order == 2 else "gradients"
        total = len(self.entries)
        lines = [
            f"{what} right: {total} elements agree with differences in {_precision(self.dtype)}"
            if self.ok
            else f"{what} WRONG: {len(wrong)} of {total} elements differ from differences in {_precision(self.dtype)}"
        ]
        rows = [("input", "shape", "worst at", "engine", "differences", "|difference|", "tolerance", "")]
        for name, shape, _ in self.inputs:
            mine = [entry for entry in self.entries if entry.name == name]
            if mine:
                worst, verdict = max(mine, key=_badness), "right" if all(e.ok for e in mine) else "WRONG"
                rows.append(
                    (name, str(shape), str(list(worst.index)), number(worst.engine), number(worst.slope.value),
                     f"{worst.difference:.1e}", f"{worst.tolerance:.1e}", verdict)
                )  # fmt: skip
        lines += table(rows)
        if self.pairing is not None:
            agree = "agree to" if self.pairing <= self.PAIRING else "DISAGREE by"
            lines.append(f"reverse and forward mode {agree} {self.pairing:.1e}")
        for entry in self.kinks[:3]:
            lines.append(
                f"kink at {entry.place}: left {number(entry.slope.left)}, right {number(entry.slope.right)}, "
                f"engine {number(entry.engine)}{'' if entry.ok else ', which is outside'}"
            )
        if len(self.kinks) > 3:
            lines.append(f"and {len(self.kinks) - 3} more kinks")
        return "\n".join([*lines, *self.notes])

    def to_dict(self) -> dict[str, Any]:
        """The content in plain Python values."""
        return {
            "ok": self.ok,
            "order": self.order,
            "precision": _precision(self.dtype),
            "pairing": self.pairing,
            "elements": len(self.entries),
            "worst": [
                {"input": e.name, "index": list(e.index), "engine": e.engine, "differences": e.slope.value,
                 "tolerance": e.tolerance, "ok": e.ok}
                for e in sorted(self.entries, key=_badness)[-5:][::-1]
            ],
            "kinks": [
                {"input": e.name, "index": list(e.index), "left": e.slope.left, "right": e.slope.right,
                 "engine": e.engine, "ok": e.ok}
                for e in self.kinks
            ],
            "notes": self.notes,
        }  # fmt: skip


def _precision(dtype: Any) -> str:
    return "extended precision" if dtype is not np.float64 else "float64"


def _badness(entry: Entry) -> float:
    if entry.is_kink:
        return 0.0 if entry.ok else np.inf
    return entry.difference / entry.tolerance if entry.tolerance else np.inf * bool(entry.difference)
