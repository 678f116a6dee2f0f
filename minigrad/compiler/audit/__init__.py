"""Audits: from time to time a call runs as the program and as the eager step, and the two are compared.

audits: such a call; outcomes: what a call returned and changed, compared; rounding: how far roundings move it.
"""
