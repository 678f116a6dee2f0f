"""The content of an nbgrader test cell. nbgrader gives the number in its last line as partial credit."""

# pyright: reportUndefinedVariable=false

import numpy as np

import minigrad as mg

POINTS = 10
rng = np.random.default_rng(0)
report = mg.verify.check_backward(
    batchnorm_forward,
    batchnorm_backward,
    rng.normal(size=(7, 5)),
    rng.normal(size=5),
    rng.normal(size=5),
)
print(report)
round(POINTS * report.points({"whole": 3}), 1)
