"""Scenarios as users write them, compiled against eager. scenario.py says how one is written."""

from importlib import import_module

GROUPS = [
    "accumulation",
    "arguments",
    "arrays",
    "attack_calls",
    "attack_caught",
    "attack_effects",
    "attack_flow",
    "attack_following",
    "attack_kinds",
    "attack_system",
    "attack_whole",
    "attack_numbers",
    "attack_reach",
    "attack_same",
    "attack_state",
    "attack_types",
    "config",
    "containers",
    "derivatives",
    "environment",
    "failures",
    "following",
    "models",
    "numbers",
    "numerics",
    "objects",
    "optimizers",
    "randomness",
    "results",
    "schemes",
    "taken",
    "trial_arrays",
    "trial_derivatives",
    "trial_draws",
    "trial_functions",
    "trial_layers",
    "trial_mixed",
    "trial_training",
    "trial_writes",
    "values",
]

for _name in GROUPS:
    import_module(f"scenarios.{_name}")
