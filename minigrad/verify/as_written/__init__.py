"""Backward functions as people write them, checked line by line against their forward function, with nothing changed.

- forward_values: the values of the forward pass, one version for each assignment, and their gradients
- written_lines: the lines of the backward pass, each judged with true gradients of what it uses; parts: of sums
- replay, exact_pair: both functions run on exact arrays, and lines proven without a tolerance
- explanation, statement: why a line is wrong; a line in which edits are tried
- unseen: errors that a later line annihilates
- written, written_report: the check and its report
- inputs, discover: arguments drawn from what the code says about shapes; pairs in a module
"""

from minigrad.verify.as_written.written import check_backward
from minigrad.verify.as_written.written_derivation import WrittenDerivation
from minigrad.verify.as_written.written_report import WrittenLine, WrittenReport

__all__ = ["WrittenDerivation", "WrittenLine", "WrittenReport", "check_backward"]
