"""Following numbers that a step takes out of arrays through the source of the user's functions.

Files, each importing only those before it: function_source (syntax trees, where names and calls are), world (the
functions that a step may run, and what their names mean), calls (what they call), taint (which variables may hold
numbers), allowed (what may happen to such numbers), flow (which numbers can be traced).
"""
