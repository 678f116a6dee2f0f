"""Following numbers that a step takes out of arrays through the source of the user's functions.

flow: which of them can be traced; world: the user's functions, read with syntax; calls: what they call; taint: which
of their variables may hold numbers; allowed, known: what may happen there; places: where a name stands.
"""
