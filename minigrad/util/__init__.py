"""Helpers that know nothing of differentiation: text, nested structures, random generators, memory."""
