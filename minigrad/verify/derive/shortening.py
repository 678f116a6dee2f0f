"""Fewer lines: the gradient of an intermediate value is put into the lines that use it, if that makes them shorter.

So batch norm's backward pass comes out with its three sums, where the paths through mean and variance combine.
"""

from __future__ import annotations

from minigrad.verify.derive.steps import Step, Steps
from minigrad.verify.derive.term import Term, names_in
from minigrad.verify.derive.term_operations import rebuilt

LINE = 4.0  # what a line costs more than the expression in it
MOST = 70.0  # the cost of the longest line that may come out


def shortened(steps: Steps) -> list[Step]:
    """The steps without lines that others can do without."""
    best = list(steps.steps)
    while True:
        candidates = [c for c in (_without(steps, best, k) for k in steps.named) if c is not None]
        shortest = min(candidates, key=_score, default=best)
        if _score(shortest) >= _score(best):
            break
        best = shortest
    fewest: list[Step] | None = list(steps.steps)
    for k in steps.named:
        if fewest is not None and (next_ := _without(steps, fewest, k)) is not None:
            fewest = next_
            if _score(fewest) < _score(best):
                best = fewest
    return best


def _score(lines: list[Step]) -> float:
    return sum(line.term.cost + LINE for line in lines)


def _without(steps: Steps, lines: list[Step], k: str) -> list[Step] | None:
    """The lines without the one for k, whose expression is put where it was used; None if there is none."""
    line = next((line for line in lines if line.target == k), None)
    if line is None:
        return None
    name = next((t for other in lines for t in _terms_named(other, f"d{k}")), None)
    new = []
    for other in lines:
        if other is line:
            continue
        if name is None or f"d{k}" not in names_in(other.term):
            new.append(other)
            continue
        term = steps.algebra.fit(rebuilt(steps.algebra, other.term, {name: line.term}), other.term.shape)
        if term.cost > MOST:
            return None
        rules = [*line.rules, *(rule for rule in other.rules if rule not in line.rules)]
        new.append(Step(other.target, term, rules))
    return new


def _terms_named(line: Step, text: str) -> list[Term]:
    found = []
    pending, seen = [line.term], set()
    while pending:
        t = pending.pop()
        if t.op == "name" and t.params[0] == text:
            found.append(t)
        if t not in seen:
            seen.add(t)
            pending += t.args
    return found
