"""prove_rule: a proof that the rules of a primitive are the derivatives of its function.

- rule_proof: the proof for elementwise primitives, and the report
- exact_proof, exact_derivative: the proof for operands of any shape, in exact arithmetic
- regions: the regions in which a function is smooth
- to_sympy: expressions of minigrad.symbols as formulas of sympy
"""

from minigrad.verify.rules.rule_proof import ProofReport, prove_rule

__all__ = ["ProofReport", "prove_rule"]
