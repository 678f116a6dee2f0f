"""Audits: now and then a call runs as the program and as the eager step, and the two are compared.

audits: such a call; outcomes: what each returned and left; rounding: how far roundings move it.
"""
