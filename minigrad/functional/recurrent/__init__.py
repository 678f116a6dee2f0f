"""Recurrent networks: single steps, composed of primitives; whole sequences and steps as one primitive each.

Sequences are (T, N, features): steps come first. The inputs are multiplied with their weights in one product, so that
only the products with the state remain for the loop. The backward pass is alike: the loop finds the gradients of the
gates, and the gradient of each weight is one product. Gates lie side by side in PyTorch's order.
"""
