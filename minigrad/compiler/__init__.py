"""The compiler of whole steps: `mg.compile`. See docs/compile.md.

program     what a step does, as lines in single assignment; rules: what NumPy says about them, and the checker
listening   the array that hears (generator: the Generator); memory: which part of which memory an array is
trace       what they hear becomes lines; functions: NumPy's functions that are no ufuncs; notes: what a line is for
state       the arrays that a step reaches; recording: one call of a step, and what later calls do
passes      programs into better programs
plan        where values lie; numpy_source: the program as Python source
driver      signatures, versions, what the user calls
"""

from minigrad.compiler.driver import Compiled, compile
from minigrad.compiler.refusal import CompileError

__all__ = ["CompileError", "Compiled", "compile"]
