"""One table of test cases for all primitives: a new primitive is a new row, which every driver runs.

A row has the name of the primitive, a function of operands, and the distributions of these. Drivers that do not apply to a
row are listed in `skip`, each with the reason.
"""

from cases import elementwise, fused, indexing, linalg, product, reduction, shape, spatial
from cases.case import Case

FAMILIES = (elementwise, reduction, shape, indexing, product, spatial, linalg, fused)
CASES: list[Case] = [case for family in FAMILIES for case in family.CASES]
