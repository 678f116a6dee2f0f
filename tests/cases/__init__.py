"""One table of cases for all primitives: a new primitive is a new row, and every driver runs it.

A row names the primitive that it is for, a function of operands, and how to draw them. Drivers that do not apply to
a row are listed in `skip`, each with the reason.
"""

from cases import elementwise, indexing, product, reduction, shape
from cases.case import Case

CASES: list[Case] = [case for family in (elementwise, reduction, shape, indexing, product) for case in family.CASES]
