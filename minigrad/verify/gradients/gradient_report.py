"""The report of check_gradients."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.util.report import Report, number, table
from minigrad.verify.gradients.finite_differences import Slope

EXACT = ("complex step", "forward mode")  # methods without differences
UNCHECKED = "cannot be checked by differences (values cancel, or neighboring numbers are too far apart)"
SHOWN = 12  # inputs, so that the report fits on a screen


@dataclass(frozen=True)
class Entry:
    """One element of one input: its derivative by the engine and by differences."""

    name: str
    index: tuple[int, ...]
    engine: float
    slope: Slope
    tolerance: float
    is_undecided: bool = (
        False  # whether differences are too inaccurate here to distinguish a right gradient from a wrong one
    )

    @property
    def difference(self) -> float:
        """The absolute difference of the two."""
        return abs(self.engine - self.slope.value)

    @property
    def is_kink(self) -> bool:
        """Whether the function has a kink here."""
        return self.slope.is_kink

    @property
    def ok(self) -> bool:
        """Whether they agree within the tolerance; at a kink, whether the engine lies between its sides.

        If differences decide nothing, only whether the engine's derivative is finite.
        """
        if self.is_undecided:
            return bool(np.isfinite(self.engine))
        if self.is_kink:
            low, high = sorted((self.slope.left, self.slope.right))
            return low - self.tolerance <= self.engine <= high + self.tolerance
        return self.difference <= self.tolerance

    @property
    def is_small(self) -> bool:
        """Whether the slope is not 0, but smaller than its tolerance: other values of that size would pass too."""
        return not self.is_kink and 0 < abs(self.engine) < self.tolerance

    @property
    def place(self) -> str:
        """The element as text: x[2, 5]."""
        return f"{self.name}[{', '.join(map(str, self.index))}]" if self.index else self.name


@dataclass(frozen=True)
class Method:
    """The result of one method other than differences. `ok` is None if it does not apply; `found` then says why."""

    name: str
    ok: bool | None
    found: str


@dataclass
class GradientReport(Report):
    """The report of check_gradients. It prints as a table of the worst element of each input."""

    entries: list[Entry]  # by differences
    inputs: list[tuple[str, tuple[int, ...]]]  # name and shape
    dtype: Any  # of the differences
    order: int
    methods: list[Method]
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every element agrees within its tolerance, and every method that applies.

        If differences cannot check an element, a method without differences must agree: complex step or forward mode.
        """
        if not all(entry.ok for entry in self.entries) or any(method.ok is False for method in self.methods):
            return False
        return not self.undecided or bool(self._deciding)

    @property
    def undecided(self) -> list[Entry]:
        """The elements that differences cannot check: values cancel, or the spacing of x is too wide."""
        return [entry for entry in self.entries if entry.is_undecided]

    @property
    def _deciding(self) -> list[str]:
        return [method.name for method in self.methods if method.ok and method.name in EXACT]

    @property
    def kinks(self) -> list[Entry]:
        """The elements at which the function has a kink. They fail only if the engine lies outside the two sides."""
        return [entry for entry in self.entries if entry.is_kink]

    @property
    def worst(self) -> Entry | None:
        """The element with the largest difference in units of its tolerance; of kinks only those that fail."""
        return max(self.entries, key=_badness, default=None)

    def __str__(self) -> str:
        lines = [self._verdict(), *self._table()]
        lines += [
            f"kink at {entry.place}: left {number(entry.slope.left)}, right {number(entry.slope.right)}, "
            f"engine {number(entry.engine)}{'' if entry.ok else ', which is outside'}"
            for entry in self.kinks[:3]
        ]
        if len(self.kinks) > 3:
            lines.append(f"and {len(self.kinks) - 3} more kinks")
        lines += [f"{method.name}: {_method_text(method)}" for method in self.methods]
        return "\n".join([*lines, *self.notes])

    def _verdict(self) -> str:
        subject = "second derivatives" if self.order == 2 else "gradients"
        total, wrong = len(self.entries), sum(not entry.ok for entry in self.entries)
        undecided = len(self.undecided)
        against = f"differences in {_precision(self.dtype)}"
        if wrong:
            return f"{subject} WRONG: {wrong} of {total} elements differ from {against}"
        agreement = [f"{total - undecided} elements agree with {against}"] if total > undecided else []
        named = {ok: ", ".join(m.name for m in self.methods if m.ok is ok) for ok in (True, False)}
        if not self.ok:
            if not named[False]:
                return (
                    f"{subject} NOT CHECKED: {undecided} of {total} elements {UNCHECKED}, and no other method applies"
                )
            return f"{subject} WRONG: {'; '.join([f'wrong by {named[False]}', *agreement])}"
        if undecided:
            rest = f"{undecided} of {total} elements {UNCHECKED}, but are by {' and '.join(self._deciding)}"
            return f"{subject} right: {'; '.join([*agreement, rest])}"
        return f"{subject} right: {agreement[0] if agreement else 'by ' + named[True]}"

    def _table(self) -> list[str]:
        """The worst element of each input; of the worst inputs if there are many."""
        by_input = {name: [e for e in self.entries if e.name == name] for name, _ in self.inputs}
        worst = {name: max(entries, key=_badness) for name, entries in by_input.items() if entries}
        shown = sorted(worst, key=lambda name: -_badness(worst[name]))[:SHOWN]
        rows = [("input", "shape", "worst at", "engine", "differences", "|difference|", "tolerance", "")]
        for name, shape in self.inputs:
            if name in shown:
                entry = worst[name]
                verdict = "unchecked" if entry.is_undecided else "right"
                verdict = verdict if all(e.ok for e in by_input[name]) else "WRONG"
                rows.append(
                    (name, str(shape), str(list(entry.index)), number(entry.engine), number(entry.slope.value),
                     f"{entry.difference:.1e}", f"{entry.tolerance:.1e}", verdict)
                )  # fmt: skip
        more = [f"  and {len(worst) - SHOWN} more inputs, none of them worse"] if len(worst) > SHOWN else []
        return [*table(rows), *more] if shown else []

    def to_dict(self) -> dict[str, Any]:
        """The content in plain Python values."""
        return {
            "ok": self.ok,
            "order": self.order,
            "precision": _precision(self.dtype),
            "methods": [{"name": m.name, "ok": m.ok, "found": m.found} for m in self.methods],
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
            "unchecked": [{"input": e.name, "index": list(e.index), "engine": e.engine} for e in self.undecided],
            "notes": self.notes,
        }  # fmt: skip


def _precision(dtype: Any) -> str:
    return {np.float64: "float64", np.float32: "float32"}.get(dtype, "extended precision")


def _method_text(method: Method) -> str:
    return f"does not apply: {method.found}" if method.ok is None else method.found


def _badness(entry: Entry) -> float:
    if entry.is_undecided or entry.is_kink:
        return 0.0 if entry.ok else np.inf
    if not np.isfinite(entry.difference):
        return np.inf
    return entry.difference / entry.tolerance if entry.tolerance else np.inf * bool(entry.difference)
