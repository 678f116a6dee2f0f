"""Measurements: `python -m benchmarks` against other libraries, `benchmarks/detection.py` of the derivation checker.

Everything is a ratio to a peer in the same run: these tell, absolute times do not.
"""
