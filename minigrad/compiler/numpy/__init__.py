"""The NumPy back end: a program as one generated function.

plan: where values lie; buffer_reuse: memory of large results; source: the program as Python; calls: its operations as
NumPy's calls; scalars: as Python's own; scope: what the source has names for.
"""
