"""The training loop: `fit`, callbacks, progress, and how a run is saved and resumed."""
