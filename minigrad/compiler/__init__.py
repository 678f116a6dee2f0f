"""The compiler of whole steps: `mg.compile`. See docs/compile.md.

A step is called twice on tracer arrays, and what it did becomes a program, which later calls run. The packages, each
of which imports only those before it (their own docstrings list the files):

- ir: programs and their meaning; numpy and kernels: the back ends; passes: programs into better ones, with proofs
- follow: which numbers out of arrays can be traced through the user's source; trace: tracer arrays, and what they
  record
- refuse: what no recording can show; capture: the state that a step reads and writes, and one recorded call of it
- audit: the program and the eager step side by side

Below them: refusal, what cannot be recorded, with hints and places; advice, what to write instead; gate, why a fork
waits for a compilation. Above them:

- decorator: mg.compile; driver: recordings, calls, audits or eager calls; branches: those that run eagerly; learned:
  what becomes an input of programs; explanation: what explain() says
- signature: what of the arguments decides; specialization: the program for one signature and state; fast_call: its
  usual call as one function; background: kernels, made while the NumPy program runs; derivative: of compiled
  functions

What a step can read is in minigrad/reach, whether it is as it was in minigrad/reach/guards.py, for checkpoints as
well.
"""

from minigrad.compiler.decorator import compile
from minigrad.compiler.driver import Compiled
from minigrad.compiler.refusal import CompileError, CompileWarning

__all__ = ["CompileError", "CompileWarning", "Compiled", "compile"]
