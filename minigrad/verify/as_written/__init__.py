"""Backward passes as people write them: a pair of plain NumPy functions, checked line by line, with nothing changed.

- sites, instrument: the statements that write a value, and a copy of the function that reports each of them
- gradient_names: which value `dmu`, `grad_mu` or `self.grads["W"]` is the gradient of
- pair: a forward and a backward function, or a class, and how one is called with the results of the other
- forward_values: the values of the forward pass, one version for each assignment, and their gradients
- written_lines: the lines of the backward pass, each judged with true gradients of what it uses
- written_report: the report; written: the check
"""
