"""The NumPy back end: a program as one generated function.

plan: where values are stored; buffer_reuse: memory of large results; program_source: the program as Python; op_calls:
its ops as text, and the names in it.
"""
