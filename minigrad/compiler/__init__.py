"""The compiler of whole steps: `mg.compile`. See docs/compile.md.

A step is called twice on tracer arrays, and what it did becomes a program, which later calls run. The packages, each
importing only those before it (their docstrings list the files):

- ir: programs and their meaning; numpy and kernels: the back ends; passes: optimizations of programs, with proofs
- follow: numbers out of arrays that can be traced through the user's source; trace: tracer arrays, and what they record
- capture: the state that a step reads and writes, one recorded call of it, and what no recording can show

Below them: refusal: errors about what cannot be recorded, with hints and lines; gate: a lock for which forks wait.
Above them:

- signature: which program is for a call; background: kernels compiled while the NumPy program runs; specialization: the
  program for one signature and state, and its common call as one function; derivative: of compiled functions
- learned: what becomes an input of programs; audits: the program compared with the eager step; rounding: outcomes, and
  whether roundings explain how two differ
- wrapper: a compiled function as its users see it; driver: recordings, calls, audits or eager calls; decorator:
  mg.compile

What a step can read is in minigrad/reach, and whether it has changed in minigrad/reach/guards.py, also for checkpoints.
"""

from minigrad.compiler.decorator import compile
from minigrad.compiler.driver import Compiled
from minigrad.compiler.refusal import CompileError, CompileWarning

__all__ = ["CompileError", "CompileWarning", "Compiled", "compile"]
