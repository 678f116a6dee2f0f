"""`python -m benchmarks.accuracy`: measure the errors of values and derivatives, and write docs/accuracy.md."""

from __future__ import annotations

import argparse
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.accuracy_subjects import SUBJECTS
from benchmarks.ulp import WHAT, Error, Subject, measured

PAGE = Path(__file__).parent.parent / "docs" / "accuracy.md"
LIMIT = 4.0  # units in the last place; more needs a reason
DTYPES: tuple[Any, ...] = (np.float32, np.float64)


class Reason(NamedTuple):
    """Why a row may be off by more.

    subjects: patterns of their names
    what: the columns it is for
    limit: up to which error
    text: as the page says it
    """

    subjects: tuple[str, ...]
    what: tuple[str, ...]
    limit: float
    text: str


FIRST = ("reverse", "forward")
REASONS = (
    Reason(
        ("silu", "mish", "*gelu*", "hardswish", "binary_cross_entropy_with_logits(x, 0.25)"), FIRST, np.inf,
        "The derivative has a zero. Near it, it is the difference of two terms, and its absolute error is some units "
        "in the last place of 1.",
    ),
    Reason(
        ("silu", "mish", "*gelu", "normal_pdf", "gaussian", "normal_cdf", "erf"), WHAT, 128.0,
        "A factor is denormal, so it has fewer digits, and the other factor is large.",
    ),
    Reason(
        ("*gelu tanh",), WHAT, np.inf,
        "In the tails, the exponent 2u ≈ 0.07 x³ is large and multiplies its rounding error: up to 2u/2 units. The "
        "function itself is an approximation; approximate='none' is exact.",
    ),
    Reason(
        ("logaddexp*",), (*FIRST, "second"), 128.0,
        "exp(x - y) multiplies the rounding error of x - y: |x - y|/2 units. The same holds for softmax.",
    ),
    Reason(
        ("power(x, *", "x ** -0.5"), (*FIRST, "second"), np.inf,
        "x to the power y - 1 overflows just before the product with y does, and y - 1 is rounded: |log x|/2 "
        "units.",
    ),
    Reason(("normal_cdf",), ("value",), 10.0, "Polynomials of degree 9 and 10, evaluated far from 0."),
    Reason(
        ("cbrt",), (*FIRST, "second"), 20.0,
        "NumPy's cube root has an error of 2 to 3 units, and the derivatives divide by its powers.",
    ),
    Reason(
        ("cross_entropy(*",), WHAT, np.inf,
        "Where the label is nearly certain, the loss and its derivative are differences: their absolute error is one "
        "unit of the largest logit. `fused.softmax_cross_entropy` sums the other classes and is exact; "
        "with primitives, this would make a small step 1.5 times as slow.",
    ),
    Reason(("tan", "arctan"), (*FIRST, "second"), 8.0, "Products of three to five rounded factors."),
)  # fmt: skip

HEAD = """# Accuracy

This page lists the largest errors of values and derivatives in units in the last place: one unit is the distance to
the next floating-point number. `python -m benchmarks.accuracy` compares with mpmath in 60 digits and writes this
page. Arguments are drawn from the whole range of the dtype, and densely around 0. Results that underflow are
measured in units of the smallest denormal number. The errors of NumPy's own functions are up to 4 units, so this is
the limit; larger errors are listed with a reason. For the first derivative, the table has the larger error of
reverse and forward mode. A dash means that second derivatives are not measured.

`tests/ops/test_accuracy.py` tests a sample with the same limits in every run, and many more points with `pytest -m
slow`.

| function | float32: value | first | second | float64: value | first | second | reason |
|---|---|---|---|---|---|---|---|
"""


def reasons(subject: Subject, what: str) -> list[int]:
    """The numbers of the reasons that a subject may be off for."""
    return [
        k for k, r in enumerate(REASONS, 1) if what in r.what and any(fnmatchcase(subject.name, p) for p in r.subjects)
    ]


def limit(subject: Subject, what: str) -> float:
    """How many units a value or derivative may be off by."""
    return max([LIMIT, *(REASONS[k - 1].limit for k in reasons(subject, what))])


def row(subject: Subject, found: list[dict[str, Error]]) -> str:
    """A row of the table."""
    cells, why = [], set()
    for errors in found:
        first = max((errors["reverse"], errors["forward"]), key=lambda e: e.units)
        for what, error in (("value", errors["value"]), ("reverse", first), ("second", errors.get("second"))):
            cells.append("–" if error is None else f"{error.units:.1f}" if error.units < 1e4 else f"{error.units:.0e}")
            if error is not None and error.units > LIMIT:
                why |= set(reasons(subject, what)) or {0}
    return (
        " | ".join([f"| {subject.name.replace('*', chr(92) + '*')}", *cells, ", ".join(map(str, sorted(why)))]) + " |"
    )


def page(density: int) -> str:
    """The page."""
    rows = [row(subject, [measured(subject, dtype, density) for dtype in DTYPES]) for subject in SUBJECTS]
    listed = [f"{k}. {r.text}" for k, r in enumerate(REASONS, 1)]
    return HEAD + "\n".join(rows) + "\n\n## Reasons\n\n" + "\n".join(listed) + "\n\n" + TAIL


TAIL = """## Sums and other operations

| | |
|---|---|
| sums and means of float32 over many rows, bias gradients, `batch_norm` | pairwise summation of blocks: errors below 1e-6 of the sum of absolute values for 1e6 rows, also in compiled programs and kernels |
| running sums (`cumulative_sum`) | sequential: for float64, the error of the n-th sum is up to n/2 units; for float16 and long rows of float32, computed in the next wider dtype and rounded once |
| gradients at indices that repeat (`x[idx]`, `embedding`, `take`, `repeat`, `pad`), of overlapping windows, and means of large windows | float16 is added in float32, and more than 256 numbers of float32 in float64; rounded once |
| gradients of a Tensor that is used several times | float16 is added in float32; for other dtypes, contributions are added one by one |
| matrix products, and the gradients of weights | determined by BLAS; for float32 over 1e6 rows, about 1e-4 |
| norms, standard deviation, `hypot` | scaled: neither the value nor the derivative overflows or underflows before the result does |
| means, norms, variance, softmax, normalizations and losses of float16 | computed in float32, rounded once |
| norms and losses of integers | computed in float64 |
| `softmax`, `log_softmax` | the exponent is rounded: half of max - x units, reason 4 |
| derivative of `log_softmax`, and of `nll_loss` of it | absolute error of a unit of 1; `fused.softmax_cross_entropy` of logits is exact even where the label is nearly certain |
| gates of `lstm`, `gru` and `rnn` as single primitives | computed as ½ tanh(½ x) + ½, with derivatives from the output: absolute error of a unit of 1 |
| kernels of compiled steps | exp, log, tanh, erf and normal_cdf are polynomials: errors below 1, 1, 3, 3, 4 (float32) and 1, 1, 2, 1, 5 times the machine epsilon (`compiler/kernels/vecmath.py`, measured in `tests/compiler/test_vecmath.py`) |
"""  # noqa: E501


def main() -> None:
    """Parse the command line, measure, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--density", type=int, default=12, help="how many points (12: about 1500 for each dtype)")
    options = parser.parse_args()
    PAGE.write_text(page(options.density), encoding="utf-8")


if __name__ == "__main__":
    main()
