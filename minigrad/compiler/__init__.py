"""The compiler of whole steps: `mg.compile`. See docs/compile.md.

program     what a step does, as lines in single assignment; rules: what NumPy says about them, and the checker
listening   the array that hears (generator: the Generator); memory: which part of which memory an array is
trace       what they hear becomes lines; functions: NumPy's functions that are no ufuncs; notes: what a line is for
state       the arrays that a step reaches; recording: one call of a step, and what later calls do
passes      programs into better programs
plan        where values lie; numpy_source: the program as Python source
prepare     a program as kernels want it; grouping: which lines run together
kernel      lines that run together, and in which loops each runs; kernel_source (kernel_expressions, kernel_walks):
            a kernel as the source of a function of loops; vecmath: exp, log, tanh, erf for them; pool: threads
numba_source  the program with kernels; kernel_files: compiled kernels that are kept; background: while NumPy runs
driver      signatures, versions, what the user calls
"""

from minigrad.compiler.driver import Compiled, compile
from minigrad.compiler.refusal import CompileError

__all__ = ["CompileError", "Compiled", "compile"]
