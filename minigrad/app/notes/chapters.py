"""The chapters of the notes, and the experiments of each in their order."""

from __future__ import annotations

ORDER = {
    "Initialization": ("symmetry", "activations", "fans", "initializers"),
    "Vanishing and exploding gradients": ("gradients", "clipping"),
    "Batch normalization": ("batch_norm", "learning_rates", "batch_size", "identity"),
    "Overfitting and its cures": ("overfitting",),
    "Optimizers": ("condition_number", "optimizer_paths", "optimizer_curves", "learning_rate_schedules"),
}
