"""Passes: programs that compute the same with less, and the proofs that they do.

pipeline: the passes in their order; their rules: algebra, sums, views; proof: proofs in exact arithmetic that a pass
keeps what a program computes; watch: where all passes are proven, and what the proofs report.
"""
