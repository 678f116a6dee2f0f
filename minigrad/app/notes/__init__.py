"""The experiments of the course notes: what an experiment is, and the page that shows them all.

The experiments themselves are programs of a page each, in `examples/notes`; `minigrad notes` runs them.
"""

from minigrad.app.demo.digits import Digits
from minigrad.app.demo.digits import load as digits
from minigrad.app.notes.experiment import Claim, Experiment, Outcome
from minigrad.app.notes.figures import COLORS, subplots

__all__ = ["COLORS", "Claim", "Digits", "Experiment", "Outcome", "digits", "subplots"]
