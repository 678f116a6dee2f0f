"""The primitives and their rules, in plain NumPy. Nothing here knows Tensor."""
