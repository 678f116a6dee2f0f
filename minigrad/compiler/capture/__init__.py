"""Capturing: the state that a step reads and writes, as inputs and effects of a program.

Files, each importing only those before it:

- arguments: containers and leaves of the arguments
- recipes: what a call returns and leaves, as a function
- recording: all that is known from one call, inputs, and how two recordings differ
- state: what the step can read, with tracers in its places
- settle: what objects hold, and tracers replaced by real objects again
- changes: what the step has changed, and how it is undone
- leaving, effects: the recipe of a call
- system_calls: calls and random numbers that no program would repeat, noticed while a step is recorded
- static_checks: what the step can reach that cannot be recorded; exceptions: those that are about tracers
- assembly: from a finished trace to a recording, and memory that several places share; session: one traced call
"""
