"""Capturing: the state that a step reads and writes, as inputs and effects of a program.

- session: one real call on tracers, whose result is a recording; undo: what was before it
- state: what the step can read, with tracers in its places; inputs: what later calls fetch there; sharing: what
  several places hold; overlaps: memories that are one; changed: what the step has changed; exempt: what guards leave
  out; settle: tracers out of it again; arguments: containers and leaves
- effects: what a call returned and left, as a recipe; leaving: the arrays and the tape in that; recipes: a recipe as
  a function; canonical: without identities; compare: two recordings
"""
