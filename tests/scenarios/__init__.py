"""Scenarios as users write them, compiled against eager. scenario.py says how one is written."""

from importlib import import_module

GROUPS = [
    "accumulation", "arguments", "arrays", "config", "derivatives", "environment", "failures", "models", "numerics",
    "optimizers", "randomness", "results", "schemes", "trial_arrays", "trial_derivatives", "trial_draws",
    "trial_functions", "trial_layers", "trial_mixed",
    "trial_training", "trial_writes", "values",
]  # fmt: skip

for _name in GROUPS:
    import_module(f"scenarios.{_name}")
