"""mg.derive: the backward pass of a function, derived from it and proven.

- steps: the function and the tape's rules run on symbolic arrays; each contribution comes out as a term
- term_algebra, term_operations: terms are simplified as they are built
- shortening: the gradient of an intermediate value is put where it is used, if that is shorter
- numpy_source, term_latex: terms as NumPy and as LaTeX
- derived: the lines as a Derivation, checked before they are shown
"""
