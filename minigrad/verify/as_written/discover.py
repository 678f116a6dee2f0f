"""The check of a pair that was found in a module, with inputs drawn from what its code says about shapes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from minigrad.verify.as_written.inputs import EVEN_SIZES, SIZES, SIZES_OF_MANY_AXES, drawn, shapes_of
from minigrad.verify.as_written.written import check_pair
from minigrad.verify.as_written.written_report import WrittenReport
from minigrad.verify.pairs.found import Found


def check_found(
    found: Found, *, inputs: Mapping[str, str] | None = None, names: Mapping[str, str] | None = None, seed: int = 0
) -> WrittenReport:
    """Check a pair with inputs that are drawn; see `inputs`.

    Raises:
        Unknown: nothing says what an argument is.
        TypeError, ValueError: see check_backward.
    """
    pair = found.make()
    shapes, _ = shapes_of(pair.forward, inputs)
    many = any(len(shape.axes) > 3 for shape in shapes.values())
    errors: list[Exception] = []
    for pool in (SIZES_OF_MANY_AXES, EVEN_SIZES) if many else (SIZES, EVEN_SIZES):
        assumed, other = [
            drawn(pair.forward, pair.parameters, np.random.default_rng([seed, k]), inputs, sizes)
            for k, sizes in enumerate(pool)
        ]
        try:
            report = check_pair(pair, assumed.arguments, other=other.arguments, names=names, seed=seed)
        except (ValueError, IndexError, AssertionError) as error:  # sizes that do not fit
            errors.append(error)
            continue
        report.assumptions = assumed.assumptions + report.assumptions
        return report
    raise errors[0]
