"""Capturing: the state that a step reads and writes, as inputs and effects of a program.

Files, each importing only those before it:

- arguments: containers and leaves of the arguments; object_members: what objects hold
- recipes: what a call returns and leaves, as a function; recording: all that is known from one call, and inputs
- state: what the step can read, with tracers in its places; changes: what the step has changed, and how it is undone;
  settle: tracers replaced by real objects again
- aliasing: memory that several places share; leaving, effects: the recipe of a call; compare: two recordings
- assembly: from a finished trace to a recording; session: one traced call
"""
