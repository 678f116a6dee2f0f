"""The compiler of whole steps: `mg.compile`. See docs/compile.md.

What a step does, recorded:

- program: ops in single assignment; rules: what NumPy says about them, and the checker
- tracer: the tracer array; generator: the tracer Generator; numbers: traced Python numbers; gradients: what stands in
  `.grad` while nobody has read it; builtins: those that a recorded step sees; memory: memories, views as steps
- layout: where in a memory an array lies; writes: what a memory holds after one; overlaps: memories that are one
- trace: NumPy calls on tracers become ops; outside: arrays from outside of the step; access: of elements; ufuncs,
  functions: of NumPy's; opaque: of all others; promotion: the warning about float64; notes: comments
- flow: which numbers out of arrays can be traced; world: the user's functions, read with syntax; calls: what they call,
  taint: which of their variables may hold numbers, allowed, known: what may happen there; through: math of such numbers
- session: one real call on tracers, whose result is a recording; undo: what was before it; draws: where generators
  stand in it; untracked: draws that no tracer saw; refusal: what cannot be recorded, with hints and places; artifact:
  exceptions of tracers; caught: those that the step catches; system: calls that no program would repeat
- capture: the state that a step can read, with tracers in its places; inputs: what later calls fetch there; sharing:
  what several places hold; changed: what the step has changed; exempt: what guards leave
  out; settle: tracers out of it again
- effects: what a call returned and left, as a recipe; leaving: the arrays and the tape in that; recipe_source: a
  recipe as a function; canonical: without identities

Programs into better programs, and into source:

- passes, and how they rewrite: builder; the rules: elementwise, algebra, sums, views; terms: questions that they ask;
  checks: which checks of values are needed, and when
- proof: that a pass keeps what a program computes, in exact arithmetic; evaluate: what programs compute; samples:
  their random inputs; difference: which op is wrong
- plan: where values lie; recycling: memory of large results; numpy_source: the program as Python; numpy_calls: its
  lines as NumPy's calls; single_numbers: as Python's own; scope, names, texts: pieces of source
- prepare: a program as kernels want it; grouping: which lines run together; kernel: what they are then, and schedule:
  in which loops each of them runs; kernel_lines: the program with kernels
- kernel_source: a kernel as a function of loops, from its nests (kernel_nests), walks over rows (kernel_walks) and
  expressions (kernel_expressions); vecmath: exp, log, tanh, erf for them; apart: an option of numba's; pool: threads;
  kernel_files: compiled kernels; kernel_worker: the process that compiles them; kernel_store: the files that keep them;
  gate: why a fork waits for them
- winograd: convolutions of many channels with fewer products
- numba_source: the program with kernels; background: made while the NumPy program runs

What the user calls:

- decorator: mg.compile; driver: recordings, calls, audits or eager calls; branches: those that run eagerly; learned:
  what becomes an input of programs
- arguments: containers and leaves; records: objects that are containers; signature: what of the arguments decides;
  specialization: the program for one signature and state; quick: its usual call as one function; compare: two
  recordings; derivative: derivatives of compiled functions
- explanation: what explain() says
- audit: program and eager step, compared; outcome: what each returned and left; rounding: how far roundings move it

What a step can read is in minigrad/reach, whether it is as it was in minigrad/guards.py, for checkpoints as well.
"""

from minigrad.compiler.decorator import compile
from minigrad.compiler.driver import Compiled
from minigrad.compiler.refusal import CompileError, CompileWarning

__all__ = ["CompileError", "CompileWarning", "Compiled", "compile"]
