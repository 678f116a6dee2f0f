"""Recomputation: `checkpoint` runs a function again instead of keeping what it computed."""
