"""Lower quartiles, medians, and ratios that say how far they can be trusted."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

Summary = dict[str, Any]  # "quartile" and "median" of all measurements, "rounds": the lower quartile of each round


def lower_quartile(values: Sequence[float]) -> float:
    """A quarter of the values lie below: what a machine with other things to do disturbs least.

    Example:
        >>> lower_quartile([4.0, 1.0, 2.0, 3.0, 100.0])
        2.0
    """
    return statistics.quantiles(values, n=4, method="inclusive")[0] if len(values) > 1 else values[0]


def summary(rounds: Sequence[Sequence[float]]) -> Summary:
    """What is kept of the measurements of a contender.

    Example:
        >>> summary([[1.0, 1.0, 5.0], [2.0, 2.0]])
        {'quartile': 1.0, 'median': 2.0, 'rounds': [1.0, 2.0]}
    """
    together = [value for one in rounds for value in one]
    return {
        "quartile": rounded(lower_quartile(together)),
        "median": rounded(statistics.median(together)),
        "rounds": [rounded(lower_quartile(one)) for one in rounds],
    }


def rounded(value: float) -> float:
    """Four digits: more would be noise."""
    return float(f"{value:.4g}")


class Ratio(NamedTuple):
    """Ours to the peer's: of the lower quartiles, of the medians, and the least and the largest of the rounds."""

    quartile: float
    median: float
    lowest: float
    highest: float


def ratio(ours: Summary, peer: Summary) -> Ratio:
    """How ours compares with the peer, which was measured in the same rounds.

    Example:
        >>> ratio(summary([[1.0], [3.0]]), summary([[2.0], [2.0]]))
        Ratio(quartile=0.75, median=1.0, lowest=0.5, highest=1.5)
    """
    by_round = [a / b for a, b in zip(ours["rounds"], peer["rounds"], strict=True)]
    quartile, median = (ours[key] / peer[key] for key in ("quartile", "median"))
    return Ratio(quartile, median, min(by_round), max(by_round))
