"""Experiments: a statement, a measurement, claims about the measured numbers, and a picture."""

from __future__ import annotations

import argparse
import inspect
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.app.notes import figures
from minigrad.util.report import counted

Array = Any
PICTURES = Path(__file__).parents[3] / "docs" / "images" / "notes"
# The chapters of the notes, and their experiments in order.
CHAPTERS = {
    "Initialization": ("symmetry", "activations", "fans", "initializers"),
    "Vanishing and exploding gradients": ("gradients", "clipping"),
    "Batch normalization": ("batch_norm", "learning_rates", "batch_size", "identity"),
    "Overfitting and its cures": ("overfitting",),
    "Optimizers": ("condition_number", "optimizer_paths", "optimizer_curves", "learning_rate_schedules"),
}


@dataclass(frozen=True)
class Claim:
    """A sentence of the notes as an inequality between a measured number and a bound.

    Args:
        text: the sentence, with its number.
        measured: the numbers, with one row per seed. All of them must lie within the bounds; NaN never does.
        at_least, at_most: the bounds, inclusive.
        because: the explanation of the number.

    Example:
        >>> claim = Claim("a die shows 3.5 on average", [3.4, 3.7], at_least=3.2, at_most=3.8)
        >>> claim.ok, claim.bound, claim.spread
        (True, '3.2 to 3.8', '3.55 (3.4 to 3.7)')
        >>> Claim("more than half", [0.7, np.nan], at_least=0.5).ok
        False
    """

    text: str
    measured: Array
    at_least: float = -np.inf
    at_most: float = np.inf
    because: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "measured", np.asarray(self.measured, dtype=float))
        if not self.measured.size or not (np.isfinite(self.at_least) or np.isfinite(self.at_most)):
            raise ValueError(f"Claim({self.text!r}): needs at least one measured number, and at_least or at_most")

    @property
    def ok(self) -> bool:
        """Whether all measured numbers lie within the bounds."""
        return bool(np.all((self.measured >= self.at_least) & (self.measured <= self.at_most)))

    @property
    def bound(self) -> str:
        """The bounds in words."""
        if not np.isfinite(self.at_least):
            return f"at most {self.at_most:.3g}"
        if not np.isfinite(self.at_most):
            return f"at least {self.at_least:.3g}"
        return f"{self.at_least:.3g} to {self.at_most:.3g}"

    @property
    def spread(self) -> str:
        """The mean of the measured numbers, and the smallest and largest one."""
        low, high = f"{self.measured.min():.3g}", f"{self.measured.max():.3g}"
        return low if low == high else f"{self.measured.mean():.3g} ({low} to {high})"


@dataclass(frozen=True)
class Outcome:
    """The result of an experiment. `print(outcome)` shows the claims with the measured numbers."""

    experiment: Experiment
    quick: bool
    runs: list[Any]
    claims: list[Claim]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether all claims hold."""
        return all(claim.ok for claim in self.claims)

    @property
    def headline(self) -> str:
        """The result in one line."""
        failed = sum(not claim.ok for claim in self.claims)
        verdict = f"{failed} of {counted(len(self.claims), 'claim')} failed" if failed else (
            f"{counted(len(self.claims), 'claim')} hold" + "s" * (len(self.claims) == 1)
        )  # fmt: skip
        quick = ", quick form" * self.quick
        return f"{self.experiment.name}: {verdict} ({counted(len(self.runs), 'seed')}{quick}, {self.seconds:.1f} s)"

    def __str__(self) -> str:
        lines = [self.headline]
        for claim in self.claims:
            lines += [f"  {'✓' if claim.ok else '✗'} {claim.text}"]
            lines += [f"      measured {claim.spread}; claimed {claim.bound}"]
            lines += [f"      because {claim.because}"] * bool(claim.because)
        return "\n".join(lines)

    def save(self, folder: str | Path) -> Path:
        """Save the picture as NAME.svg into a folder, which is created if missing. Returns the path."""
        path = Path(folder) / f"{self.experiment.name}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        with figures.style():
            figures.save(self.experiment.picture(self.runs), path)
        return path


@dataclass(frozen=True)
class Experiment:
    """A statement of the notes, as a program that measures it.

    Args:
        name: the name of its file, without the suffix.
        text: the docstring of the file: a title in its first line, then the statement, paragraph by paragraph.
        measure: called with a Generator and whether this is the quick form; returns the result for one seed.
        claims: called with the results of all seeds; returns the claims.
        picture: called with the results of all seeds, in the style of `figures`; returns a matplotlib figure.
        caption: of the picture.
        seeds: the number of seeds in the full form and in the quick form.
    """

    name: str
    text: str | None
    measure: Callable[[np.random.Generator, bool], Any]
    claims: Callable[[list[Any]], Iterable[Claim]]
    picture: Callable[[list[Any]], Any]
    caption: str
    seeds: tuple[int, int] = field(default=(5, 2))

    @property
    def title(self) -> str:
        """The first line of the text, without its period."""
        return inspect.cleandoc(self.text or "").partition("\n")[0].rstrip(".")

    @property
    def statement(self) -> list[str]:
        """The paragraphs after the first line."""
        return [" ".join(part.split()) for part in inspect.cleandoc(self.text or "").split("\n\n")[1:]]

    def run(self, quick: bool = False, after_seed: Callable[[], Any] = lambda: None) -> Outcome:
        """Measure with each seed, and compare the claims with the numbers.

        Args:
            quick: use fewer seeds, and smaller and shorter measurements; for tests.
            after_seed: called after each seed.
        """
        start, runs = time.perf_counter(), []
        for seed in range(self.seeds[quick]):
            runs.append(self.measure(np.random.default_rng(seed), quick))
            after_seed()
        return Outcome(self, quick, runs, list(self.claims(runs)), time.perf_counter() - start)

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """Run as a program: print the claims with the numbers, write the picture, exit with 1 if a claim fails."""
        parser = argparse.ArgumentParser(description=self.title)
        parser.add_argument("--quick", action="store_true", help="fewer seeds and steps; no picture without --out")
        parser.add_argument("--out", metavar="DIR", help="the folder of the picture (default: docs/images/notes)")
        options = parser.parse_args(arguments)
        outcome = self.run(options.quick)
        print(outcome)
        if options.out or not options.quick:
            folder = options.out or (PICTURES if PICTURES.is_dir() else ".")
            print(f"written: {outcome.save(folder)}")
        sys.exit(not outcome.ok)
