"""Derivations: backward passes written by hand, checked line by line.

- derivation: the class; backward_pass: its lines and their evaluation
- forward: runs of the forward function; sample: random inputs; reference: the gradients that lines are compared with
- exact_check, exact_sample: lines proven without a tolerance
- verdicts: right or wrong; diagnosis, named_factors: why; repair, line_source: the edit that makes a line right
- derivation_report, derivation_page: the result as text and HTML
- audit: the errors that a check would accept; to_primitive: a proven derivation as a primitive
"""

from minigrad.verify.derivation.audit import AuditReport
from minigrad.verify.derivation.backward_pass import Line
from minigrad.verify.derivation.derivation import Derivation
from minigrad.verify.derivation.derivation_report import DerivationReport, LineReport

__all__ = ["AuditReport", "Derivation", "DerivationReport", "Line", "LineReport"]
