"""The experiments of the course notes: the class Experiment, and a page of all of them.

The experiments themselves are short programs in `examples/notes`; `minigrad notes` runs them.
"""

from minigrad.app.demo.digits import Digits
from minigrad.app.demo.digits import load as digits
from minigrad.app.notes.experiment import Claim, Experiment, Outcome
from minigrad.app.notes.figures import COLORS, subplots

__all__ = ["COLORS", "Claim", "Digits", "Experiment", "Outcome", "digits", "subplots"]
