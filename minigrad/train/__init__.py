"""The training loop: `fit`, callbacks, the progress bar, and how a run is saved and resumed."""
