"""Passes: programs that compute the same with less, and the proofs that they do.

pipeline: the passes in their order; the rules: elementwise, algebra, sums, views; proof: that a pass keeps what a
program computes, in exact arithmetic.
"""
