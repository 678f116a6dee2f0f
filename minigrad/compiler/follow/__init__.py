"""Following numbers that a step takes out of arrays through the source of the user's functions.

Files, each importing only those before it: user_functions (syntax trees, where names and calls are, what names mean),
taint (what is called, which variables may hold numbers), allowed (what may happen to such numbers), flow (which numbers
can be traced).
"""
