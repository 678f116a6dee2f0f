"""check_gradients: a gradient, compared with what several independent methods say.

- gradient_check: the functions; problem: the function and gradient that are checked; comparison: the methods
- finite_differences, complex_step, taylor: derivatives from values alone
- gradient_report: the result
"""

from minigrad.verify.gradients.gradient_check import assert_gradients, check_gradients
from minigrad.verify.gradients.gradient_report import GradientReport

__all__ = ["GradientReport", "assert_gradients", "check_gradients"]
