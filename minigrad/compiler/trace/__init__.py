"""Tracing: arrays and numbers that represent the real ones while a step is recorded.

Files, each importing only those before it:

- tracer_operators, tracer: the tracer array; functions: handlers of functions that are not ufuncs
- number_arithmetic, traced_number: traced Python numbers, alone and beside arrays
- elements: indexing, casts, writes; recorded_calls: ufuncs, and calls of any function; generators: tracer Generators,
  draws, and their states
- provenance: what each op is for, and the warning about float64; recorded_program: ops, and arrays from outside
- trace: the recording; traced_builtins: `type`, `float`, `print` and others as a recorded step sees them
"""
