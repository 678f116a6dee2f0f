"""Helpers without any knowledge of arrays that are differentiated: text, trees, random generators, memory."""
