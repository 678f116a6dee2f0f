"""One table of cases for all primitives: a new primitive is a new row, and every driver runs it.

A row names the primitive that it is for, a function of operands, and how to draw them. Drivers that do not apply to
a row are listed in `skip`, each with the reason.
"""

from cases import elementwise, fused, indexing, linalg, product, reduction, shape, spatial
from cases.case import Case

FAMILIES = (elementwise, reduction, shape, indexing, product, spatial, linalg, fused)
CASES: list[Case] = [case for family in FAMILIES for case in family.CASES]
