"""A table of all scenarios: `PYTHONPATH=tests python -m scenarios [--no-audits] [group or part of a name]`."""

from __future__ import annotations

import sys
import time
from collections import Counter

from scenarios.scenario import SCENARIOS, compare, compare_observations, execute


def main(*arguments: str) -> None:
    """Run scenarios with NumPy's back end, and print what differs."""
    audit = "--no-audits" not in arguments
    wanted = "".join(x for x in arguments if x != "--no-audits")
    totals: dict[str, Counter[str]] = {}
    for name, one in SCENARIOS.items():
        if wanted not in name:
            continue
        began = time.perf_counter()
        eager = execute(one, None)
        ours = execute(one, "numpy", audit=audit)
        text = compare(one, ours, eager)
        kind = "ok" if not text else next((k for k in ("wrong", "crashed") if k in text), "differs")
        if kind == "ok" and (text := compare_observations(ours, eager, identity=True)):
            kind = "identity"
        counts = totals.setdefault(one.group, Counter())
        counts[kind] += 1
        counts["eager"] += bool(ours.warnings)
        seconds = time.perf_counter() - began
        print(f"{kind:8} {name:48} {seconds:5.2f} s {ours.recordings:3} programs  {text[:150]}".replace("\n", " "))
    for group, counts in totals.items():
        print(f"{group:16} " + ", ".join(f"{kind} {n}" for kind, n in sorted(counts.items())))


main(*sys.argv[1:])
