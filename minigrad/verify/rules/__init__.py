"""prove_rule: a proof that the rule of an elementwise primitive is the derivative of its function.

- rule_proof: the proof and its report
- regions: the regions in which a function is smooth
- to_sympy: expressions of minigrad.symbols as formulas of sympy
"""

from minigrad.verify.rules.rule_proof import ProofReport, prove_rule

__all__ = ["ProofReport", "prove_rule"]
